"""A run that was interrupted goes on to the same result, and computes nothing twice that was written."""

import random
import sqlite3
import time
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import xarray as xr
from explained import explains
from interrupted import started
from test_sweep import QUICK

import modecomb_viz as mc
from modecomb_viz.alignment import align_modes
from modecomb_viz.sweep import SWEEPS, journal_header, last_dataset, make_sweep


def values(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.drop_attrs()


def records(journal) -> list[str]:
    with sqlite3.connect(journal) as connection:
        return [asked for (asked,) in connection.execute("SELECT asked FROM evaluations ORDER BY number")]


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "segment")) for n in QUICK])
def test_an_interrupted_run_goes_on_to_the_same_bits(name, digits, tmp_path):
    journal, sweep = tmp_path / "x.journal", make_sweep(name, {**QUICK[name], "plan": {"block": 3}})
    align_modes(digits, "A", "B", "universe")  # found once for all who ask: no step of these runs
    whole = list(sweep.steps(digits))
    for stopped in (len(whole) // 3, len(whole) // 2):
        steps = sweep.steps(digits, journal)
        list(islice(steps, stopped))
        steps.close()
    before = len(records(journal))
    result = last_dataset(sweep.steps(digits, journal))
    xr.testing.assert_identical(values(result), values(whole[-1]))
    assert 0 < before < len(records(journal))
    assert journal_header(journal)["recipe"]["sweep"] == name


def test_a_finished_journal_evaluates_nothing(digits, tmp_path, monkeypatch):
    settings = {"points": 5, "journal": tmp_path / "x.journal"}
    first = mc.sweep_segment(digits, **settings)
    monkeypatch.setattr("modecomb_viz.evaluation.Engine.steps", lambda *_: pytest.fail("evaluated again"))
    again = mc.sweep_segment(digits, **settings)
    xr.testing.assert_identical(values(first), values(again))
    assert again.attrs["wall_time"] == pytest.approx(first.attrs["wall_time"])
    assert again.attrs["plan"] == first.attrs["plan"]


def test_a_result_with_a_journal_is_rerun_to_the_bit(digits, tmp_path):
    result = mc.sweep_samples(digits, n=12, journal=tmp_path / "x.journal")
    xr.testing.assert_identical(values(mc.rerun(result, digits)), values(result))


@pytest.mark.slow
def test_killed_ten_times(digits, tmp_path):
    rng = random.Random(time.time_ns())
    journal, log, out = (tmp_path / name for name in ("x.journal", "x.log", "x.nc"))
    sweep = make_sweep("plane", {"resolution": 33, "plan": {"block": 7}})
    settings = {"resolution": 33, "plan": {"block": 7}}
    log.touch()
    begun = 0
    for _ in range(10):
        kept = set(records(journal)) if journal.exists() and journal.stat().st_size else set()
        process = started("plane", settings, journal, log, out)
        aim = begun + rng.randint(2, 12)
        while process.is_alive() and len(log.read_text().splitlines()) < aim:
            process.join(0.002)
        process.join(rng.uniform(0, 0.02))
        process.kill()
        process.join()
        assert process.exitcode == -9, "the run ended before it was killed"
        lines = log.read_text().splitlines()
        asked_again = {line for line in lines[begun:] if any(_same(line, record) for record in kept)}
        assert not asked_again
        begun = len(lines)
    process = started("plane", settings, journal, log, out)
    process.join()
    assert process.exitcode == 0
    evaluations = log.read_text().splitlines()
    assert len(evaluations) <= len(records(journal)) + 10
    unbroken = last_dataset(replace(sweep, plan=journal_header(journal)["plan"]).steps(digits))
    np.testing.assert_array_equal(mc.open(out).loss.values, unbroken.loss.values)
    np.testing.assert_array_equal(mc.open(out).accuracy.values, unbroken.accuracy.values)


def _same(line: str, record: str) -> bool:
    """Whether a line of the log is the evaluation of a record: examples, quantities and points."""
    _, examples, _, *rest = record.split()
    return line == " ".join([examples, *rest])


def test_a_journal_of_another_run_is_refused(digits, batchnorm, tmp_path):
    journal = tmp_path / "x.journal"
    mc.sweep_segment(digits, points=3, journal=journal)
    with explains("journal of another run", "points: 3 there, 5 here", "delete it"):
        mc.sweep_segment(digits, points=5, journal=journal)
    with explains("journal of another run", "sweep: 'segment' there, 'plane' here"):
        mc.sweep_plane(digits, resolution=3, journal=journal)
    with explains("journal of another run", "modes: 'digits-mlp' there, 'digits-convnet' here"):
        mc.sweep_segment(batchnorm, points=3, journal=journal)
    assert mc.sweep_segment(digits, points=3, journal=journal).sizes["t"] == 3


def test_other_files_are_refused(digits, tmp_path):
    text = tmp_path / "text.journal"
    text.write_text("not a database " * 100)
    other = tmp_path / "other.journal"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE about (header TEXT)")
        connection.execute("INSERT INTO about VALUES ('[1]')")
    connection.close()
    for path in (text, other):
        with explains("is not a journal of a sweep", path.name):
            mc.sweep_segment(digits, points=3, journal=path)
    with explains("cannot use", "unable to open"):
        mc.sweep_segment(digits, points=3, journal=tmp_path / "no" / "x.journal")
    with explains("there is no unfinished run", "none.journal"):
        journal_header(tmp_path / "none.journal")


def test_a_damaged_evaluation_is_named(digits, tmp_path):
    journal = tmp_path / "x.journal"
    mc.sweep_segment(digits, points=3, journal=journal)
    for damage, text in (("found = x'00'", "cannot be read"), ("asked = 'other'", "not what this run evaluates")):
        connection = sqlite3.connect(journal)
        with connection:
            connection.execute(f"UPDATE evaluations SET {damage} WHERE number = 1")
        connection.close()
        with explains(text, "x.journal"):
            mc.sweep_segment(digits, points=3, journal=journal)
        journal.unlink()
        mc.sweep_segment(digits, points=3, journal=journal)


def test_two_runs_cannot_share_a_journal(digits, tmp_path):
    steps = SWEEPS["segment"](points=5).steps(digits, tmp_path / "x.journal")
    next(steps)
    with explains("another run writes it"):
        mc.sweep_segment(digits, points=5, journal=tmp_path / "x.journal")
    steps.close()
    assert mc.sweep_segment(digits, points=5, journal=tmp_path / "x.journal").sizes["t"] == 5
