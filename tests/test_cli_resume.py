"""Interrupted commands keep what is done, and go on with --resume."""

import signal
import sqlite3
import subprocess
import sys
import time

import pytest
import xarray as xr
from typer.testing import CliRunner

import modecomb_viz as mc
from modecomb_viz.cli import app
from modecomb_viz.evaluation import Engine
from modecomb_viz.sweep import journal_header


def invoked(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def interrupted(monkeypatch, after, *arguments):
    """Run a command that is interrupted at its so many-th evaluation."""
    steps, calls = Engine.steps, []

    def stopping(engine, coordinates, quantities):
        calls.append(len(coordinates))
        if len(calls) > after:
            raise KeyboardInterrupt
        return (yield from steps(engine, coordinates, quantities))

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "steps", stopping)
        return invoked(*arguments)


def test_ctrl_c_keeps_what_is_done(tmp_path, monkeypatch, digits):
    out, journal = tmp_path / "x.nc", tmp_path / "x.nc.journal"
    command = ("samples", "--modes", "digits-mlp", "--out", out, "--n", 6, "--parameters", "p=0.25", "--seed", 3)
    stopped = interrupted(monkeypatch, 4, *command)
    assert stopped.exit_code == 130
    assert f"what is done is kept in '{journal}'" in stopped.stderr
    assert not out.exists()
    again = invoked(*command)
    assert isinstance(again.exception, ValueError)
    assert "holds an unfinished run" in str(again.exception)
    went_on = invoked("samples", "--modes", "digits-mlp", "--out", out, "--resume")
    assert went_on.exit_code == 0, went_on.output
    assert not journal.exists()
    expected = mc.sweep_samples(digits, "bernoulli", n=6, p=0.25, seed=3)
    xr.testing.assert_allclose(mc.open(out).drop_attrs(), expected.drop_attrs(), rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["samples", "--n", 7], ["another run", "n: 6 there, 7 here"]),
        (["segment"], ["unfinished run of `modecomb samples`", "not of `modecomb segment`"]),
    ],
)
def test_another_run_is_not_continued(tmp_path, monkeypatch, arguments, texts):
    out = tmp_path / "x.nc"
    interrupted(monkeypatch, 4, "samples", "--modes", "digits-mlp", "--out", out, "--n", 6)
    name, *rest = arguments
    refused = invoked(name, "--modes", "digits-mlp", "--out", out, "--resume", *rest)
    assert all(text in str(refused.exception) for text in texts), refused.exception
    assert journal_header(tmp_path / "x.nc.journal")["recipe"]["n"] == 6


def test_nothing_to_resume_and_nothing_done(tmp_path, monkeypatch):
    out = tmp_path / "x.nc"
    refused = invoked("segment", "--modes", "digits-mlp", "--out", out, "--resume")
    assert "there is no unfinished run" in str(refused.exception)
    stopped = interrupted(monkeypatch, 0, "segment", "--modes", "digits-mlp", "--out", out)
    assert "stopped before anything was evaluated" in stopped.stderr
    assert not list(tmp_path.iterdir())


def test_a_standard_report_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    out = tmp_path / "r.html"
    command = ("report", "--standard", "digits-mlp", "--resolution", 3, "--n", 4, "--out", out)
    stopped = interrupted(monkeypatch, 20, *command)
    assert stopped.exit_code == 130
    assert "the same command goes on" in stopped.stderr
    assert "wrote" in stopped.stdout
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "r").glob("*.nc")}
    (journal,) = (tmp_path / "r").glob("*.journal")
    with sqlite3.connect(journal) as connection:
        (evaluated,) = connection.execute("SELECT COUNT(*) FROM evaluations").fetchone()
    again = interrupted(monkeypatch, 0, *command)
    assert again.exit_code == 130
    assert again.stdout.count("kept") == len(done)
    assert {path: path.stat().st_mtime_ns for path in done} == done
    further = interrupted(monkeypatch, 3, *command)
    assert further.exit_code == 130
    with sqlite3.connect(journal) as connection:
        assert connection.execute("SELECT COUNT(*) FROM evaluations").fetchone()[0] == evaluated + 3
    assert not out.exists()


@pytest.mark.slow
def test_a_real_interrupt_in_a_real_process(tmp_path):
    out = tmp_path / "x.zarr"
    command = [sys.executable, "-c", "from modecomb_viz.cli import main; main()", "plane", "--modes", "digits-mlp"]
    options = ["--out", str(out), "--resolution", "65", "--plan", "block=4"]
    process = subprocess.Popen(
        [*command, *options],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what runs in the background may ignore it
    )
    journal = tmp_path / "x.zarr.journal"
    while process.poll() is None and not (journal.exists() and journal.stat().st_size > 100_000):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "kept in" in errors
    assert "Traceback" not in errors
    done = subprocess.run([*command, "--out", str(out), "--resume"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert mc.open(out).sizes["u"] == 65
