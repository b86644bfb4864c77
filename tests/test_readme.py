"""The README's Python start runs as it stands and leaves stderr empty."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_python_start_runs(tmp_path):
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    command = [sys.executable, "-W", "error", "-c", block]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {"plane.nc", "report.html"}


def test_it_gives_exactly_two_make_commands_and_shows_a_picture_that_exists():
    text = README.read_text(encoding="utf-8")
    assert re.findall(r"^make (\w+)", text, re.MULTILINE) == ["explore", "test"]
    (picture,) = re.findall(r"!\[[^]]*\]\((\S+)\)", text)
    assert (README.parent / picture).is_file()
