"""Programs that are told to end: at once where nothing is lost, later where something is."""

import signal
import threading

import pytest

from foanet_jax.jobs import commandline
from foanet_jax.system import interruption
from foanet_jax.system.interruption import Interrupted

NAMES = ["SIGINT", "SIGTERM", "SIGUSR1"]


@pytest.fixture(autouse=True)
def handlers():
    """Handlers are afterwards what they were before."""
    numbers = [signal.Signals[name] for name in NAMES]
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before
    assert not interruption.requested()


def ended(work, program=interruption.ending_in_order) -> Interrupted:
    """What ends a program that is told to while it works."""

    def run():
        with program():
            work()

    with pytest.raises(Interrupted) as caught:
        run()
    assert caught.value.code == 0
    return caught.value


@pytest.mark.parametrize("name", NAMES)
def test_where_nothing_is_lost_it_ends_at_once(name, capsys):
    def work():
        signal.raise_signal(signal.Signals[name])
        raise AssertionError("not reached")

    ended(work, lambda: commandline.ending_in_order("the same command"))
    assert capsys.readouterr().out == f"{name}: stopped; to continue, use the same command\n"


@pytest.mark.parametrize("name", NAMES)
def test_in_a_deferred_block_it_ends_when_the_block_says(name, capfd):
    reached = []

    @interruption.deferred()
    def work():
        reached.append(interruption.requested())
        signal.raise_signal(signal.Signals[name])
        reached.append(interruption.requested())
        interruption.interrupt("saved after step 7")

    assert ended(work).message == f"{name}: saved after step 7"
    assert reached == [False, True]
    assert "saving a checkpoint" in capfd.readouterr().err


def test_at_the_end_of_a_deferred_block_it_ends_at_the_latest():
    def work():
        with interruption.deferred():
            signal.raise_signal(signal.SIGTERM)
        raise AssertionError("not reached")

    assert ended(work).message == "SIGTERM: stopped"


@pytest.mark.parametrize("first", ["SIGINT", "SIGTERM"])
def test_a_second_signal_is_left_to_the_system(first):
    @interruption.deferred()
    def work():
        signal.raise_signal(signal.Signals[first])
        assert signal.getsignal(signal.SIGINT) == signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    ended(work)


def test_asking_any_number_of_times_is_asking_once():
    @interruption.deferred()
    def work():
        for _ in range(3):
            signal.raise_signal(interruption.ASKING)
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(interruption.ASKING)

    ended(work)


def test_an_error_is_an_error():
    @interruption.ending_in_order()
    @interruption.deferred()
    def work():
        signal.raise_signal(signal.SIGTERM)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        work()


def test_other_threads_change_no_handlers():
    found = []

    def work():
        before = signal.getsignal(signal.SIGTERM)
        with interruption.ending_in_order():
            found.append(signal.getsignal(signal.SIGTERM) == before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True]
