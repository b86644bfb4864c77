"""Writes a report to stdout: the title, the budget in bytes, then the results, as arguments."""

import sys

from modecomb_viz.report.page import render
from modecomb_viz.results import open as open_dataset

if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    sys.stdout.write(render([open_dataset(file) for file in sys.argv[3:]], sys.argv[1], int(sys.argv[2])))
