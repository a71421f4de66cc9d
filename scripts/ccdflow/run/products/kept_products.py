"""Products that keep their earlier version, because one that they are made of could not be made.

After an error of the system (`ccdflow.run.failures.is_of_system`) is repaired, the next run makes
the product that failed. Until then a product that depends on it would lose a source if it were made
again, so its earlier version stays. Its job leaves a record of status ``waiting``. The ledger keeps
the record of the earlier version, whose key shows the next run that the product is to be made.

A product without an earlier version is made without the missing source. Its record names this
source, so that products made of it wait as well.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ccdflow.files import file_access
from ccdflow.run import job_records
from ccdflow.run.job import DAMAGED
from ccdflow.run.lookups import Lookup
from ccdflow.wording import count

KEPT = "its earlier version is kept"
"""The first words of the reason in a record: its product exists, but was not made in this run."""


def has_earlier_version(context, job, record):
    """Return whether the file of a product's earlier version exists undamaged.

    Its size and times are compared with its record, and if they differ its checksum.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    job : ccdflow.run.job.Job
        The job that was to make the product again.
    record : ccdflow.run.job_records.Record or None
        The record of its earlier version.

    Returns
    -------
    bool
    """
    if record is None or record.status != job_records.MADE or job.reason == DAMAGED:
        return False
    stamp = file_access.stamp_of(context.results / record.product)
    if stamp == record.stamp or not stamp:
        return bool(stamp)
    # The files of an archive that was copied have other times.
    return context.lookup(
        (Lookup.MATCHING_FILES, record.product, record.content, stamp),
        lambda: job_records.is_as_made(context.results, record),
    )


def missing_source(context, job):
    """Return the missing product for which a job waits; '' for none.

    It is a source of the product, or a source of one of its sources.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    job : ccdflow.run.job.Job
        All jobs that it needs have ended.

    Returns
    -------
    str
        Path relative to the results folder.
    """
    spare = set(job.spare)
    for need in job.needs:
        if need not in spare and (source := _missing_for_need(context, need)):
            return source
    # A spare product matters only if a first choice was not made.
    if spare and any(need not in spare and context.made_record(need) is None for need in job.needs):
        return next(filter(None, (_missing_for_need(context, need) for need in job.spare)), "")
    return ""


def _missing_for_need(context, need):
    """Return a product that a job needs if it is missing, or the missing source of it, or ''."""
    sources = context.lookup((Lookup.MISSING_SOURCES,), dict)
    source = sources.get(need)
    if source is None:
        job = context.jobs.get(need) or context.jobs_elsewhere.get(need)
        source = sources[need] = "" if job is None else _missing_source_of_job(context, job)
    return source


def _missing_source_of_job(context, job):
    """Return the missing product by the record of a job: its own, one of its sources, or ''."""
    record = job_records.readable_record(context.results / job.record_path)
    if record is None or record.status == job_records.GONE:
        return job.product
    if record.status == job_records.FAILED:
        return job.product if record.data.get(job_records.SYSTEM_ERROR) else ""
    return record.data.get(job_records.MISSING_SOURCE, "")


def waiting_record(job, source):
    """Return the record of a job that waits for a source: the earlier version of its product stays.

    Parameters
    ----------
    job : ccdflow.run.job.Job
    source : str
        The missing product, as `missing_source` returns it.

    Returns
    -------
    ccdflow.run.job_records.Record
    """
    return job_records.Record(
        job.product, job.kind, job.key, job_records.WAITING,
        f"{source} could not be made", data={job_records.MISSING_SOURCE: source},
    )  # fmt: skip


def record_with_missing_source(record, source):
    """Return the record of a product that was made, or refused, without one of its sources.

    Parameters
    ----------
    record : ccdflow.run.job_records.Record
    source : str
        The missing product; '' for none.

    Returns
    -------
    ccdflow.run.job_records.Record
        The record itself if no product is missing.
    """
    if not source:
        return record
    return replace(record, data={**record.data, job_records.MISSING_SOURCE: source})


def record_of_earlier_version(context, job, record):
    """Return the record of a product's earlier version, if other products may be made from it.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    job : ccdflow.run.job.Job
    record : ccdflow.run.job_records.Record
        The record that the job has left.

    Returns
    -------
    ccdflow.run.job_records.Record or None
        The ``reason`` is why the product was not made anew. None if there is no earlier version,
        or the plan does not let it stand (`Job.may_stand`).
    """
    earlier = context.earlier_record(job.product)
    if not (job.may_stand and has_earlier_version(context, job, earlier)):
        return None
    return replace(earlier, reason=f"{KEPT}: {record.reason}")


def lines_on_kept(chain, waiting_records, provisional_records):
    """Return the lines on products that wait for a source, and on products made without one.

    Parameters
    ----------
    chain : ccdflow.run.late_chain.KindChain
    waiting_records : list of ccdflow.run.job_records.Record
        Records of jobs that wait: an earlier version of each product is there.
    provisional_records : list of ccdflow.run.job_records.Record
        Records of products that were made although a source could not be made.

    Returns
    -------
    list of str
    """
    lines = []
    for records, words in (
        (waiting_records, "kept in the earlier version"),
        (provisional_records, "made with what there is"),
    ):
        if not records:
            continue
        numbers = Counter(record.kind for record in records)
        kinds = [kind for kind in chain if kind.name in numbers]
        products = [
            count(numbers[kind.name], *(kind.counted_nouns or kind.nouns)) for kind in kinds
        ]
        sources = sorted({record.data[job_records.MISSING_SOURCE] for record in records})
        words_on_sources = sources[0]
        if len(sources) > 1:
            words_on_sources += f" and {len(sources) - 1} more"
        lines.append(
            f"{words}: {', '.join(products)}: {words_on_sources} could not be made;"
            " made again by the next run that can make what is missing"
        )
    return lines
