"""Serve the explorer: ``panel serve apps/explorer.py [--args --modes NAME_OR_FOLDER …]``.

A folder of checkpoints without a recipe needs ``--architecture`` and ``--data``. The query of the URL sets choices:
``…/explorer?modes_name=digits-resnet&strength=0.3``.
"""

import argparse
import gc
import logging

import panel as pn

from modecomb_viz.explorer import Explorer, error_page
from modecomb_viz.state import open_shared


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the arguments in the page; leaving would end the server."""

    def error(self, message: str):
        """Called by argparse for every mistake."""
        raise ValueError(f"the arguments after --args: {message}. {' '.join(self.format_usage().split())}")


parser = Parser(description=__doc__, add_help=False, prog="panel serve apps/explorer.py --args")
parser.add_argument("--modes", default="digits-mlp", help="a name of the catalogue, or a folder of checkpoints")
parser.add_argument("--architecture", default="", help="such as torchvision:resnet18, or package.module:factory")
parser.add_argument("--option", action="append", default=[], help="of the architecture, NAME=VALUE as in TOML")
parser.add_argument("--data", default="", help="a data set by name, or a .npz or .pt file")
parser.add_argument("--mean", type=float, action="append", default=[], help="of a data file; repeated per channel")
parser.add_argument("--std", type=float, action="append", default=[], help="of a data file; repeated per channel")
parser.add_argument("--trust-code", action="store_true", help="allow package.module:factory, which runs that code")


def explorer() -> Explorer:
    """The explorer that the arguments and the query of the URL ask for."""
    given = parser.parse_args()
    described = tuple(given.option), given.data, tuple(given.mean), tuple(given.std), given.trust_code
    made = Explorer(open_shared(given.modes, given.architecture, *described))
    made.choose({name: values[0].decode(errors="replace") for name, values in pn.state.session_args.items()})
    made.keeping.history.begin()
    return made


if not gc.get_freeze_count():
    # What is there before the first session is looked at no more, so that the collector comes often and is done soon.
    gc.collect()
    gc.freeze()
pn.extension()
try:
    page = explorer().page()
except ValueError as error:
    page = error_page(error)
except Exception as error:  # whatever it is, the page says it; the log has the rest
    logging.getLogger(__name__).exception("the explorer could not start")
    page = error_page(error)
page.servable(title="modecomb_viz")
