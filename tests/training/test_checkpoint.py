"""Checkpoints: everything comes back bit by bit; the best and the last are kept; what is damaged never comes back."""

import errno
import fcntl
import json
import logging
import shutil
import subprocess
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from foanet_jax.system import diskspace
from foanet_jax.system.errors import InputError
from foanet_jax.training import checkpoint, parallel
from foanet_jax.training.checkpoint import FOLDER, KEPT_ASIDE, open_checkpoints
from foanet_jax.training.seal import NAME, describe_array, digest_json
from foanet_jax.training.step import OptimiserSpec, init_state, make_optimiser

DESCRIPTION = {
    "stage": "segmentation",
    "classes": ["background", "µ"],
    "config": {"a": {"b": 0.1, "c": [1, 2]}, "d": ""},
}


def trained_state(step: int, spec: OptimiserSpec = OptimiserSpec()):  # noqa: B008  a frozen value
    """A state in which nothing is zero, for a made-up network of two layers and statistics."""
    generator = np.random.default_rng(step)
    variables = {
        "params": {
            "conv": {"kernel": generator.normal(size=(3, 3, 2, 4)), "bias": generator.normal(size=4)},
            "score": {"kernel": generator.normal(size=(1, 1, 4, 2))},
        },
        "statistics": {"conv": {"mean": generator.normal(size=4)}},
    }
    variables = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), variables)
    optimiser = make_optimiser(spec, 10)
    state = init_state(variables, optimiser)
    gradients = jax.tree.map(jnp.sin, variables["params"])
    _, moved = optimiser.update(gradients, state.optimiser, variables["params"])
    return parallel.place(state.replace(step=jnp.int32(step), optimiser=moved), 1)


def assert_same_bits(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def save(folder, scores, **options):
    """One checkpoint a score, at steps 1, 2, …."""
    with open_checkpoints(folder, write=True, **options) as checkpoints:
        for step, score in enumerate(scores, start=1):
            checkpoints.save(trained_state(step), DESCRIPTION, epoch=1, score=score)


def save_state(folder, state):
    with open_checkpoints(folder, write=True) as checkpoints:
        checkpoints.save(state, DESCRIPTION, epoch=1, score=None)


def read(folder, which="last", *, write=False):
    with open_checkpoints(folder, write=write) as checkpoints:
        return checkpoints.read(which, training=True)


def there(folder) -> set[str]:
    return {path.name for path in (folder / FOLDER).iterdir()} - {".lock"}


def flip(path):
    """Changes one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def values_of(folder, step: int):
    """The largest file of a checkpoint's variables."""
    return max((folder / FOLDER / str(step) / "variables").rglob("d/*"), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize(
    "spec",
    [OptimiserSpec(), OptimiserSpec(keras_epsilon=True, clip_norm=1.0, schedule="cosine")],
    ids=["paper", "options"],
)
def test_state_comes_back_bit_by_bit(tmp_path, spec):
    state = trained_state(8, spec)
    with open_checkpoints(tmp_path, write=True) as checkpoints:
        checkpoints.save(state, DESCRIPTION, epoch=3, score=0.5)
    like = jax.eval_shape(lambda: trained_state(2, spec))
    found = read(tmp_path)
    assert (found.step, found.epoch, found.description) == (8, 3, DESCRIPTION)
    assert_same_bits(found.state(like), state)
    with open_checkpoints(tmp_path, write=False) as checkpoints:
        assert_same_bits(checkpoints.read("best").variables(like.variables), state.variables)
        assert checkpoints.description("best") == DESCRIPTION


@pytest.mark.parametrize(
    ("scores", "kept", "last", "best"),
    [
        ([0.1, 0.9, 0.3, 0.5], {2, 4}, 4, 2),
        ([0.3, 0.2, 0.1], {1, 3}, 3, 1),
        ([0.5, 0.5, 0.1], {2, 3}, 3, 2),
        ([None, None, None], {3}, 3, 3),
        ([0.5, None, None], {1, 3}, 3, 1),
    ],
)
def test_best_and_last_are_kept_and_nothing_else(tmp_path, scores, kept, last, best):
    save(tmp_path, scores)
    assert there(tmp_path) == {str(step) for step in kept}
    assert [read(tmp_path, which).step for which in ("last", "best")] == [last, best]


def test_more_of_the_last_are_kept_where_asked(tmp_path):
    save(tmp_path, [0.9, 0.1, 0.2, 0.3], keep_last=2)
    assert there(tmp_path) == {"1", "3", "4"}


def test_more_of_the_best_are_kept_where_asked_but_none_without_a_score(tmp_path):
    save(tmp_path, [None, 0.9, 0.1, None, 0.2, 0.3, None], keep_best=2)
    assert there(tmp_path) == {"2", "6", "7"}
    assert read(tmp_path, "best").step == 2


def test_a_new_folder_has_none(tmp_path):
    with open_checkpoints(tmp_path / "new", write=True) as checkpoints:
        assert checkpoints.steps("last") == checkpoints.steps("best") == []
    with pytest.raises(InputError, match="no finished checkpoint yet; wait until the training has saved one"):
        read(tmp_path / "new")


def test_missing_folder_is_named(tmp_path):
    message = f"{tmp_path / 'none' / FOLDER}: no checkpoints; --checkpoint"
    with pytest.raises(InputError, match=message) as caught, open_checkpoints(tmp_path / "none", write=False):
        pass
    assert caught.value.code == "missing-checkpoint"
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("harm", [flip, lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("where", ["values", "metadata", "seal"])
def test_what_is_damaged_is_told_and_the_one_before_is_taken(tmp_path, caplog, where, harm):
    save(tmp_path, [0.9, 0.5])
    folder = tmp_path / FOLDER / "2"
    path = {"values": values_of(tmp_path, 2), "metadata": folder / "training" / "_METADATA", "seal": folder / NAME}
    harm(path[where])
    before = there(tmp_path)
    found = read(tmp_path)
    assert found.step == 1
    assert_same_bits(found.state(trained_state(5)), trained_state(1))
    missing_seal = where == "seal" and not path[where].exists()
    assert (str(folder) if missing_seal else str(path[where])) in caplog.text
    assert there(tmp_path) == before, "reading changes nothing"
    with open_checkpoints(tmp_path, write=True) as checkpoints:
        assert checkpoints.read("last", training=True).step == 1
        checkpoints.save(trained_state(2), DESCRIPTION, epoch=1, score=0.5)
    assert there(tmp_path) == {"1", "2"} | (set() if missing_seal else {"damaged-2"})
    assert read(tmp_path).step == 2


def test_an_array_that_is_not_what_was_saved_is_named(tmp_path, caplog):
    save(tmp_path, [0.9, 0.5])
    path = tmp_path / FOLDER / "2" / NAME
    content = json.loads(path.read_text())
    del content["seal"]
    content["arrays"]["optimiser/0/mu/conv/bias"] = describe_array(np.zeros(4, np.float32))
    path.write_text(json.dumps({**content, "seal": digest_json(content)}))
    assert read(tmp_path).step == 1
    assert "array optimiser/0/mu/conv/bias is not the one that was saved" in caplog.text
    with open_checkpoints(tmp_path, write=False) as checkpoints:
        assert checkpoints.read("last").step == 2, "a prediction does not read it"


def test_the_best_is_chosen_by_seals_alone(tmp_path):
    save(tmp_path, [0.9, 0.5])
    flip(values_of(tmp_path, 1))
    assert read(tmp_path, "best").step == 2
    shutil.copytree(tmp_path / FOLDER / "2", tmp_path / FOLDER / "7")
    assert read(tmp_path, "last").step == 2, "a folder by another name is not that step's checkpoint"


def test_no_whole_checkpoint_is_an_error_and_stays(tmp_path):
    save(tmp_path, [0.9, 0.5])
    for step in (1, 2):
        flip(values_of(tmp_path, step))
    for write in (False, True):
        with pytest.raises(
            InputError, match=r"every checkpoint is damaged .*; restore the folder from a backup"
        ) as caught:
            read(tmp_path, write=write)
        assert caught.value.code == "damaged-checkpoint"
    assert there(tmp_path) == {"1", "2"}


def test_few_damaged_checkpoints_are_set_aside(tmp_path):
    save(tmp_path, [0.9])
    for step in range(2, KEPT_ASIDE + 4):
        with open_checkpoints(tmp_path, write=True) as checkpoints:
            checkpoints.save(trained_state(step), DESCRIPTION, epoch=1, score=None)
        flip(values_of(tmp_path, step))
        read(tmp_path, write=True)
    assert sum(name.startswith("damaged-") for name in there(tmp_path)) == KEPT_ASIDE


def test_what_an_interrupted_training_left_is_ignored_and_removed(tmp_path, caplog):
    save(tmp_path, [0.9])
    shutil.copytree(tmp_path / FOLDER / "1", tmp_path / FOLDER / "2")
    (tmp_path / FOLDER / "2" / NAME).unlink()
    (tmp_path / FOLDER / "3.orbax-checkpoint-tmp" / "variables").mkdir(parents=True)
    (tmp_path / ".0123456789abcdef.jsonl").write_text("{")
    assert read(tmp_path).step == 1
    assert "2: incomplete checkpoint of an interrupted save; it is ignored" in caplog.text
    assert there(tmp_path) == {"1", "2", "3.orbax-checkpoint-tmp"}
    assert read(tmp_path, write=True).step == 1
    assert there(tmp_path) == {"1"}
    assert not (tmp_path / ".0123456789abcdef.jsonl").exists()


def test_another_network_is_named_and_nothing_is_set_aside(tmp_path):
    save(tmp_path, [0.9])
    like = trained_state(1)
    like.variables["params"]["score"]["kernel"] = jnp.zeros((1, 1, 4, 3))
    with pytest.raises(
        InputError, match=r"score/kernel is float32\[1, 1, 4, 2\] in the checkpoint but float32\[1, 1, 4, 3\]"
    ):
        read(tmp_path, write=True).state(like)
    assert there(tmp_path) == {"1"}


def test_numbers_that_are_not_finite_are_never_saved(tmp_path):
    state = trained_state(2)
    state.variables["statistics"]["conv"]["mean"] = jnp.array([1.0, jnp.nan, 0.0, 1.0])
    save(tmp_path, [0.9])
    with pytest.raises(InputError, match="variables/statistics/conv/mean is not finite"):
        save_state(tmp_path, state)
    assert there(tmp_path) == {"1"}


def test_one_training_at_a_time(tmp_path):
    with open_checkpoints(tmp_path, write=True), pytest.raises(InputError, match="another training is running there"):
        read(tmp_path, write=True)


def test_orbax_is_closed_however_the_block_ends(tmp_path, monkeypatch):
    closed = []
    monkeypatch.setattr(checkpoint, "_checkpointer", lambda: SimpleNamespace(close=lambda: closed.append(True)))
    with open_checkpoints(tmp_path, write=True):
        pass
    with pytest.raises(KeyboardInterrupt), open_checkpoints(tmp_path, write=True):
        raise KeyboardInterrupt
    assert closed == [True, True]


def test_a_lock_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "other").write_text("mine")
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / ".lock").symlink_to(tmp_path / "other")
    with pytest.raises(InputError, match="remove the link"), open_checkpoints(tmp_path, write=True):
        pass
    assert (tmp_path / "other").read_text() == "mine"


def test_a_file_system_without_locks_is_told_and_used(tmp_path, monkeypatch, caplog):
    def flock(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    with open_checkpoints(tmp_path, write=True):
        assert "this file system has no file locks ([Errno " in caplog.text


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path, monkeypatch):
    save(tmp_path, [0.9])
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(diskspace.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(
        InputError, match=r"checkpoints: the disk is full: 26\d,\d+ bytes are needed, 1,000 are free"
    ) as caught:
        save_state(tmp_path, trained_state(2))
    assert caught.value.code == "disk-full"
    assert there(tmp_path) == {"1"}


def test_what_is_written_while_a_failed_save_is_removed_goes_too(tmp_path, monkeypatch):
    """Orbax's writers do not end together: here the first removal comes too early."""
    removals = []

    def write_and_fail(folder, **_):
        (folder.with_name(f"{folder.name}.orbax-checkpoint-tmp") / "variables").mkdir(parents=True)
        raise OSError(errno.ENOSPC, "no space left on device")

    def remove(folder, ignore_errors=False, _remove=shutil.rmtree):
        removals.append(folder)
        if len(removals) > 1:
            _remove(folder, ignore_errors=ignore_errors)

    with open_checkpoints(tmp_path, write=True) as checkpoints:
        monkeypatch.setattr(checkpoints, "_orbax", SimpleNamespace(save=write_and_fail))
        monkeypatch.setattr(shutil, "rmtree", remove)
        with pytest.raises(InputError, match="the disk is full"):
            checkpoints.save(trained_state(2), DESCRIPTION, epoch=1, score=None)
    assert len(removals) > 1
    assert there(tmp_path) == set()


# Orbax closes its event loop while TensorStore still reports to it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_disk_that_fills_up_during_a_save(tmp_path, monkeypatch):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system can be mounted by root only")
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # as programs do
    try:
        save(tmp_path, [0.9])
        monkeypatch.setattr(checkpoint, "require_space", lambda *_: None)
        (tmp_path / "filling").write_bytes(bytes(max(0, shutil.disk_usage(tmp_path).free - 2**14)))
        with pytest.raises(InputError, match=r"2: the disk is full: .* free some space and run the command again"):
            save_state(tmp_path, trained_state(2))
        assert there(tmp_path) == {"1"}
        (tmp_path / "filling").unlink()
        assert_same_bits(read(tmp_path).state(trained_state(1)), trained_state(1))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
