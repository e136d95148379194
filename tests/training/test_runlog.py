"""The training log: records as written, null for what is not finite, and what a broken-off run leaves."""

import json
import math
import os

import pytest

from foanet_jax.system.errors import InputError
from foanet_jax.training import runlog
from foanet_jax.training.runlog import NAME, SECONDS, RunLog, read_log, skipped_in_a_row, training_seconds, truncate_log


def record(step: int, epoch: int, **numbers):
    return {"kind": "train", "step": step, "epoch": epoch, **numbers}


def write(folder, *records, tensorboard=False):
    with RunLog(folder, tensorboard=tensorboard) as log:
        for entry in records:
            log.write(entry)


def test_records_come_back_in_order(tmp_path):
    records = [
        record(1, 0, loss=2.5),
        record(2, 0, loss=1.25),
        {"kind": "validation", "step": 2, "epoch": 0, "dice": 0.5},
    ]
    write(tmp_path / "new" / "folder", *records)
    assert read_log(tmp_path / "new" / "folder") == records
    write(tmp_path / "new" / "folder", record(3, 1, loss=1.0))
    assert read_log(tmp_path / "new" / "folder") == [*records, record(3, 1, loss=1.0)]


def test_flush_shows_records_while_the_log_is_open(tmp_path):
    with RunLog(tmp_path, tensorboard=False) as log:
        log.write(record(1, 0, loss=1.0))
        log.flush()
        assert read_log(tmp_path) == [record(1, 0, loss=1.0)]


def test_numbers_that_are_not_finite_become_null(tmp_path):
    write(tmp_path, record(1, 0, loss=math.nan, cce=math.inf, ssim=-math.inf, dice=0.5))
    assert read_log(tmp_path) == [record(1, 0, loss=None, cce=None, ssim=None, dice=0.5)]

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    json.loads((tmp_path / NAME).read_text(), parse_constant=refuse)


def test_missing_log_is_empty(tmp_path):
    assert read_log(tmp_path) == []
    truncate_log(tmp_path, 1)
    assert not (tmp_path / NAME).exists()


def test_last_line_cut_short_is_left_out(tmp_path):
    write(tmp_path, record(1, 0, loss=2.0), record(2, 0, loss=1.0))
    text = (tmp_path / NAME).read_text()
    (tmp_path / NAME).write_text(text[:-9])
    assert read_log(tmp_path) == [record(1, 0, loss=2.0)]
    truncate_log(tmp_path, 5)
    write(tmp_path, record(2, 0, loss=1.5))
    assert read_log(tmp_path) == [record(1, 0, loss=2.0), record(2, 0, loss=1.5)]


def test_truncate_drops_the_steps_that_will_be_written_again(tmp_path):
    write(tmp_path, *(record(step, step // 2, loss=float(step)) for step in range(8)))
    validation = {"kind": "validation", "step": 3, "epoch": 1, "dice": 0.5}
    write(tmp_path, validation)
    truncate_log(tmp_path, 3)
    assert [entry["step"] for entry in read_log(tmp_path)] == [0, 1, 2, 3, 3]
    truncate_log(tmp_path, 2)
    assert [entry["step"] for entry in read_log(tmp_path)] == [0, 1, 2]
    truncate_log(tmp_path, -1)
    assert read_log(tmp_path) == []


def test_tensorboard_by_choice(tmp_path):
    write(tmp_path / "without", record(1, 0, loss=1.0))
    assert not (tmp_path / "without" / "tensorboard").exists()
    write(tmp_path / "with", record(1, 0, loss=1.0, cce=math.nan), tensorboard=True)
    assert [path.stat().st_size > 0 for path in (tmp_path / "with" / "tensorboard").iterdir()] == [True]


def test_seconds_of_all_parts_are_added(tmp_path):
    with RunLog(tmp_path, tensorboard=False) as log:
        for step in (2, 4, 6):
            log.write_seconds(step, step // 4, 1.5)
    assert training_seconds(tmp_path) == 4.5
    truncate_log(tmp_path, 4)
    assert training_seconds(tmp_path) == 3.0


def skipped(step: int):
    return {"kind": "skipped", "step": step, "epoch": 0, "examples": [["p1_c", 0, 3]]}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [((), 0), ((1, 2), 0), ((2, 4), 1), ((3, 4), 2), ((1, 3, 4), 2), ((1, 2, 3, 4), 4)],
)
def test_steps_that_were_skipped_in_a_row(steps, expected):
    records = [entry for step in (1, 2, 3, 4) for entry in (record(step, 0), skipped(step))[: 1 + (step in steps)]]
    records.append({"kind": "validation", "step": 4, "epoch": 0, "dice": 0.5})
    assert skipped_in_a_row(records) == expected


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("name", [NAME, SECONDS])
def test_a_full_disk_is_told(tmp_path, monkeypatch, name):
    def open_full(path, mode):
        return open("/dev/full" if path.name == name else path, mode, encoding="utf-8")

    monkeypatch.setattr(runlog, "open_unlinked", open_full)

    def fill():
        with RunLog(tmp_path, tensorboard=False) as log:
            log.write(record(1, 0, loss=2.0))
            log.write_seconds(1, 0, 1.0)
            log.flush()

    with pytest.raises(InputError, match=r"the disk is full: .* are free; free some space") as caught:
        fill()
    assert caught.value.code == "disk-full"
