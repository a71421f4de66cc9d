"""A call is held by one question to the system, or it works: only the first is a folder's fault."""

import os
import threading
import time

import pytest
from watched_folders import wait_until

from ccdflow.run.watch import timed_calls
from ccdflow.run.watch.timed_calls import NoAnswer, Patience

LIMIT = 0.1
LONG = 5 * LIMIT


def compute():
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        sum(range(100))
    return "done"


def ask_shortly():
    """Many questions, each with an answer, hardly any work between them."""
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        time.sleep(LIMIT / 50)
    return "done"


def let_helper(work):
    helper = threading.Thread(target=work)
    helper.start()
    helper.join()
    return "done"


@pytest.mark.parametrize("work", [compute, ask_shortly])
@pytest.mark.parametrize("is_helped", [False, True])
def test_a_round_that_works_is_waited_for_without_a_word(work, is_helped):
    began = time.monotonic()
    patience = Patience(LIMIT)
    answer = patience.ask(
        "round",
        (lambda: let_helper(work)) if is_helped else work,
        wait=LIMIT / 5,
        moved=lambda: began,
    )
    assert answer == "done"
    assert time.monotonic() - began >= LONG


@pytest.mark.parametrize("is_helped", [False, True])
def test_a_round_that_one_question_holds_is_named_soon(is_helped):
    gate, began = threading.Event(), time.monotonic()
    patience = Patience(LIMIT)
    beside = threading.Thread(target=compute)
    # The watch has threads of its own, which go on.
    beside.start()
    try:
        with pytest.raises(NoAnswer):
            patience.ask(
                "round",
                (lambda: let_helper(lambda: gate.wait(20))) if is_helped else lambda: gate.wait(20),
                wait=LIMIT / 5,
                moved=lambda: began,
            )
        assert LIMIT < time.monotonic() - began < 10 * LIMIT
    finally:
        gate.set()
        beside.join()


@pytest.mark.parametrize(
    ("work", "is_held"), [(compute, False), (ask_shortly, False), (None, True)]
)
def test_a_look_that_is_late_is_held_or_works(work, is_held):
    gate, patience = threading.Event(), Patience(LIMIT)
    try:
        with pytest.raises(NoAnswer):
            patience.ask("look", work or (lambda: gate.wait(20)))
        seen = [patience.is_held("look")]
        end = time.monotonic() + 3 * LIMIT
        while time.monotonic() < end:
            time.sleep(LIMIT / 10)
            seen.append(patience.is_held("look"))
        assert patience.is_late("look")
        assert any(seen) == is_held
    finally:
        gate.set()


def test_where_the_system_counts_nothing_all_the_time_counts(monkeypatch):
    monkeypatch.setattr(timed_calls, "_STATUS", os.devnull + "/{}")
    patience = Patience(LIMIT)
    with pytest.raises(NoAnswer):
        patience.ask("look", compute)
    wait_until(lambda: patience.is_held("look"), seconds=LONG)


def test_a_waiter_that_is_kept_from_the_processor_blames_no_folder():
    """A machine that was stopped for a while: nothing had the processor, this thread neither."""
    gate, patience = threading.Event(), Patience(LIMIT)
    try:
        with pytest.raises(NoAnswer):
            patience.ask("look", lambda: gate.wait(20), wait=LIMIT / 5)
        patience.is_held("look")
        time.sleep(LONG)
        assert not patience.is_held("look")
    finally:
        gate.set()
