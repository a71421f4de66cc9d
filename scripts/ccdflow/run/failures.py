"""A job that failed: its record, its log file, and the remedy that fits the cause.

A job may raise any error: of the disk, of memory, or of ccdflow itself. It costs only its own
product. The job leaves a record of status ``failed``; its earlier product stays in place, and the
next run tries again. The products that depend on it are made without it, or keep their earlier
version (`ccdflow.run.products.kept_products`). A raw file whose reading raises an unforeseen error
has a log as well.
"""

from __future__ import annotations

import errno
import traceback
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from ccdflow import paths
from ccdflow.errors import (
    ACTIONS,
    FULL_DISK,
    OCCUPIED_PATH_ERRORS,
    RUN_AGAIN,
    CcdflowError,
    DamagedProduct,
    one_line,
)
from ccdflow.files import atomic_write
from ccdflow.run import job_records
from ccdflow.wording import first_lines

# Remedies for an error of the system in a job, by its number, beside those of `errors.ACTIONS`.
_REMEDIES = {
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "allow more open files (ulimit -n)"),
    errno.ENOMEM: "run again with fewer --cores, or with more memory",
    errno.ENAMETOOLONG: "give the raw file a shorter name",
    **dict.fromkeys(
        (errno.EINVAL, errno.EILSEQ),
        "the file system of the results may not take this name: rename the raw file, or keep the"
        " results on another disk",
    ),
    errno.EFBIG: "the file system allows no file of this size: keep the results on another",
}
# The remedy for an error that no other remedy is known for.
_UNFORESEEN_REMEDY = "run again; if it fails again, report it with its log"


@dataclass(frozen=True)
class JobFailure:
    """The cause of a failed job and its remedy; as a text, the reason that a run shows.

    Attributes
    ----------
    problem : str
    remedy : str
        Without the words on another run.
    needs_run : bool
        Whether the job is tried again after the remedy, by another run or by a watch.
    """

    problem: str
    remedy: str
    needs_run: bool

    @classmethod
    def of(cls, error, place=""):
        """Return the failure of a job that raised an error.

        Parameters
        ----------
        error : BaseException
        place : str, optional
            The file that the error is about, with a colon, if it is not the job's own product; it
            stands before the problem.

        Returns
        -------
        JobFailure
        """
        return cls(f"{place}{error_words(error)}", *_remedy_and_need(error))

    @property
    def data(self):
        """The problem and the remedy as an entry of a record's data; {} without another run.

        A watch and a run put different words after a remedy that needs another run.
        """
        return {job_records.FAILURE: [self.problem, self.remedy]} if self.needs_run else {}

    def line(self, after_remedy=RUN_AGAIN):
        """Return problem and remedy; ``after_remedy`` ends a remedy that needs another run."""
        return f"{self.problem}; {self.remedy}{after_remedy if self.needs_run else ''}"

    def __str__(self):
        return self.line()


class DiskFull(Exception):
    """The disk is full: no other product can be made either.

    Parameters
    ----------
    problem : str
    """

    def __init__(self, problem):
        self._problem = problem
        super().__init__(self.line())

    def line(self, after_remedy=RUN_AGAIN):
        """Return the line on the full disk, which ends with the words after the remedy."""
        return f"{self._problem}: {ACTIONS[errno.ENOSPC]}{after_remedy}"


def is_of_full_disk(error):
    """Return whether an error means that the disk is full, or the quota is used up."""
    return isinstance(error, OSError) and error.errno in FULL_DISK


def is_of_occupied_path(error):
    """Return whether an error means that a file has the path of a folder, or a folder of a file."""
    return error.errno in OCCUPIED_PATH_ERRORS


def is_of_system(error):
    """Return whether an error comes from the system, and not from the data of a frame.

    Errors of the system and of memory count, errors of ccdflow that these have caused, and products
    that were damaged on the disk. Products that depend on the failed one then keep their earlier
    version (`ccdflow.run.products.kept_products`). Any other error may come again in each run, so
    these products are made without the failed one.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    bool
    """
    if isinstance(error, OSError):
        # An error without a number is raised by astropy for bytes that it cannot read.
        return error.errno is not None
    if isinstance(error, CcdflowError) and error.__context__ is not None:
        # Functions that read files raise a `CcdflowError` in the place of an error of the system.
        return isinstance(error, DamagedProduct) or is_of_system(error.__context__)
    return isinstance(error, MemoryError | DamagedProduct)


def remedy_of(error):
    """Return the remedy for an error.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    str
    """
    remedy, needs_run = _remedy_and_need(error)
    return f"{remedy}{RUN_AGAIN if needs_run else ''}"


def _remedy_and_need(error):
    """Return the remedy for an error, and whether another run is needed after it."""
    if isinstance(error, MemoryError):
        return _REMEDIES[errno.ENOMEM], False
    if isinstance(error, CcdflowError):
        return error.remedy or "run again once this is repaired", error.needs_run
    if isinstance(error, OSError):
        if error.errno in ACTIONS:
            return ACTIONS[error.errno], True
        return _REMEDIES.get(error.errno, "run again; if it fails again, check the disk"), False
    return _UNFORESEEN_REMEDY, False


def error_words(error):
    """Return the text of an error in one line, without a remedy.

    An error of the system gives the system's own text and the name of the error's number. Any other
    error that ccdflow does not raise itself gives its class and its text.
    """
    if isinstance(error, CcdflowError):
        return error.problem
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.strerror or error} ({errno.errorcode.get(error.errno, error.errno)})"
    return one_line(error)


def _other_file(error, job):
    """Return the file that an error names and a colon; '' if it is the job's own product."""
    file = str(getattr(error, "file", None) or "")
    is_own = not file or file.endswith(job.product) or file == PurePath(job.product).name
    return "" if is_own else f"{file}: "


def disk_full_error(job):
    """Return the `DiskFull` error for the product of a job."""
    return DiskFull(
        f"{job.product} cannot be written: no space is left; all finished products are whole"
    )


def leave_record(context, job, error):
    """Leave and return the record of a failed job; its log file gets the traceback.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
    job : ccdflow.run.job.Job
    error : BaseException
        Raised while the product was made.

    Returns
    -------
    ccdflow.run.job_records.Record

    Raises
    ------
    DiskFull
        If the disk is full.
    OSError
        If the record cannot be written.
    """
    if is_of_full_disk(error):
        raise disk_full_error(job) from None
    write_log(context.results, job, error)
    failure = JobFailure.of(error, _other_file(error, job))
    data = failure.data | ({job_records.SYSTEM_ERROR: True} if is_of_system(error) else {})
    record = job_records.Record(
        job.product, job.kind, job.key, job_records.FAILED, str(failure), data=data
    )
    try:
        job_records.write_record(context.results, record, job.record_path)
    except OSError as writing_error:
        if is_of_full_disk(writing_error):
            raise disk_full_error(job) from None
        raise
    return record


def data_of_error(error):
    """Return an error's reason and remedy as an entry of a record's data: `JobFailure.data`.

    Parameters
    ----------
    error : ccdflow.errors.CcdflowError

    Returns
    -------
    dict of str to list of str
    """
    return JobFailure(error.reason_without_remedy, error.remedy, error.needs_run).data


def record_with_words_after_remedy(record, after_remedy):
    """Return a record whose reason has other words after a remedy that needs another run.

    Parameters
    ----------
    record : ccdflow.run.job_records.Record
    after_remedy : str
        The words after the remedy.

    Returns
    -------
    ccdflow.run.job_records.Record
        The record itself if its reason has no such remedy.
    """
    problem_and_remedy = record.data.get(job_records.FAILURE)
    if problem_and_remedy is None:
        return record
    failure = JobFailure(*problem_and_remedy, needs_run=True)
    return replace(record, reason=failure.line(after_remedy))


def write_log(results, job, error):
    """Write the traceback of a failed job into its log file.

    A log that cannot be written is ignored: the record of the job has the cause.

    Parameters
    ----------
    results : pathlib.Path
        The results folder.
    job : ccdflow.run.job.Job
    error : BaseException
        With its traceback.
    """
    path = results / paths.log(job.product, job.key)
    text = "".join(traceback.format_exception(error))
    with suppress(OSError, MemoryError):
        atomic_write.write_text(path, f"{job.product}\n\n{text}")


def raw_log_text(file, error):
    """Return the text of the log of a raw file whose reading raised an error.

    Parameters
    ----------
    file : str
        Path relative to the raw folder.
    error : BaseException

    Returns
    -------
    str
    """
    return f"{file}\n\n{''.join(traceback.format_exception(error))}"


def write_raw_log(results, file, text):
    """Write the log of a raw file; ignore a log that cannot be written.

    Parameters
    ----------
    results : path-like
    file : str
        Path relative to the raw folder.
    text : str
        As `raw_log_text` returns it.
    """
    with suppress(OSError):
        atomic_write.write_text(Path(results) / paths.failed_read(file), text)


def lines_on_failures(results, records, *, most_lines=10):
    """Return a line for each failed job: product, cause, remedy, log file.

    Parameters
    ----------
    results : pathlib.Path
    records : iterable of ccdflow.run.job_records.Record
        Only records of status ``failed`` get a line.
    most_lines : int, optional
        The number of jobs that get a line of their own; the others are counted. The default is
        chosen: the last lines of a run fit a terminal.

    Returns
    -------
    list of str
    """
    failed_records = sorted(
        (record for record in records if record.status == job_records.FAILED),
        key=lambda record: record.product,
    )
    lines = [
        f"failed: {record.product}: {record.reason};"
        f" log: {results / paths.log(record.product, record.key)}"
        for record in failed_records
    ]
    return first_lines(lines, most_lines, f"more failed, see {results / paths.LOGS}")
