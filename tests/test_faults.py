"""A few kills, ends and damages: `python -m tests.faults` makes more of them."""

import numpy as np
import pytest

from tests.faults.child import Faults
from tests.faults.corruption import corrupt
from tests.faults.trainings import (
    EXITS,
    FAULTS,
    LONG_S,
    Trainings,
    ended,
    kill,
    leave,
    lose,
    output_of,
    result,
    terminate,
)


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    place = tmp_path_factory.mktemp("faults")
    found = Trainings(place, place / "cache")
    log = found.reference(FAULTS[0]).log
    # Skipped steps name their examples, and the training goes on.
    assert log.count(b'"skipped"') == log.count(b'"loss": null') > 0
    assert b'["p0_c", 0, 1]' in log
    assert log.count(b'"validation"') == 2  # after the third of four epochs, and the last
    return found


def test_damaged_checkpoints_never_come_back_as_something_else(tmp_path):
    found = corrupt(60, 1, tmp_path)
    assert (found["wrong"], found["failures"]) == (0, 0), found["found"]
    assert min(found["sound"], found["fallback"], found["refused"]) > 0


@pytest.mark.parametrize("disturb", [kill, terminate])
def test_a_disturbed_training_ends_as_an_undisturbed_one(trainings, disturb):
    found = disturb(trainings, 0, 1, 2)
    assert (found["disorderly"], found["different"]) == (0, 0)
    assert found["times"] == 2


@pytest.mark.parametrize("name", ["error", "SIGTERM twice"])
def test_a_training_that_is_left_in_the_middle_of_a_save(trainings, name):
    assert name in EXITS
    found = leave(trainings, name)
    assert (found["disorderly"], found["different"]) == (0, 0)


def test_two_processes_train_as_one_and_end_together(trainings):
    folder, faults = trainings.place / "together", FAULTS[0]
    # One dies, and the other notices; one is told to end, and both save the same step; then they go on.
    assert lose(trainings, folder, faults, "SIGKILL", 1, 2)
    assert lose(trainings, folder, faults, "SIGTERM", 1, 3)
    assert trainings.finish_together(folder, faults).same(trainings.reference(faults))


def test_a_training_that_sees_only_nan_gives_up_and_saves_nothing_of_it(trainings):
    folder = trainings.place / "nan"
    everything = tuple((case, slice_) for case in range(3) for slice_ in range(5))
    for _ in range(2):
        # Going on, it counts the steps before.
        process = trainings.start(folder, Faults(nan=everything))
        assert ended(process, LONG_S) == 2
    now = output_of(folder).read_text().splitlines()[-1]
    assert now.startswith(
        f"error: diverged: {folder}: 10 steps in a row had no finite gradients, the last was step 10 on p"
    )
    found = result(folder)
    assert {(which, step) for which, step, _ in found.arrays} == {("best", 8), ("last", 9)}
    assert all(np.isfinite(np.frombuffer(value, np.float32)).all() for value in found.arrays.values())
