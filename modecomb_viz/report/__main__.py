"""Writes a report to stdout: the title, then the results, as arguments."""

import sys

from modecomb_viz.report.page import render
from modecomb_viz.results import open as open_dataset

if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    sys.stdout.write(render([open_dataset(file) for file in sys.argv[2:]], sys.argv[1]))
