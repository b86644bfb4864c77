"""Serve the explorer: ``panel serve apps/explorer.py [--args --modes NAME_OR_FOLDER]``.

The query of the URL sets choices: ``…/explorer?modes_name=digits-resnet&strength=0.3``.
"""

import argparse

import panel as pn

from modecomb_viz.explorer import Explorer, error_page

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--modes", default="digits-mlp", help="a name of the catalogue, or a folder made by modecomb train")
arguments = parser.parse_args()

pn.extension()
try:
    explorer = Explorer(arguments.modes)
except ValueError as error:
    error_page(error).servable(title="modecomb_viz")
else:
    explorer.choose({name: values[0].decode() for name, values in pn.state.session_args.items()})
    explorer.page().servable(title="modecomb_viz")
