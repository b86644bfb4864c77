"""The README's Python blocks run as they stand and leave stderr empty."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize(
    ("block", "written"),
    list(zip(BLOCKS, ({"plane.nc", "plane.parquet", "report.html"}, {"A.pt", "B.pt"}), strict=True)),
    ids=["start", "own"],
)
def test_the_python_blocks_run(tmp_path, block, written):
    command = [sys.executable, "-W", "error", "-c", block]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == written


def test_it_gives_exactly_two_make_commands_and_shows_a_picture_that_exists():
    text = README.read_text(encoding="utf-8")
    assert re.findall(r"^make (\w+)", text, re.MULTILINE) == ["explore", "test"]
    (picture,) = re.findall(r"!\[[^]]*\]\((\S+)\)", text)
    assert (README.parent / picture).is_file()
