"""Studies: every sweep over every mode set, kept when it is there, continued when it was interrupted; the write-up."""

import re
from itertools import islice

import pytest
import xarray as xr
from explained import explains
from typer.testing import CliRunner

import modecomb_viz as mc
from modecomb_viz import findings
from modecomb_viz.cli import app
from modecomb_viz.study import read_study, run_planned

TEXT = """
title = "Small | study"
[modes.digits-mlp]
[modes.digits-mlp.sweeps.draws]
n = 5
[modes.digits-convnet]
only = ["aligned", "draws"]
settings = { repair = "batchnorm" }
[sweeps.aligned]
sweep = "segment"
points = 5
[sweeps.draws]
sweep = "samples"
n = 3
p = 0.4
examples = true
[sweeps.shuffle]
sweep = "perturbation"
strength = [0.0, 0.5, 1.0]
repeats = 2
[sweeps.similarity]
sweep = "similarity"
n = 2
"""


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """A study file and the folder of its results, computed by the command."""
    folder = tmp_path_factory.mktemp("study")
    path = folder / "study.toml"
    path.write_text(TEXT)
    done = CliRunner().invoke(app, ["study", str(path), "--out", str(folder / "results")])
    assert done.exit_code == 0, done.output
    assert done.stdout.count("wrote ") == 6
    return path, folder / "results"


def test_every_sweep_over_every_mode_set(computed, digits):
    _, results = computed
    assert len(list(results.rglob("*.nc"))) == 6
    assert not list(results.rglob("*.journal*"))
    draws = mc.open(results / "digits-mlp" / "draws.nc")
    expected = mc.sweep_samples(digits, "bernoulli", n=5, p=0.4, examples=True)
    xr.testing.assert_allclose(draws.drop_attrs(), expected.drop_attrs(), rtol=1e-5, atol=1e-6)
    of_other = mc.recipe(mc.open(results / "digits-convnet" / "draws.nc"))
    assert (of_other["n"], of_other["repair"], of_other["modes"]) == (3, "batchnorm", "digits-convnet")


def test_what_is_there_is_kept_and_other_results_are_not_taken_for_it(computed, tmp_path):
    path, results = computed
    before = {file: file.stat().st_mtime_ns for file in results.rglob("*.nc")}
    again = CliRunner().invoke(app, ["study", str(path), "--out", str(results)])
    assert again.stdout.count("kept ") == 6
    assert {file: file.stat().st_mtime_ns for file in results.rglob("*.nc")} == before
    other = tmp_path / "study.toml"
    other.write_text(TEXT.replace("p = 0.4", "p = 0.5"))
    refused = CliRunner().invoke(app, ["study", str(other), "--out", str(results)])
    assert "holds another result" in str(refused.exception)
    assert "'p': 0.4" in str(refused.exception)
    page = CliRunner().invoke(app, ["findings", str(other), "--results", str(results), "--out", str(tmp_path / "x.md")])
    assert "holds another result" in str(page.exception)


def test_results_of_other_networks_are_not_kept(computed, digits):
    path, results = computed
    planned = next(p for p in read_study(path, results).planned if p.modes == "digits-mlp")
    params = {**digits.params, "B": digits.params["C"]}
    others = mc.ModeSet("digits-mlp", digits.model, params, test=digits.test, train=digits.train)
    with explains("network B of digits-mlp is not that of the result"):
        list(run_planned(planned, others))


def test_an_interrupted_sweep_goes_on(tmp_path, digits):
    path = tmp_path / "study.toml"
    path.write_text('[modes.digits-mlp]\n[sweeps.map]\nsweep = "plane"\nresolution = 9\nplan = { block = 5 }\n')
    (planned,) = read_study(path, tmp_path / "out").planned
    steps = run_planned(planned, digits)
    list(islice(steps, 12))
    steps.close()
    assert planned.journal.exists()
    assert not planned.path.exists()
    list(run_planned(planned, digits))
    assert not planned.journal.exists()
    expected = mc.sweep_plane(digits, resolution=9, plan={"block": 5})
    xr.testing.assert_identical(mc.open(planned.path).drop_attrs(), expected.drop_attrs())
    assert list(run_planned(planned, digits)) == []


@pytest.mark.slow
def test_networks_of_a_recipe_are_trained_once(tmp_path):
    recipe = (mc.catalogue()["digits-mlp"] / "recipe.toml").read_text()
    (tmp_path / "small.toml").write_text(re.sub("epochs = 60", "epochs = 1", recipe).replace("512", "8"))
    path = tmp_path / "study.toml"
    path.write_text('[modes.small]\nrecipe = "small.toml"\n[sweeps.line]\nsweep = "segment"\npoints = 3\n')
    study, steps = read_study(path, tmp_path / "out"), []
    for _ in range(2):
        modes = study.open_modes("small", None, lambda mode, done, of: steps.append(mode))
    assert modes.name == "small"
    assert len(steps) == 3 * (1437 // 64)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("modes = 3", ["needs tables [modes.NAME]", "modes = 3"]),
        ("[modes.x]", ["needs tables [sweeps.NAME]", "None"]),
        ("[modes.x]\nfoo = 1\n[sweeps.y]\nsweep = 'segment'", ["[modes.x]", "foo", "recipe, settings, only, sweeps"]),
        ("[modes.x]\nonly = ['z']\n[sweeps.y]\nsweep = 'segment'", ["only of [modes.x]", "list of y", "['z']"]),
        ("[modes.x]\n[sweeps.y]\npoints = 3", ["[sweeps.y]", "has no sweep"]),
        ("[modes.x.sweeps.z]\nn = 1\n[sweeps.y]\nsweep = 'segment'", ["[modes.x.sweeps]", "has z", "takes y"]),
        ("[modes.x]\nsettings = 3\n[sweeps.y]\nsweep = 'segment'", ["settings and sweeps of [modes.x]", "tables"]),
        ("[modes.x]\n[sweeps.y]\nsweep = 'segment'\npoints = 1", ["sweep 'y' over 'x'", "points", "got 1"]),
        ('[modes."../x"]\n[sweeps.y]\nsweep = "segment"', ["letters, digits", "'../x'"]),
        ("[modes.x]\n[sweeps.y]\nsweep = 'segment'\n[plots]", ["plots", "title, modes, sweeps"]),
        ("[modes", ["cannot be read"]),
    ],
)
def test_bad_studies_are_explained(tmp_path, text, words):
    path = tmp_path / "study.toml"
    path.write_text(text)
    with explains("study", *words):
        read_study(path, tmp_path)


def _pictured(dataset, path, **_):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    return path


def test_the_write_up_says_what_the_numbers_say(computed, tmp_path, monkeypatch):
    monkeypatch.setattr(findings, "save_picture", _pictured)
    path, results = computed
    out = tmp_path / "page.md"
    done = CliRunner().invoke(app, ["findings", str(path), "--results", str(results), "--out", str(out)])
    assert done.exit_code == 0, done.exception
    text = out.read_text()
    for claim, rule in findings.RULES.items():
        assert f"## {claim}" in text
        assert rule in text
    share = mc.summary(mc.open(results / "digits-mlp" / "draws.nc")).low_loss_share.item()
    (row,) = [line for line in text.splitlines() if "digits-mlp | bernoulli (p = 0.4)" in line and "5 draws" in line]
    assert f"{share:.0%} (" in row
    assert row.endswith("| in part |"), "five draws, all low, have an interval from 57 %"
    assert "No result of the study speaks to this." in text, "there is no transitivity in it"
    pictures = re.findall(r"\]\((page/[\w.-]+)\)", text)
    assert len(pictures) == 4
    assert all((tmp_path / picture).exists() for picture in pictures)
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)


def test_a_study_that_is_not_computed_is_not_written_up(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(TEXT)
    refused = CliRunner().invoke(
        app, ["findings", str(path), "--results", str(tmp_path), "--out", str(tmp_path / "x.md")]
    )
    assert "the study is not computed" in str(refused.exception)
    with explains("nothing to write up"):
        findings.write_findings("x", [], tmp_path / "x.md")
