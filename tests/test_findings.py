"""The committed results of the findings agree with what their recipes give."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

import modecomb_viz as mc
from modecomb_viz.cli import app
from modecomb_viz.study import read_study

FINDINGS = Path(__file__).parents[1] / "docs" / "findings"
STUDY = read_study(FINDINGS / "study.toml", FINDINGS / "results")

#: Relative difference of a result that another processor computed: one answer of 360 is 0.003.
TOLERANCE = 0.01


def test_every_planned_result_is_there_with_its_recipe():
    for planned in STUDY.planned:
        recipe = mc.recipe(mc.open(planned.path))
        assert recipe["modes"] == planned.modes
        assert recipe["sweep"] == planned.sweep.name
    written = sorted(path for path in FINDINGS.joinpath("results").rglob("*.nc"))
    assert written == sorted(planned.path for planned in STUDY.planned)


def test_the_page_shows_what_is_committed():
    text = (FINDINGS.parent / "findings.md").read_text()
    for planned in STUDY.planned:
        assert planned.modes in text
    for picture in FINDINGS.glob("*.png"):
        assert f"(findings/{picture.name})" in text


@pytest.mark.slow
@pytest.mark.parametrize("planned", STUDY.planned, ids=lambda planned: f"{planned.modes}-{planned.name}")
def test_a_rerun_agrees(planned):
    modes = planned.modes
    if modes in STUDY.recipes:
        modes = STUDY.folder / "modes" / modes
        if not (modes / "recipe.toml").exists():
            pytest.skip(f"needs {planned.modes}, which `modecomb study` trains with MODECOMB_DATA")
        if not os.environ.get("MODECOMB_DATA"):
            pytest.skip("needs MODECOMB_DATA")
    done = CliRunner().invoke(app, ["rerun", str(planned.path), "--modes", str(modes), "--tolerance", str(TOLERANCE)])
    assert done.exit_code == 0, done.output
    assert "agrees" in done.stdout
