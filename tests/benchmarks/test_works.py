"""The works of ``modecomb bench``, each by the engine and by a plain loop, on demand:

pytest tests/benchmarks/test_works.py --benchmark-only --benchmark-group-by=param:name
"""

from dataclasses import replace

import pytest
import torch

from modecomb_viz.bench import WORKS, PlainLoop, run_engine
from modecomb_viz.sweep import PlaneSweep

RESOLUTION = 5


@pytest.fixture(params=[name for name, work in WORKS.items() if not work.on_demand])
def name(request):
    return request.param


@pytest.mark.parametrize("how", ["engine", "plain loop"])
def test_work(benchmark, name, how):
    """A map of 25 points, or 25 draws, on all examples."""
    work, modes = WORKS[name], WORKS[name].modes()
    size = {"resolution": RESOLUTION} if isinstance(work.sweep, PlaneSweep) else {"n": RESOLUTION**2}
    sweep = replace(work.sweep, **size)
    if how == "engine":
        benchmark.pedantic(run_engine, (sweep, modes), rounds=3, warmup_rounds=1)
        return
    plain = PlainLoop(modes, torch.device("cpu"))
    batch = max(work.batches, default=len(modes.test.y))
    benchmark.pedantic(
        lambda: [plain.point(plain.in_memory(batch)) for _ in range(RESOLUTION**2)], rounds=1, warmup_rounds=0
    )
