"""The filters of Snakemake's handlers: its log file gets every message, the terminal some."""

import logging
from types import SimpleNamespace

import pytest

from ccdflow.run.under_snakemake.terminal_messages import TerminalMessages

UNKNOWN_TARGET_MESSAGE = "No rule to produce nowhere.fits (if you use input functions)"
CRASH_MESSAGE = "Traceback (most recent call last)\nPermissionError: [Errno 13] denied"


class FakeSteward(SimpleNamespace):
    """A steward that keeps the lines that it is to say."""

    def __init__(self, targets=()):
        super().__init__(
            session=None, results="results", settings={"raw": "raw", "progress": "auto"},
            targets=targets, host=None, progress=None, full_disk="", lines=[],
        )  # fmt: skip

    def say(self, line):
        self.lines.append(line)


@pytest.fixture
def handlers(tmp_path):
    """A handler of the terminal, and that of Snakemake's log file."""
    file = logging.FileHandler(tmp_path / "snakemake.log")
    yield [logging.StreamHandler(), file]
    file.close()


def passes(handler, text, level=logging.ERROR):
    """Return whether a handler shows a message."""
    return bool(handler.filter(logging.LogRecord("snakemake", level, "", 0, text, None, None)))


def test_an_unknown_target_is_one_line_and_the_log_file_has_the_message(handlers):
    steward, (terminal, file) = FakeSteward(), handlers
    TerminalMessages(steward).filter_before_run(handlers)
    assert passes(file, UNKNOWN_TARGET_MESSAGE)
    assert steward.lines == []
    assert not passes(terminal, UNKNOWN_TARGET_MESSAGE)
    assert [line.partition(":")[0] for line in steward.lines] == ["nowhere.fits"]
    assert passes(terminal, "another error")


def test_a_crash_is_one_line_although_the_run_is_begun_for_each_target(handlers):
    steward, (terminal, file) = FakeSteward(["record"]), handlers
    messages = TerminalMessages(steward)
    for _ in range(3):
        messages.filter_run(handlers)
    assert (len(terminal.filters), file.filters) == (2, [])
    assert not passes(terminal, CRASH_MESSAGE)
    assert passes(file, CRASH_MESSAGE)
    assert len(steward.lines) == 1
    assert messages.is_crashed


@pytest.mark.parametrize(("targets", "progress", "is_shown"), [
    (["record"], "auto", False), (["record"], "none", True), ([], "auto", True),
])  # fmt: skip
def test_plain_messages_are_hidden_where_the_run_has_lines_of_its_own(
    handlers, targets, progress, is_shown
):
    steward, (terminal, file) = FakeSteward(targets), handlers
    steward.settings["progress"] = progress
    TerminalMessages(steward).filter_run(handlers)
    assert passes(terminal, "Select jobs to execute...", logging.INFO) == is_shown
    assert passes(file, "Select jobs to execute...", logging.INFO)
    assert passes(terminal, "a warning", logging.WARNING)
