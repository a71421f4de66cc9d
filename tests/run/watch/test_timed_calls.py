"""A call is held by one question to the system, or it works: only the first is a folder's fault."""

import os
import threading
import time

import pytest
from watched_folders import wait_until

from ccdflow.run.watch import timed_calls
from ccdflow.run.watch.timed_calls import NoAnswer, Patience

LIMIT_SECONDS = 0.1
LONG_SECONDS = 5 * LIMIT_SECONDS
# Seconds after which a test that waits in vain fails.
MOST_SECONDS = 60


def compute(is_over):
    while not is_over():
        sum(range(100))
    return "done"


def ask_shortly(is_over):
    """Many questions, each with an answer, hardly any work between them."""
    while not is_over():
        time.sleep(LIMIT_SECONDS / 50)
    return "done"


def be_held(is_over):
    """One question, and no answer."""
    is_over.wait(MOST_SECONDS)
    return "done"


def let_helper(work):
    helper = threading.Thread(target=work)
    helper.start()
    helper.join()
    return "done"


@pytest.fixture
def gate():
    """The event that ends the work of a test; calling it tells whether it has come."""

    class Gate(threading.Event):
        __call__ = threading.Event.is_set

    event = Gate()
    yield event
    event.set()


@pytest.mark.parametrize("work", [compute, ask_shortly])
@pytest.mark.parametrize("is_helped", [False, True])
def test_a_round_that_works_is_waited_for_without_a_word(work, is_helped):
    began = time.monotonic()
    patience = Patience(LIMIT_SECONDS)

    def work_for_long():
        return work(lambda: time.monotonic() - began >= LONG_SECONDS)

    answer = patience.ask(
        "round of frames",
        (lambda: let_helper(work_for_long)) if is_helped else work_for_long,
        wait_seconds=LIMIT_SECONDS / 5,
        last_sign=lambda: began,
    )
    assert answer == "done"
    assert time.monotonic() - began >= LONG_SECONDS


@pytest.mark.parametrize("is_helped", [False, True])
def test_a_round_that_one_question_holds_is_named_while_other_threads_go_on(is_helped, gate):
    began = time.monotonic()
    patience = Patience(LIMIT_SECONDS)
    # The watch has threads of its own.
    beside = threading.Thread(target=compute, args=(gate,))
    beside.start()
    with pytest.raises(NoAnswer, match=r"^round of frames$"):
        patience.ask(
            "round of frames",
            (lambda: let_helper(lambda: be_held(gate))) if is_helped else lambda: be_held(gate),
            wait_seconds=LIMIT_SECONDS / 5,
            last_sign=lambda: began,
        )
    assert time.monotonic() - began > LIMIT_SECONDS
    gate.set()
    beside.join()


@pytest.mark.parametrize("work", [compute, ask_shortly])
def test_a_look_that_is_late_but_works_is_not_held(work, gate):
    patience = Patience(LIMIT_SECONDS)
    with pytest.raises(NoAnswer, match=r"^look at raw$"):
        patience.ask("look at raw", lambda: work(gate))
    for _ in range(30):
        assert not patience.is_stuck("look at raw")
        time.sleep(LIMIT_SECONDS / 10)
    assert patience.is_late("look at raw")


def test_a_look_that_one_question_holds_is_held(gate):
    patience = Patience(LIMIT_SECONDS)
    with pytest.raises(NoAnswer, match=r"^look at raw$"):
        patience.ask("look at raw", lambda: be_held(gate))
    wait_until(lambda: patience.is_stuck("look at raw"), seconds=MOST_SECONDS)
    assert patience.is_late("look at raw")


def test_where_the_system_counts_nothing_all_the_time_counts(monkeypatch, gate):
    monkeypatch.setattr(timed_calls, "_STATUS_FILE", os.devnull + "/{}")
    patience = Patience(LIMIT_SECONDS)
    with pytest.raises(NoAnswer, match=r"^look at raw$"):
        patience.ask("look at raw", lambda: compute(gate))
    wait_until(lambda: patience.is_stuck("look at raw"), seconds=MOST_SECONDS)


def test_a_waiter_that_is_kept_from_the_processor_blames_no_folder(gate):
    """A machine that was stopped for a while: nothing had the processor, this thread neither."""
    patience = Patience(LIMIT_SECONDS)
    with pytest.raises(NoAnswer, match=r"^look at raw$"):
        patience.ask("look at raw", lambda: be_held(gate), wait_seconds=LIMIT_SECONDS / 5)
    patience.is_stuck("look at raw")
    time.sleep(LONG_SECONDS)
    assert not patience.is_stuck("look at raw")
