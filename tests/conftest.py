"""What all tests share: mode sets opened once, data that may be absent, a GPU that may be absent."""

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import modecomb_viz as mc
from modecomb_viz.evaluation import replays

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # the cores are shared already


@pytest.fixture(scope="session")
def digits():
    """The embedded MLP on digits."""
    return mc.open_modes("digits-mlp")


@pytest.fixture(scope="session")
def batchnorm():
    """The embedded convnet with BatchNorm."""
    return mc.open_modes("digits-convnet")


@pytest.fixture(autouse=True)
def eager_captures(monkeypatch):
    """Graphs are captured at their first run, so that small problems replay them."""
    monkeypatch.setattr(replays, "_PATIENCE", 0)


@pytest.fixture
def arrays():
    """Twenty and eight small images, with labels, as a data file holds them."""
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (20, 1, 8, 8), dtype=np.uint8),
        "y_train": np.arange(20, dtype=np.uint8) % 10,
        "x_test": rng.integers(0, 256, (8, 1, 8, 8), dtype=np.uint8),
        "y_test": np.arange(8) % 10,
    }


@pytest.fixture(scope="session")
def mnist_root():
    """The folder that MODECOMB_DATA names, if it holds MNIST."""
    root = os.environ.get("MODECOMB_DATA")
    if not root or not (Path(root) / "MNIST").is_dir():
        pytest.skip("needs MNIST: set MODECOMB_DATA to a folder that holds it in torchvision's layout")
    return root


@pytest.fixture(autouse=True)
def no_loop_of_the_browser(request):
    """From the first browser test on Playwright's loop runs in this thread; no other test finds it."""
    loop = asyncio._get_running_loop()
    if needs_browser(request.node) or loop is None:
        yield
        return
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(loop)


def needs_browser(item) -> bool:
    return "playwright" in item.fixturenames


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Several processes share the tests by file, as fixtures do; one has all that need a browser."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.split("::")[0]
            return "browser" if path.startswith("tests/ui/") else path

    return ByFile(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=needs_browser, reverse=True)  # they take longest
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU: torch finds none"))
