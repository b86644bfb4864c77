"""Serve the explorer: ``panel serve apps/explorer.py [--args --modes NAME_OR_FOLDER …]``.

A folder of checkpoints without a recipe needs ``--architecture`` and ``--data``. The query of the URL sets choices:
``…/explorer?modes_name=digits-resnet&strength=0.3``.
"""

import argparse

import panel as pn

from modecomb_viz.explorer import Explorer, error_page
from modecomb_viz.state import open_shared

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--modes", default="digits-mlp", help="a name of the catalogue, or a folder of checkpoints")
parser.add_argument("--architecture", default="", help="such as torchvision:resnet18, or package.module:factory")
parser.add_argument("--option", action="append", default=[], help="of the architecture, NAME=VALUE as in TOML")
parser.add_argument("--data", default="", help="a data set by name, or a .npz or .pt file")
parser.add_argument("--mean", type=float, nargs="+", default=[], help="normalisation of a data file, per channel")
parser.add_argument("--std", type=float, nargs="+", default=[], help="normalisation of a data file, per channel")
parser.add_argument("--trust-code", action="store_true", help="allow package.module:factory, which runs that code")
arguments = parser.parse_args()
described = tuple(arguments.option), arguments.data, tuple(arguments.mean), tuple(arguments.std), arguments.trust_code

pn.extension()
try:
    explorer = Explorer(open_shared(arguments.modes, arguments.architecture, *described))
except ValueError as error:
    error_page(error).servable(title="modecomb_viz")
else:
    explorer.choose({name: values[0].decode() for name, values in pn.state.session_args.items()})
    explorer.page().servable(title="modecomb_viz")
