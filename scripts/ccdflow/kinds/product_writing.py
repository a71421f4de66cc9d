"""The writing of products that are texts or pictures, with their records."""

from __future__ import annotations

import csv
import io
from types import NoneType

from ccdflow.files import atomic_write, file_access
from ccdflow.run import job_records
from ccdflow.run.raw_frames.rows import digest

# Types without a value such as NaN, which is not equal to itself.
_NEVER_NAN = frozenset((str, int, bool, NoneType))


def write_text_product(context, job, basis, content):
    """Write a text or picture product and return its record.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    job : ccdflow.run.job.Job
    basis : dict of str to object
        The sources of the product, by their records.
    content : str or bytes

    Returns
    -------
    ccdflow.run.job_records.Record

    Raises
    ------
    OSError
        If the product cannot be written.
    """
    target = context.results / job.product
    atomic_write.write_whole(target, [content.encode() if isinstance(content, str) else content])
    return record_of_text(context, job, basis)


def csv_text(rows, columns):
    """Return the text of a table as pandas would write it, without importing pandas.

    Parameters
    ----------
    rows : list of dict
        Numbers, texts, truth values or None by the names of columns; None and NaN are empty.
    columns : sequence of str

    Returns
    -------
    str
        The first line has the names. In a column of numbers and empty values, whole numbers are
        written as floats if the column has a float or an empty value.
    """
    cells = [_cells_of_column([row.get(name) for row in rows]) for name in columns]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*cells, strict=True))
    return buffer.getvalue()


def _cells_of_column(values):
    """Return the cells of a column; the csv module writes None as an empty cell."""
    if not _NEVER_NAN.issuperset(map(type, values)):
        values = [None if value is None or value != value else value for value in values]
    # The types are compared, not the values: a column of 10,000 values has two or three types.
    types = set(map(type, values))
    are_whole = all(issubclass(each, int) for each in types)
    are_numbers = all(issubclass(each, int | float | NoneType) for each in types - {bool})
    if are_whole or bool in types or not are_numbers:
        return values
    return [None if value is None else float(value) for value in values]


def record_of_text(context, job, basis):
    """Return the record of a text or picture product that was written.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    job : ccdflow.run.job.Job
    basis : dict of str to object
        The sources of the product, by their records.

    Returns
    -------
    ccdflow.run.job_records.Record
    """
    target = context.results / job.product
    return job_records.Record(
        job.product,
        job.kind,
        digest(basis),
        stamp=file_access.stamp_of(target),
        content=job_records.file_checksum(target),
        basis=basis,
    )


def refused_record(job, basis, reason):
    """Return the record of a product that is not made.

    Parameters
    ----------
    job : ccdflow.run.job.Job
    basis : dict of str to object
        The sources of the product, by their records.
    reason : str

    Returns
    -------
    ccdflow.run.job_records.Record
    """
    return job_records.Record(
        job.product, job.kind, digest(basis), job_records.REFUSED, reason, basis=basis
    )
