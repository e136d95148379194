"""Progress in a file: a few plain lines, whatever is done and however long it takes."""

import io
import sys

import pytest
from tqdm import tqdm

from foanet_jax.system import progress
from foanet_jax.system.progress import LINE, Lines, duration, over


@pytest.fixture
def clock(monkeypatch):
    """The time, which the test moves on."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


def test_a_line_every_ten_seconds_and_one_at_the_end(clock, capsys):
    with progress.progress(total=64, desc="predicting", unit="study") as bar:
        for number in range(64):
            clock.now += 4
            bar.set_postfix_str(f"slice {number}")
            bar.update()
    lines = capsys.readouterr().err.split("\n")
    # Every third study, 12 s apart, and the last one.
    assert len(lines) == 1 + 64 // 3 + 1
    assert lines[0] == "predicting: 2 of 64 studies (3 %), 12 s, about 6 min 12 s left, slice 2"
    assert lines[-2] == "predicting: 64 of 64 studies (100 %), 4 min 16 s"
    assert lines[-1] == ""
    assert len("\n".join(lines)) < 3000
    assert all(LINE.search(line) for line in lines[:-1])
    assert "\r" not in "".join(lines)


def test_what_is_quick_is_one_line(clock, capsys):
    assert list(over([1, 2, 3], desc="reading", unit="image")) == [1, 2, 3]
    assert capsys.readouterr().err == "reading: 3 of 3 images (100 %), 0 s\n"


def test_nothing_done_says_nothing(clock, capsys):
    assert list(over([], desc="reading", unit="image")) == []
    with progress.progress(total=3, desc="reading", unit="image", initial=2):
        pass
    assert capsys.readouterr().err == ""


def test_other_processes_say_nothing(clock, capsys):
    with progress.progress(total=3, desc="training", unit="step", disable=True) as bar:
        clock.now += 60
        bar.update(3)
    assert capsys.readouterr().err == ""
    assert bar.n == 3


def test_a_training_goes_on_where_it_was(clock, capsys):
    with progress.progress(total=100, desc="segmentation", unit="step", initial=40) as bar:
        clock.now += 20
        bar.set_description("segmentation, validation Dice 0.900", refresh=False)
        bar.set_postfix(loss="0.125", refresh=False)
        bar.update(10)
    told = capsys.readouterr().err
    # Ten steps took 20 s, fifty are left.
    assert told == (
        "segmentation, validation Dice 0.900: 50 of 100 steps (50 %), 20 s, about 1 min 40 s left, loss 0.125\n"
    )


def test_messages_go_to_standard_output(clock, capsys):
    with progress.progress(total=1, desc="training", unit="step") as bar:
        bar.write("step 3 skipped")
    assert capsys.readouterr().out == "step 3 skipped\n"


def test_a_reader_that_is_gone_ends_nothing(clock, monkeypatch):
    class Closed(io.StringIO):
        def write(self, _):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Closed())
    assert list(over([1], desc="reading", unit="image")) == [1]


def test_a_terminal_has_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.progress(total=2, desc="predicting", unit="study") as bar, progress.messages_above():
        assert isinstance(bar, tqdm)
        bar.update(2)
    assert "\r" in terminal.getvalue()
    assert LINE.search(terminal.getvalue())


def test_the_lines_have_what_the_jobs_use_of_a_bar():
    for name in ("n", "total", "update", "set_postfix", "set_postfix_str", "set_description", "write"):
        assert hasattr(Lines(total=1, desc="", unit="step"), name)
        assert name == "n" or hasattr(tqdm, name) or name == "total"


def test_an_error_message_is_no_progress():
    assert not LINE.search("error: no-studies: 3 of 4 studies cannot be used")
    assert not LINE.search("3 of 64 studies segmented")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_times_are_for_people(seconds, text):
    assert duration(seconds) == text
