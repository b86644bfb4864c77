"""The direction of imports, and that this test can fail."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def lint(folder):
    """import-linter on the package in a folder: exit code and report."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8")
    return done.returncode, done.stdout + done.stderr


def test_rooms_import_downwards_only():
    code, report = lint(ROOT)
    assert code == 0, report
    assert "5 kept, 0 broken" in report


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("permutation", "from modecomb_viz.hypercube import combine"),
        ("figures/looks", "import torch"),
        ("statistics", "from modecomb_viz.evaluation import evaluate"),
        ("alignment", "import modecomb_viz.training"),
        ("state", "import panel"),
        ("report/page", "import holoviews"),
        ("sweep/plane", "import bokeh"),
    ],
)
def test_a_wrong_import_is_found(tmp_path, room, line):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    ignored = shutil.ignore_patterns("__pycache__", "modes")
    shutil.copytree(ROOT / "modecomb_viz", tmp_path / "modecomb_viz", ignore=ignored)
    with (tmp_path / "modecomb_viz" / f"{room}.py").open("a") as file:
        file.write(f"\n{line}\n")
    code, report = lint(tmp_path)
    assert code == 1, report
    assert "BROKEN" in report


def loaded_by(code):
    """Which heavy packages a fresh process has loaded after some code."""
    heavy = "['torch', 'panel', 'holoviews', 'bokeh', 'sklearn', 'torchvision']"
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        f"{code}\nimport sys; print(*[m for m in {heavy} if m in sys.modules])",
    ]
    return subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout.split()


def test_stored_results_need_no_torch():
    assert "torch" not in loaded_by("import modecomb_viz as mc; mc.open, mc.barriers, mc.plot_plane, mc.save_report")
    assert loaded_by("import modecomb_viz as mc; mc.save_report, mc.barriers") == ["bokeh"]


def test_computing_needs_no_drawing():
    assert loaded_by("import modecomb_viz as mc; mc.sweep_plane, mc.align, mc.train_modes") == ["torch"]


def test_importing_the_package_loads_nothing():
    assert loaded_by("import modecomb_viz") == []


def test_every_public_name_is_there():
    import modecomb_viz

    for name in modecomb_viz.__all__:
        assert getattr(modecomb_viz, name) is not None
    assert set(modecomb_viz.__all__) <= set(dir(modecomb_viz))
    with pytest.raises(AttributeError, match="no attribute 'sweep_sphere'"):
        modecomb_viz.sweep_sphere  # noqa: B018
