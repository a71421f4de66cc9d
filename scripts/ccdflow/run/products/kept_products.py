"""Products that keep their earlier version, because one that they are made of could not be made.

An error of the system (`ccdflow.run.failures.is_of_system`) says nothing about the data: once it is
repaired, the next run makes what failed. Until then a product that depends on it would only lose by
being made again, so the earlier version stays. Its job leaves a record of status ``waiting``, and
the ledger keeps the record of the earlier version, with its key: by that the next run knows that
the product is to be made. A product without an earlier version is made with what there is; its
record names what it was made without, so that products made of it wait as well.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ccdflow.files import atomic_write
from ccdflow.run import job_records
from ccdflow.run.job import DAMAGED
from ccdflow.run.lookups import Lookup
from ccdflow.wording import count

KEPT = "its earlier version is kept"
"""The first words of the reason why a product that is there was not made in this run."""


def has_earlier_version(context, job, record):
    """Return whether the file of a product is the one of its record: by its times, or its checksum.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    job : ccdflow.run.job.Job
        The job that was to make it again.
    record : ccdflow.run.job_records.Record or None
        The record of its earlier version.

    Returns
    -------
    bool
    """
    if record is None or record.status != job_records.MADE or job.reason == DAMAGED:
        return False
    stamp = atomic_write.stamp_of(context.results / record.product)
    if stamp == record.stamp or not stamp:
        return bool(stamp)
    # An archive that was copied has other times.
    return context.lookup(
        (Lookup.MATCHING_FILES, record.product, record.content, stamp),
        lambda: job_records.is_as_made(context.results, record),
    )


def missing_source(context, job):
    """Return the product for which a job waits, by way of others as well; '' for none.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    job : ccdflow.run.job.Job
        All that it needs has ended.

    Returns
    -------
    str
        Path relative to the results folder.
    """
    spare = set(job.spare)
    for need in job.needs:
        if need not in spare and (source := _missing_behind(context, need)):
            return source
    # A product that comes next counts where one before it was not made.
    if spare and any(need not in spare and context.made_record(need) is None for need in job.needs):
        return next(filter(None, (_missing_behind(context, need) for need in job.spare)), "")
    return ""


def _missing_behind(context, product):
    """Return the missing product that keeps another one from its final form; '' for none."""
    sources = context.lookup((Lookup.MISSING_SOURCES,), dict)
    source = sources.get(product)
    if source is None:
        job = context.jobs.get(product) or context.jobs_elsewhere.get(product)
        source = sources[product] = "" if job is None else _missing_source_of_job(context, job)
    return source


def _missing_source_of_job(context, job):
    """Return the missing product by the record of a job; without a record, the job's own."""
    record = job_records.readable_record(context.results / job.record_path)
    if record is None or record.status == job_records.GONE:
        return job.product
    if record.status == job_records.FAILED:
        return job.product if record.data.get(job_records.SYSTEM_ERROR) else ""
    return record.data.get(job_records.MISSING_SOURCE, "")


def waiting_record(job, source):
    """Return the record of a job that waits for a product: its earlier version stays.

    Parameters
    ----------
    job : ccdflow.run.job.Job
    source : str
        The product, as `missing_source` returns it.

    Returns
    -------
    ccdflow.run.job_records.Record
    """
    return job_records.Record(
        job.product, job.kind, job.key, job_records.WAITING,
        f"{source} could not be made", data={job_records.MISSING_SOURCE: source},
    )  # fmt: skip


def with_missing_source(record, source):
    """Return the record of a product that was made, or refused, without one that it is made of.

    Parameters
    ----------
    record : ccdflow.run.job_records.Record
    source : str
        The product that is missing; '' for none.

    Returns
    -------
    ccdflow.run.job_records.Record
    """
    if not source:
        return record
    return replace(record, data={**record.data, job_records.MISSING_SOURCE: source})


def record_of_earlier_version(context, job, record):
    """Return the record of the earlier version of a product whose job did not make it, or None.

    It counts in this run where the plan says that it may.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    job : ccdflow.run.job.Job
    record : ccdflow.run.job_records.Record
        The record that the job has left.

    Returns
    -------
    ccdflow.run.job_records.Record or None
        Its ``reason`` says why it is the earlier one.
    """
    earlier = context.earlier_record(job.product)
    if not (job.may_stand and has_earlier_version(context, job, earlier)):
        return None
    return replace(earlier, reason=f"{KEPT}: {record.reason}")


def lines_on_kept(chain, waiting, made_without_source):
    """Return the lines on products that wait for others, and on new ones that were made without.

    Parameters
    ----------
    chain : ccdflow.run.late_chain.KindChain
    waiting : list of ccdflow.run.job_records.Record
        Records of jobs that wait: an earlier version of each product is there.
    made_without_source : list of ccdflow.run.job_records.Record
        Records of products that were made without a product that could not be made.

    Returns
    -------
    list of str
    """
    lines = []
    for records, words in (
        (waiting, "kept in the earlier version"),
        (made_without_source, "made with what there is"),
    ):
        if not records:
            continue
        numbers = Counter(record.kind for record in records)
        kinds = [kind for kind in chain if kind.name in numbers]
        products = [count(numbers[k.name], *(k.counted_nouns or k.nouns)) for k in kinds]
        sources = sorted({record.data[job_records.MISSING_SOURCE] for record in records})
        named = sources[0] if len(sources) == 1 else f"{sources[0]} and {len(sources) - 1} more"
        lines.append(
            f"{words}: {', '.join(products)}: {named} could not be made;"
            " made again by the next run that can make what is missing"
        )
    return lines
