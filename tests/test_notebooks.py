"""Every notebook is committed without outputs, runs as it stands, prints nothing to stderr, and shows what it says.

The cell tagged ``parameters`` chooses networks and sizes; a cell put after it changes them, here to those of
:data:`STORIES`, which are small. ``make test-slow`` runs the notebooks as they are, and on MNIST where it is there.
"""

import json
import os
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import numpy as np
import panel_material_ui  # noqa: F401 (its models are among the outputs)
import pytest
import torch
from bokeh.document import Document
from bokeh.models import GlyphRenderer
from bokeh.models import Plot as BokehPlot
from jupyter_client import KernelManager
from nbclient import NotebookClient

import modecomb_viz as mc

ROOT = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(ROOT.glob("*.ipynb"))


class Story(NamedTuple):
    """What the tests know of a notebook: small settings, its pictures apart from the explorer's, and what is live."""

    quick: dict[str, Any]
    pictures: int
    live: str = ""


#: Stands for the folder of networks so narrow that they have a universe within a moment.
SMALL = "small"

_SMALL_RECIPE = """
description = "three narrow networks"
data = "digits"
architecture = {name = "mlp", widths = [64, 48, 48, 10]}
training = {epochs = 6, batch_size = 64, optimizer = "sgd", learning_rate = 0.1}
seeds = {A = 0, B = 1, C = 2}
"""

STORIES = {
    "01_first_map": Story({"DRAWS": 8, "REPEATS": 1, "RESOLUTION": 5}, 4),
    "02_combinability": Story({"DRAWS": 8, "STEPS": 3, "RESOLUTION": 5}, 12),
    "03_transitivity": Story({"MODES": SMALL, "POINTS": 3, "STRENGTHS": [0, 1]}, 6),
    "04_robustness": Story({"STRENGTHS": [0, 0.5, 1], "REPEATS": 2}, 10),
    "05_nonvacuity": Story(
        {"DRAWS": 8, "GRANULARITIES": ["unit", "weight"]},
        5,
        "drawn = view.object; granularity.value = 'weight'; assert view.object is not drawn",
    ),
    "06_your_own_networks": Story({"STEPS": 40, "RESOLUTION": 5}, 2),
}

#: Moves the explorer's slider and waits for what follows from it.
_MOVE = """
import time


def settled():
    deadline = time.monotonic() + 60
    while explorer.results.progress and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not explorer.results.progress
    assert explorer.results.error == ""
    assert all(bool(dataset.loss.notnull().all()) for dataset in explorer.results.datasets.values())
    return dict(explorer.results.datasets)


explorer.state.resolution = 9
before = settled()
explorer.controls.widgets["strength"].value = 0.9
after = settled()
assert "perturbed" in after
moved = {"plane", "samples"} & after.keys()
assert moved
assert all(not before[topic].loss.equals(after[topic].loss) for topic in moved)
"""


def read(path):
    return nbformat.read(path, as_version=4)


def executed(path, settings, after="", *, kernel=None, timeout=120):
    """The notebook, run with other settings and with code after its last cell; a fault in any cell raises.

    It has a kernel of its own, unless one is given, which then forgets the names of the notebooks before.
    """
    notebook = read(path)
    (chosen,) = [i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])]
    changed = "\n".join(f"{name} = {value!r}" for name, value in settings.items())
    notebook.cells.insert(chosen + 1, nbformat.v4.new_code_cell(changed))
    if kernel:
        notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
    if after:
        notebook.cells.append(nbformat.v4.new_code_cell(after))
    options = {"kernel_name": "python3", "timeout": timeout, "resources": {"metadata": {"path": str(path.parent)}}}
    client = NotebookClient(notebook, km=kernel, **options)
    try:
        return client.execute()
    finally:
        if kernel and client.kc:
            client.kc.stop_channels()


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def complaints(notebook):
    return [output.text for output in outputs(notebook) if output.get("name") == "stderr"]


#: What only the explorer's views are made of, in the text of a document.
_OF_EXPLORER = '"class_name":"Paper"'


def pictures(notebook):
    """The figures that were drawn once; those of the explorer get their data while it is looked at."""
    found = []
    for output in outputs(notebook):
        html = output.get("data", {}).get("text/html", "")
        if _OF_EXPLORER not in html and (documents := re.search(r"docs_json = (\{.*\});?\n", html)):
            for document in json.loads(documents[1]).values():
                found += Document.from_json(document).select({"type": BokehPlot})
    return found


def is_trivial(figure):
    """Whether no glyph of a figure has two different numbers to show."""
    columns = [
        np.asarray(column)
        for renderer in figure.select({"type": GlyphRenderer})
        for column in renderer.data_source.data.values()
    ]
    numbers = [np.concatenate([np.ravel(part) for part in c]) if c.dtype == object else c.ravel() for c in columns]
    return not any(n.dtype.kind in "fiu" and len(np.unique(n[np.isfinite(n)])) > 1 for n in numbers)


def test_every_notebook_has_a_story():
    assert [path.stem for path in NOTEBOOKS] == sorted(STORIES)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_has_no_outputs(path):
    cells = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert cells
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder of trained networks."""
    folder = tmp_path_factory.mktemp(SMALL)
    (folder / "recipe.toml").write_text(_SMALL_RECIPE)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    mc.train_modes(folder / "recipe.toml")
    torch.set_num_threads(threads)
    return str(folder)


@pytest.fixture(scope="module")
def kernel():
    """One for all notebooks, which takes half the time: what they import is imported once.

    One thread evaluates networks this small fastest, above all where something else runs.
    """
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(ROOT), env={**os.environ, "OMP_NUM_THREADS": "1"})
    yield manager
    manager.shutdown_kernel(now=True)


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] * (path.stem[:2] in ("03", "04", "05"))) for path in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_runs(path, small, kernel):
    story = STORIES[path.stem]
    settings = {name: small if value == SMALL else value for name, value in story.quick.items()}
    notebook = executed(path, settings, _MOVE + story.live, kernel=kernel)
    assert complaints(notebook) == []
    drawn = pictures(notebook)
    assert len(drawn) == story.pictures
    assert [figure for figure in drawn if is_trivial(figure)] == []


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """Where the notebooks keep the networks that the first of them trains."""
    return str(tmp_path_factory.mktemp("scratch"))


def run_in_full(path, settings):
    start = time.monotonic()
    notebook = executed(path, settings, _MOVE, timeout=300)
    print(f"{path.stem}: {time.monotonic() - start:.0f} s")
    assert complaints(notebook) == []
    assert not any(is_trivial(figure) for figure in pictures(notebook))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_as_it_is(path):
    run_in_full(path, {})


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS[1:], ids=lambda path: path.stem)
def test_runs_on_mnist(path, mnist_root, scratch, monkeypatch):
    monkeypatch.setenv("TMPDIR", scratch)
    run_in_full(path, {"DATA": "mnist"} if path.stem.startswith("06") else {"MODES": "mnist-mlp"})
