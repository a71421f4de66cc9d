"""Snakemake's messages, as far as a run has to understand them."""

from __future__ import annotations

import re

from ccdflow.run.batches import batch_work

# Words of Snakemake's own messages, beside those on jobs.
_TRACEBACK = "Traceback (most recent call last)"
_NO_FOLDER = "Failed to create output directory"
_MISSING_BEFORE = "OSError: Missing files after"
_MISSING_RECORD_LINES = (
    "MissingOutputException", "Exiting because a job execution failed",
    "WorkflowError:\nAt least one job did not complete",
)  # fmt: skip
# Matches the message on a target that no rule makes, with its name.
_UNKNOWN_TARGET = re.compile(r"No rule to produce (.+) \(if you use input functions")
# The message on a rule asked for by its name, where the rule makes one of many products.
_RULE_OF_ONE_PRODUCT = "Target rules may not contain wildcards"


def signals_in(text):
    """Return the names of the signals that ended processes of batches."""
    return set(re.findall(r"died with <Signals\.(\w+)", text))


def reports_full_disk(text):
    """Return whether a batch ended because its disk is full."""
    return f"exit status {batch_work.DISK_FULL_STATUS}" in text


def is_of_late_records(text):
    """Return whether Snakemake waited for records in vain, and ends for it."""
    return _MISSING_BEFORE in text


def is_of_missing_records(text):
    """Return whether a message follows from records that are not there."""
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
    """Return the target that Snakemake does not know; '' for a rule that makes one product a job.

    None for any other message.
    """
    if _RULE_OF_ONE_PRODUCT in text:
        return ""
    match = _UNKNOWN_TARGET.search(text)
    return match and match[1]


def is_shown(text, *, is_warning, event, rule_name, is_dry, is_local):
    """Return whether a message of Snakemake goes to the terminal: warnings and errors do.

    Two messages are hidden: the command line of a batch's process (it already reported its error),
    and the warning that a requested product did not exist yet.

    Parameters
    ----------
    text : str
        The message.
    is_warning : bool
        Whether it is a warning or an error.
    event : str
        Snakemake's name of the event, '' for none.
    rule_name : str
        The rule that it is about, '' for none.
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
        # The plan's lines say the same, by products; a Snakemake user looks for the job counts.
        is_repeated = event in ("job_info", "shellcmd") or text.startswith("Reasons:")
        return not is_repeated
    is_batch = rule_name == "night" if event == "job_error" else "CalledProcessError" in text
    return is_warning and not (is_batch and is_local)
