"""Two thousand damaged files of every format, each read or refused: `python -m tests.fuzz` damages any number."""

import functools
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.fuzz.campaign import campaign
from tests.fuzz.formats import FORMATS

MUTATIONS, SEED = 2_000, 0


@pytest.fixture(scope="module")
def results(request, tmp_path_factory) -> Iterator[dict[str, Future[dict[str, Any]]]]:
    """What came of each format that is asked for, in a child for each core: they run side by side."""
    items = [item for item in request.session.items if getattr(item, "originalname", "") == test_damaged_files.__name__]
    names = [item.callspec.params["name"] for item in items]
    jobs = len(os.sched_getaffinity(0))
    out = tmp_path_factory.mktemp("fuzz")
    with ThreadPoolExecutor(jobs) as pool:
        run = functools.partial(campaign, run_seed=SEED, start=0, mutations=MUTATIONS, jobs=1, out=out)
        yield {name: pool.submit(run, name) for name in names}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files(results, name):
    result = results[name].result()
    found = [*result["failures"], *result["crashes"]]
    replays = [
        f"python -m tests.fuzz --format {name} --seed {SEED} --replay {its['index']}  # "
        + its.get("traceback", its.get("ended", "")).strip().splitlines()[-1]
        for its in found
    ]
    assert not found, "\n".join([f"{len(found)} of {MUTATIONS} ended neither in a study nor in InputError:", *replays])
    assert result["mutations"] == MUTATIONS
    # Of damage that is no damage, such as in a comment, the sound study comes out; most is refused.
    assert result["equal"] > 0
    assert sum(result["refused"].values()) > MUTATIONS / 3
