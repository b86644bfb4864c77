"""The command line: the same defaults as the API, whole output or a sentence."""

import inspect
import json
import shutil
import subprocess
import sys
from dataclasses import MISSING, fields

import pandas
import pytest
import synthetic
import typer
import xarray as xr

import modecomb_viz as mc
from modecomb_viz.alignment import METHODS
from modecomb_viz.checkpoints import catalogue
from modecomb_viz.cli import app, main
from modecomb_viz.sweep import SWEEPS, standard, standard_sweeps


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line in this process: exit code, stdout, stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["modecomb", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return call


def test_modes_are_listed(run):
    code, out, _ = run("modes")
    assert code == 0
    for name in catalogue():
        (row,) = [line for line in out.splitlines() if line.strip().startswith(name)]
        assert "digits" in row
        assert all(f"{mode} 0.9" in row for mode in "ABC")


def test_a_broken_set_leaves_the_others_listed(run, tmp_path, monkeypatch):
    monkeypatch.setenv("MODECOMB_MODES", str(tmp_path))
    for name, text in {"toml": "x =", "nameless": 'description=""\ndata="digits"\n[architecture]\na=1\n'}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.toml").write_text(text)
    code, out, _ = run("modes")
    assert code == 0
    assert out.count("cannot be opened") == 2
    assert "needs a name" in " ".join(out.split())
    assert all(name in out for name in catalogue())


def test_a_help_text_lists_the_methods(run):
    _, out, _ = run("segment", "--help")
    assert all(method in out for method in METHODS)


@pytest.mark.parametrize("name", list(SWEEPS))
def test_options_are_the_settings_of_the_api(name):
    command = typer.main.get_command(app).commands[name]
    options = {option.name: option for option in command.params}
    for field in fields(SWEEPS[name]):
        default = field.default_factory() if field.default is MISSING else field.default
        expected = [default] if field.name in ("strength", "base") and not isinstance(default, tuple) else default
        got = options[field.name].default
        same = list(got or []) == list(expected) if isinstance(expected, (list, tuple, dict)) else got == expected
        assert same, field.name
        assert options[field.name].help, f"{name} --{field.name} has no help"
    assert "Example: modecomb" in inspect.cleandoc(command.help)


@pytest.mark.parametrize(
    ("name", "arguments", "settings"),
    [
        ("segment", ["--points", "5", "--strength", "0", "--strength", "0.5"], {"points": 5, "strength": (0.0, 0.5)}),
        ("plane", ["--resolution", "3", "-z", "fc1,fc2"], {"resolution": 3, "z": ("fc1", "fc2")}),
        (
            "plane",
            ["--resolution", "3", "-z", "1", "--splits", "train"],
            {"resolution": 3, "z": 1, "splits": ("train",)},
        ),
        (
            "samples",
            ["-n", "4", "--distribution", "normal", "--parameters", "std=0.7"],
            {"n": 4, "distribution": "normal", "parameters": {"std": 0.7}},
        ),
        ("perturbation", ["--strength", "1", "--repeats", "2"], {"strength": (1.0,), "repeats": 2}),
        ("similarity", ["-n", "2", "--granularity", "layer"], {"n": 2, "granularity": "layer"}),
    ],
)
def test_sweeps_write_what_the_api_gives(run, digits, tmp_path, name, arguments, settings):
    path = tmp_path / "x.nc"
    code, out, err = run(name, "--modes", "digits-mlp", "--out", path, *arguments)
    assert (code, err.strip()) == (0, "")
    assert f"wrote {path}" in out
    written = mc.open(path)
    sweep = SWEEPS[name](**settings, plan=json.loads(written.attrs["plan"]))
    expected = [s for s in sweep.steps(digits) if isinstance(s, xr.Dataset)][-1]
    xr.testing.assert_identical(written.drop_attrs(), expected.drop_attrs())


def test_align_saves_the_aligned_weights(run, digits, tmp_path):
    path = tmp_path / "b.safetensors"
    code, out, _ = run("align", "--modes", "digits-mlp", "-b", "C", "--restarts", "2", "--out", path)
    assert code == 0
    assert "restarts:" in out
    expected = mc.align(digits.spec, digits.params["A"], digits.params["C"], restarts=2).params
    got = mc.load_params(path, digits.model)
    assert all(bool((got[name] == expected[name]).all()) for name in expected)


def test_train_writes_a_set_that_opens(run, tmp_path):
    text = (catalogue()["digits-mlp"] / "recipe.toml").read_text()
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(text.replace("epochs = 60", "epochs = 1").replace("512, 512", "16"))
    code, out, _ = run("train", recipe, "--out", tmp_path / "mine")
    assert code == 0
    assert "test_accuracy" in out
    modes = mc.open_modes(tmp_path / "mine")
    assert (modes.name, list(modes.params)) == ("mine", ["A", "B", "C"])


def test_report_of_stored_results(run, tmp_path):
    paths = [mc.save(dataset, tmp_path / f"{i}.nc") for i, dataset in enumerate(synthetic.everything())]
    code, out, _ = run("report", *paths, "--out", tmp_path / "r.html", "--title", "mine")
    assert code == 0
    assert " MB" in out
    assert "<h1>mine</h1>" in (tmp_path / "r.html").read_text()


def test_a_gallery_of_reports(run, tmp_path):
    for name in ("one", "two"):
        mc.save_report([synthetic.segment()], tmp_path / f"{name}.html", title=name)
    code, out, err = run("gallery", tmp_path, "--out", tmp_path / "index.html", "--title", "both")
    assert (code, out.strip(), err.strip()) == (0, f"wrote {tmp_path / 'index.html'}", "")
    html = (tmp_path / "index.html").read_text()
    assert "<h1>both</h1>" in html
    assert all(f'href="{name}.html"' in html for name in ("one", "two"))
    (tmp_path / "three.html").write_text("<html>")
    code, _, err = run("gallery", tmp_path, "--out", tmp_path / "other.html")
    assert code == 2
    assert "three.html' is no report of modecomb_viz" in err


def test_a_large_report_is_said_to_be_large(run, tmp_path, monkeypatch):
    monkeypatch.setattr("modecomb_viz.report.SIZE_BUDGET", 1_000_000)
    path = mc.save(synthetic.segment(), tmp_path / "x.nc")
    code, _, err = run("report", path, "--out", tmp_path / "r.html")
    assert code == 0
    assert err.strip() == "that is more than the 1 MB of a standard report; the page says so"
    assert "more than the 1 MB of a standard report" in (tmp_path / "r.html").read_text()


def test_tables_of_stored_results(run, tmp_path):
    path = mc.save(synthetic.segment(), tmp_path / "x.nc")
    code, out, err = run("table", path, "--out", tmp_path / "x.csv", "--of", "barriers", "--no-units")
    assert (code, out.strip(), err.strip()) == (0, f"wrote {tmp_path / 'x.csv'}", "")
    lines = (tmp_path / "x.csv").read_text().splitlines()
    assert lines[0] == "strength,split,definition,barrier,error_barrier"
    assert len(lines) == 1 + 3 * 2 * 4
    assert run("table", path, "--out", tmp_path / "x.parquet")[0] == 0
    pandas.testing.assert_frame_equal(pandas.read_parquet(tmp_path / "x.parquet"), mc.table(mc.open(path)))


def test_pictures_of_stored_results(run, tmp_path):
    path = mc.save(synthetic.laws("bernoulli"), tmp_path / "x.nc")
    given = ["--strength", "0.5", "--split", "train", "--option", "statistic=share", "--option", "epsilon=0.7"]
    code, out, err = run("picture", path, "--out", tmp_path / "x.svg", *given, "--width", "700")
    assert (code, out.strip(), err.strip()) == (0, f"wrote {tmp_path / 'x.svg'}", "")
    text = (tmp_path / "x.svg").read_text()
    assert 'width="700"' in text
    assert "draws of low train loss [fraction]" in text


@pytest.fixture
def small(run, tmp_path, monkeypatch):
    """A folder of three small networks on digits; few strengths, laws and granularities."""
    few = {"STRENGTHS": (0.0, 1.0), "PROBABILITIES": (0.3, 0.5), "GRANULARITIES": ("unit", "weight")}
    for name, values in few.items():
        monkeypatch.setattr(standard, f"_{name}", values)
    text = (catalogue()["digits-mlp"] / "recipe.toml").read_text()
    (tmp_path / "recipe.toml").write_text(text.replace("epochs = 60", "epochs = 1").replace("512, 512", "16"))
    assert run("train", tmp_path / "recipe.toml", "--out", tmp_path / "small")[0] == 0
    return tmp_path / "small"


@pytest.mark.slow
def test_a_standard_report_is_computed_once(run, small, tmp_path):
    out = tmp_path / "page" / "r.html"
    arguments = ["report", "--standard", small, "--resolution", "5", "-n", "8", "--out", out]
    code, told, err = run(*arguments)
    assert (code, err.strip()) == (0, "")
    names = [path.stem for path in (tmp_path / "page" / "r").glob("*")]
    assert sorted(names) == sorted(standard_sweeps(3))
    assert told.count("wrote ") == len(names) + 1
    html = out.read_text()
    sections = ("map", "segment", "distribution", "laws", "layers", "points", "perturbation", "transitivity")
    assert all(f'<section id="{name}"' in html for name in (*sections, "similarity"))
    code, told, _ = run(*arguments)
    assert code == 0
    assert told.count("kept ") == len(names)
    code, _, err = run("report", "--standard", small, "--resolution", "7", "-n", "8", "--out", out)
    assert code == 2
    assert "holds another result (resolution: 5 there, 7 here)" in err


@pytest.mark.slow
def test_a_standard_report_of_two_networks_says_what_it_leaves_out(run, small, tmp_path):
    recipe = small / "recipe.toml"
    recipe.write_text("".join(line for line in recipe.read_text().splitlines(True) if not line.startswith("C = ")))
    (small / "C.safetensors").unlink()
    arguments = ["--resolution", "3", "-n", "4", "--splits", "train", "--folder", tmp_path / "results"]
    code, _, err = run("report", "--standard", small, *arguments, "--out", tmp_path / "r.html")
    assert code == 0
    assert err.strip() == "no transitivity: small has 2 networks, it takes three"
    assert not (tmp_path / "results" / "transitivity.nc").exists()
    assert mc.recipe(mc.open(tmp_path / "results" / "naive.nc"))["splits"] == ["train"]


def test_bench_measures_what_it_is_asked_for(run, tmp_path):
    code, out, _ = run("bench", "--resolution", "3", "--only", "digits-mlp", "--json", tmp_path / "b.json")
    assert code == 0
    assert "matrix multiply" in out
    figures = json.loads((tmp_path / "b.json").read_text())
    assert [row["work"].partition(",")[0] for row in figures["rows"]] == ["digits-mlp"]
    for row in figures["rows"]:
        assert row["points"] == 9
        assert row["ratio"] == pytest.approx(row["plain_loop_seconds"] / row["engine_seconds"])
        assert row["plain_loop_seconds"] == min(row["plain_loop_batches"].values())
        assert row["share_of_matmul_rate"] > 0
    assert run("bench", "--only", "nothing such")[0] == 2


@pytest.fixture
def mixed(tmp_path):
    """A folder with the recipe of one architecture and the weights of another."""
    shutil.copytree(catalogue()["digits-mlp"], tmp_path / "mixed")
    shutil.copy(catalogue()["digits-convnet"] / "A.safetensors", tmp_path / "mixed")
    return tmp_path / "mixed"


@pytest.fixture(scope="session")
def stored(tmp_path_factory):
    """A segment at three strengths, in a file."""
    return mc.save(synthetic.segment(), tmp_path_factory.mktemp("stored") / "segment.nc")


OUT = ["--out", "{tmp}/x.nc"]
DIGITS = ["--modes", "digits-mlp", *OUT]
GIVEN = ["--architecture", "mlp", "--data", "digits"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plane", "--modes", "nope", *OUT], ["no modes called 'nope'", "digits-mlp"]),
        (["plane", "--modes", "{mixed}", *OUT], ["A.safetensors", "is missing 'fc1.bias'", "same architecture?"]),
        (["plane", *DIGITS, "--parameters", "p=1.5"], ["bernoulli", "[0, 1]", "1.5"]),
        (["plane", *DIGITS, "--parameters", "half"], ["NAME=NUMBER", "'half'"]),
        (["segment", *DIGITS, "--strength", "1.5"], ["strength", "[0, 1]", "1.5"]),
        (["plane", *DIGITS, "--resolution", "0"], ["resolution", "2 to 1,025", "0"]),
        (["plane", *DIGITS, "--resolution", "10000"], ["resolution", "2 to 1,025", "10000"]),
        (["plane", "--modes", "digits-mlp", "--out", "/proc/x.nc"], ["cannot write '/proc/x.nc'", "Choose a folder"]),
        (["plane", "--modes", "digits-mlp", "--out", "x.txt"], ["must end in '.nc'", "x.txt"]),
        (["report", "--standard", "digits-mlp", "--out", "/proc/x.html"], ["cannot write '/proc/x.html'"]),
        (["report", "--out", "{tmp}/x.html"], ["either results to show, or --standard"]),
        (["report", "{tmp}/none.nc", "--out", "{tmp}/x.html"], ["no result at"]),
        (["table", "{stored}", "--out", "{tmp}/x.csv", "--of", "summary"], ["no table 'summary'", "points, barriers"]),
        (["table", "{stored}", "--out", "{tmp}/x.txt"], [".csv or .parquet"]),
        (["picture", "{stored}", "--out", "{tmp}/x.png"], ["the result has 3 strengths", "0, 0.5, 1"]),
        (["picture", "{stored}", "--out", "{tmp}/x.png", "--option", "split"], ["NAME=VALUE", "'split'"]),
        (["picture", "{stored}", "--out", "{tmp}/x.png", "--option", "width=3"], ["give --width"]),
        (["align", "--modes", "digits-mlp", "--method", "magic"], ["method", "weight_matching", "'magic'"]),
        (["train", "{tmp}/none.toml"], ["cannot read the recipe"]),
        (
            ["align", "--modes", "{mixed}/..", "--out", "{tmp}/x.safetensors"],
            ["no recipe.toml", "`modecomb modes add`"],
        ),
        (["align", "--modes", "digits-mlp", "--method", "identity", "--restarts", "2"], ["--restarts is for"]),
        (["modes", "add", "x", "A=a.pt", "A=b.pt"], ["mode A is given twice", "'a.pt'", "'b.pt'"]),
        (["modes", "add", "x", "../../esc=a.pt", "B=b.pt", *GIVEN], ["the name of a mode", "'../../esc'"]),
        (["modes", "add", "x", "run1/last=a.pt", "B=b.pt", *GIVEN], ["the name of a mode", "'run1/last'"]),
        (["modes", "add", "x", "A=a.pt", "B=b.pt", *GIVEN, "--mean", "0.5", "--std", "1"], ["belong to a data file"]),
        (["modes", "add", "x", "A=a.pt", "B=b.pt", *GIVEN, "--option", "name=mlp"], ["'name' is given twice"]),
        (["modes", "add", "x", "A=a.pt", "B=b.pt", *GIVEN, "--option", "seed=3"], ["does not take", "seed"]),
    ],
)
def test_bad_input_is_explained_without_a_traceback(run, tmp_path, mixed, stored, arguments, words):
    code, _, err = run(*(a.format(tmp=tmp_path, mixed=mixed, stored=stored) for a in arguments))
    assert code == 2
    assert err.startswith("error: ")
    assert len(err.strip().splitlines()) == 1
    assert all(word in err for word in words), err
    assert [path for path in tmp_path.iterdir() if path != mixed] == []


def test_the_installed_command_fails_with_a_code_and_a_line():
    command = [
        sys.executable,
        "-c",
        "from modecomb_viz.cli import main; main()",
        "plane",
        "--modes",
        "x",
        "--out",
        "y.nc",
    ]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert done.returncode == 2
    assert done.stderr.startswith("error: there are no modes called 'x'")
    assert "Traceback" not in done.stderr


def test_show_says_what_a_result_holds(run, tmp_path):
    mc.save(mc.sweep_segment(mc.open_modes("digits-mlp"), points=3, strength=0.3), tmp_path / "x.nc")
    code, out, err = run("show", tmp_path / "x.nc")
    assert (code, err.strip()) == (0, "")
    for words in ("segment of digits-mlp", "loss (split, t): 0.0", "[nats per example]", "strength=0.3", "wall_time: "):
        assert words in out


def test_rerun_agrees_or_says_what_differs(run, tmp_path):
    dataset = mc.sweep_segment(mc.open_modes("digits-mlp"), points=3)
    same, other = mc.save(dataset, tmp_path / "same.nc"), tmp_path / "other.nc"
    dataset["loss"] = dataset.loss * 1.01
    mc.save(dataset, other)
    code, out, err = run("rerun", same)
    assert (code, err.strip()) == (0, "")
    assert f"{same} agrees: largest relative difference 0" in out
    code, out, _ = run("rerun", same, other)
    assert code == 1
    assert f"{other} differs: largest relative difference 0.0099, in loss" in out
    code, _, err = run("rerun", same, "--modes", "digits-convnet")
    assert code == 2
    assert "is not that of the result" in err


def test_settings_come_from_a_file_unless_the_command_line_gives_them(run, tmp_path):
    config, path = tmp_path / "settings.toml", tmp_path / "x.nc"
    config.write_text("points = 5\nstart = -0.5\nstrength = [0.0, 0.4]\nplan = {examples = 100}\n")
    code, _, err = run("segment", "--modes", "digits-mlp", "--out", path, "--config", config, "--points", "3")
    assert (code, err.strip()) == (0, "")
    made = mc.recipe(mc.open(path))
    assert (made["points"], made["start"], made["strength"], made["plan"]) == (3, -0.5, [0.0, 0.4], {"examples": 100})
    for text, words in (
        ("poinst = 5", "poinst"),
        ("points =", "cannot be read as TOML"),
        ("points = 1", "points must be"),
    ):
        config.write_text(text)
        code, _, err = run("segment", "--modes", "digits-mlp", "--out", path, "--config", config)
        assert code == 2
        assert words in err
