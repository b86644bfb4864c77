"""The committed results of the findings agree with what their recipes give."""

import json
import os
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

import modecomb_viz as mc
from modecomb_viz import findings
from modecomb_viz.cli import app
from modecomb_viz.study import planned_result, read_study

FINDINGS = Path(__file__).parents[1] / "docs" / "findings"
STUDY = read_study(FINDINGS / "study.toml", FINDINGS / "results")

#: Relative difference of a result that another processor computed: one answer of 360 is 0.003.
TOLERANCE = 0.01


def test_every_planned_result_is_there_with_its_recipe():
    for planned in STUDY.planned:
        recipe = mc.recipe(mc.open(planned.path))
        settings = json.loads(json.dumps(asdict(planned.sweep)))
        assert recipe == {"sweep": planned.sweep.name, "modes": planned.modes, **settings}
    written = sorted(path for path in FINDINGS.joinpath("results").rglob("*.nc"))
    assert written == sorted(planned.path for planned in STUDY.planned)


def test_the_page_says_what_the_committed_results_say(tmp_path, monkeypatch):
    """But for the pictures, which are drawn by a browser; those that it shows are there."""
    monkeypatch.setattr(findings, "save_picture", lambda dataset, path, **_: path)
    results = [(planned.modes, planned.name, planned_result(planned)) for planned in STUDY.planned]
    page = (FINDINGS.parent / "findings.md").read_text()
    command = "\n".join(line.strip() for line in page.splitlines() if line.startswith("    modecomb "))
    written = findings.write_findings(STUDY.title, results, tmp_path / "findings.md", command=command)
    assert written.read_text() == page
    shown = re.findall(r"\]\(findings/([\w.-]+)\)", page)
    assert sorted(shown) == sorted(path.name for path in FINDINGS.glob("*.png"))


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
