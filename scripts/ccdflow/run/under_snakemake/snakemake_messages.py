"""The meaning of those messages of Snakemake to which a run responds."""

from __future__ import annotations

import re

from ccdflow.run.batches import batch_work

# Words in Snakemake's messages that are not on a job.
_TRACEBACK = "Traceback (most recent call last)"
_NO_FOLDER = "Failed to create output directory"
_MISSING_BEFORE = "OSError: Missing files after"
_MISSING_RECORD_LINES = (
    "MissingOutputException", "Exiting because a job execution failed",
    "WorkflowError:\nAt least one job did not complete",
)  # fmt: skip
# Matches the message on a target that no rule makes, with its name.
_UNKNOWN_TARGET = re.compile(r"No rule to produce (.+) \(if you use input functions")
# The message on a target that is the name of a rule which makes many products.
_RULE_OF_ONE_PRODUCT = "Target rules may not contain wildcards"


def signals_in(text):
    """Return the names of signals, a set, by which processes of batches have ended."""
    return set(re.findall(r"died with <Signals\.(\w+)", text))


def reports_full_disk(text):
    """Return whether a message says that a batch has ended because the disk is full."""
    return f"exit status {batch_work.DISK_FULL_STATUS}" in text


def is_of_late_records(text):
    """Return whether a message says that Snakemake ends, because records have not appeared."""
    return _MISSING_BEFORE in text


def is_of_missing_records(text):
    """Return whether a message is a consequence of missing records."""
    return is_of_late_records(text) or text.startswith(_MISSING_RECORD_LINES)


def crash_in(text):
    """Return (cause, error) of a crash of Snakemake itself; None for any other message.

    Snakemake prepares each job: it removes old records and makes folders. An error there ends the
    run with a traceback, which its log file keeps.
    """
    if not text.startswith(_TRACEBACK) and _NO_FOLDER not in text:
        return None
    cause = text.strip().splitlines()[-1]
    number = re.search(r"\[Errno (\d+)\]", cause)
    return cause, OSError(int(number[1]), "") if number else RuntimeError()


def unknown_target_in(text):
    """Return the target that Snakemake does not know; None for any other message.

    The target is '' if it is the name of a rule which makes many products.
    """
    if _RULE_OF_ONE_PRODUCT in text:
        return ""
    match = _UNKNOWN_TARGET.search(text)
    return match and match[1]


def is_shown(text, *, is_warning, event, rule_name, is_dry, is_local):
    """Return whether a message of Snakemake goes to the terminal.

    In a dry run the messages on jobs are hidden. In other runs warnings and errors are shown. Two
    of them are hidden: the command line of a batch's process, which has already reported its error,
    and the warning that a product does not exist yet.

    Parameters
    ----------
    text : str
        The message.
    is_warning : bool
        Whether it is a warning or an error.
    event : str
        Snakemake's name of the event, '' for none.
    rule_name : str
        The rule that the message is about, '' for none.
    is_dry : bool
        Whether the run is a dry run.
    is_local : bool
        Whether jobs run on this machine.

    Returns
    -------
    bool
    """
    if "not present when the DAG was created" in text:
        return False
    if is_dry:
        # The lines of the plan already name the jobs. Users of Snakemake look for the job counts.
        is_repeated = event in ("job_info", "shellcmd") or text.startswith("Reasons:")
        return not is_repeated
    is_batch = rule_name == "night" if event == "job_error" else "CalledProcessError" in text
    return is_warning and not (is_batch and is_local)
