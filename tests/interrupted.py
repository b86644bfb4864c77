"""A sweep in a process of its own, which can be killed; it writes down what its engine is asked for."""

import hashlib
import multiprocessing
import os
from pathlib import Path
from typing import Any

import modecomb_viz as mc
from modecomb_viz.evaluation import Engine
from modecomb_viz.sweep import last_dataset, make_sweep

__all__ = ["started"]

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["modecomb_viz.sweep"])


def started(name: str, settings: dict[str, Any], journal: Path, log: Path, out: Path) -> multiprocessing.Process:
    """A process that runs the sweep with the journal, and saves its result; every evaluation begun is a line of log."""
    process = _CONTEXT.Process(target=_run, args=(name, settings, str(journal), str(log), str(out)))
    process.start()
    return process


def _run(name: str, settings: dict[str, Any], journal: str, log: str, out: str):
    steps = Engine.steps
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def logged(engine, coordinates, quantities):
        fingerprint = hashlib.sha256(coordinates.numpy().tobytes()).hexdigest()[:16]
        os.write(file, f"{len(engine.split.y)} {' '.join(quantities)} {fingerprint}\n".encode())
        return (yield from steps(engine, coordinates, quantities))

    Engine.steps = logged
    mc.save(last_dataset(make_sweep(name, settings).steps(mc.open_modes("digits-mlp"), journal)), out)
