"""The filters of Snakemake's messages: some are shown, some hidden, a crash becomes one line."""

from __future__ import annotations

import logging
import os.path
from pathlib import Path

from ccdflow import paths
from ccdflow.run import failures, lock
from ccdflow.run.under_snakemake import snakemake_messages


class TerminalMessages:
    """The messages of Snakemake in a run.

    Parameters
    ----------
    steward : ccdflow.run.under_snakemake.steward.Steward
        The steward of the run; it writes the lines.

    Attributes
    ----------
    signals : set of str
        Names of the signals that ended processes of batches.
    is_crashed : bool
        Whether Snakemake itself has crashed.
    """

    def __init__(self, steward):
        self._steward = steward
        self.signals = set()
        self.is_crashed = False

    # -- filters of Snakemake's handlers -----------------------------------------------------------

    def filter_before_run(self, handlers):
        """Let Snakemake's handlers write one line of ccdflow for a message on an unknown target.

        Parameters
        ----------
        handlers : list of logging.Handler
        """
        _add_filter(handlers, self.pass_unless_unknown_target)

    def filter_run(self, handlers):
        """Let Snakemake's handlers show only messages that the lines of ccdflow do not contain.

        A second call for the same handlers does nothing.

        Parameters
        ----------
        handlers : list of logging.Handler
        """
        _add_filter(handlers, self.pass_unless_crash)
        if self._steward.targets and self._steward.settings["progress"] != "none":
            _add_filter(handlers, self.note_and_filter)

    def pass_unless_unknown_target(self, message):
        """Return True for a message that is shown; report an unknown target in one line."""
        return not self.report_unknown_target(message.getMessage())

    def pass_unless_crash(self, message):
        """Return True for a message that is shown; report a crash of Snakemake in one line."""
        return not self.report_crash(message.getMessage())

    def note_and_filter(self, message):
        """Note a message on a failed batch; return whether the message is shown."""
        text, event = message.getMessage(), getattr(message, "event", "")
        self.note_failed_batch(text)
        return self.prepare_to_show(
            text,
            is_warning=message.levelno >= logging.WARNING,
            event=getattr(event, "value", event),
            rule_name=getattr(message, "rule_name", ""),
        )

    # -- messages ----------------------------------------------------------------------------------

    def note_failed_batch(self, text):
        """Note the signals in a message on a failed batch; end the run if the disk is full."""
        self.signals |= snakemake_messages.signals_in(text)
        if snakemake_messages.reports_full_disk(text):
            self._steward.end_early(failures.DiskFull("no space is left"))

    def report_crash(self, text):
        """Write a line on a crash of Snakemake itself.

        A crash because the results folder was moved gets no line here: the end of the run has one.

        Parameters
        ----------
        text : str
            A message.

        Returns
        -------
        bool
            Whether the message is on a crash, and so is not shown.
        """
        # Snakemake ends only if it waited in vain for records; otherwise one job has ended.
        if snakemake_messages.is_of_missing_records(text) and self._is_moved():
            self.is_crashed |= snakemake_messages.is_of_late_records(text)
            return True
        crash = snakemake_messages.crash_in(text)
        if crash is None:
            return False
        cause, error = crash
        self._steward.say(
            f"the run ended early ({cause}); all finished products are whole;"
            f" {failures.remedy_of(error)}"
        )
        self.is_crashed = True
        return True

    def report_unknown_target(self, text):
        """Write a line on a target that Snakemake does not know, before the run begins.

        Parameters
        ----------
        text : str
            A message.

        Returns
        -------
        bool
            Whether the message is on such a target, and so is not shown.
        """
        target = snakemake_messages.unknown_target_in(text)
        if target is None or self._steward.session is not None:
            return False
        self._steward.say(self._line_on_target(target))
        return True

    def _line_on_target(self, target):
        """Return the line on a target that Snakemake does not know; the target '' is a rule."""
        results = self._steward.results
        if not target:
            return (
                "a rule of single products is no target; to make all its products again put -R"
                " before it, or name products with their folder, as -n lists them"
            )
        raw = self._steward.settings["raw"]
        product = ""
        if target.startswith(tuple(f"{folder}/" for folder in paths.PRODUCT_FOLDERS)):
            product = target
        elif Path(os.path.abspath(target)).is_relative_to(os.path.abspath(raw)):  # noqa: PTH100
            product = paths.reduced_frame(os.path.relpath(target, raw))
        remedy = f"write {results}/{product}" if product else "-n lists the products"
        return (
            f"{target}: is neither a rule nor a product; allowed: a product with its folder"
            f" {results}; {remedy}"
        )

    def _is_moved(self):
        """Return whether the results folder is no longer where the run took its lock."""
        session = self._steward.session
        lock_file = session.lock if session else None
        return lock_file is not None and not lock.is_in_place(lock_file, self._steward.results)

    def prepare_to_show(self, text, **message):
        """Clear the progress line for a message of Snakemake; return whether the message is shown.

        Parameters
        ----------
        text : str
            The message.
        **message : object
            Further arguments of `snakemake_messages.is_shown`.

        Returns
        -------
        bool
            Whether the message is shown in this run.
        """
        host, progress = self._steward.host, self._steward.progress
        if self._steward.full_disk:
            return False
        is_dry = host is not None and host.is_dry
        is_local = host is None or host.is_local
        is_shown = snakemake_messages.is_shown(text, is_dry=is_dry, is_local=is_local, **message)
        if is_shown and progress is not None and not is_dry:
            progress.clear()
        return is_shown


def _add_filter(handlers, message_filter):
    """Add a filter to all handlers but that of Snakemake's log file, which gets every message."""
    for handler in handlers:
        # The handler of the log file is a `FileHandler` itself; others may be of a derived class.
        if type(handler) is not logging.FileHandler:
            handler.addFilter(message_filter)
