"""The file of a batch: all that its process needs, so that it reads neither inventory nor ledger.

The first line has the size of the batch, for readers that need nothing else; the second line has
the jobs, rows and records.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path

from ccdflow import __version__, paths
from ccdflow.errors import UserError
from ccdflow.files import atomic_write
from ccdflow.run import job_records, plan
from ccdflow.run.batches import claims
from ccdflow.run.context import JobContext
from ccdflow.run.job import Group, Job, Size
from ccdflow.run.master_choices import Step, Use
from ccdflow.run.raw_frames.folder_identities import identities_of_folders
from ccdflow.run.raw_frames.header_store import HeaderStore
from ccdflow.run.raw_frames.rows import FACTS, Row, digest
from ccdflow.run.session import Session


def path_of(name, key):
    """Return the path of a batch's file relative to the results folder.

    Parameters
    ----------
    name : str
        Name of the batch.
    key : str
        Hash of its jobs.

    Returns
    -------
    str
    """
    return f"{paths.BATCHES}/{name}.{key}.json"


def write_batch(session, batch, *, is_queued=False):
    """Write the file of a batch; return its path.

    Parameters
    ----------
    session : ccdflow.run.session.Session
    batch : ccdflow.run.batches.batch_splitting.Batch
    is_queued : bool, optional
        Whether a cluster job of the batch may still be in the queue after this process has ended.

    Returns
    -------
    Path
    """
    path = session.context.results / batch.path
    head = {
        **asdict(batch.size),
        "before": batch.earlier_record_paths,
        "queued": is_queued,
        "form": _hash_of_fields(),
    }
    texts = [
        json.dumps(values, separators=(",", ":"))
        for values in (head, _contents_of_batch(session, batch))
    ]
    atomic_write.write_text(path, "".join(f"{text}\n" for text in texts))
    return path


def _contents_of_batch(session, batch):
    """Return the settings and jobs of a batch, and all that these jobs read, for JSON."""
    context = session.context
    jobs = [session.plan.jobs[product] for product in batch.products]
    rows, groups = _rows_and_groups(context, jobs)
    products_read = {paths.reduced_frame(row.file) for row in rows}
    products_read.update(group.product for group in groups)
    # The records of the products themselves: if a job waits for a source, its product stays.
    products_read.update(batch.products)
    names_of_shared = {name for row in rows for name in (row.geometry, row.recipe) if name}
    other_jobs = _jobs_of_other_batches(session.plan.jobs, jobs, products_read)
    records = filter(None, map(context.earlier_record, sorted(products_read)))
    awaited_paths = session.batches_to_await(batch.products)
    return {
        "settings": context.settings,
        "folders": {"boot": job_records.boot_id(), "identities": context.raw_identities},
        "waits": [path for path in awaited_paths if path != batch.path],
        "jobs": list(map(asdict, jobs)),
        "elsewhere": list(map(asdict, other_jobs)),
        "groups": [group.as_dict() for group in groups],
        "rows": [row.as_dict() for row in rows],
        "shared": {name: context.store.shared[name] for name in sorted(names_of_shared)},
        "records": [record.as_dict() for record in records],
    }


def _jobs_of_other_batches(jobs_by_product, jobs, products_needed):
    """Return the jobs outside this batch whose records the jobs of this batch read.

    Parameters
    ----------
    jobs_by_product : dict of str to ccdflow.run.job.Job
        All jobs of the plan.
    jobs : list of ccdflow.run.job.Job
        Jobs of this batch.
    products_needed : set of str
        Products that these jobs read, beside those that they name as needs.
    """
    products = {job.product for job in jobs}
    products_read = products_needed.union(*(job.needs for job in jobs)) - products
    return [
        jobs_by_product[product] for product in sorted(products_read) if product in jobs_by_product
    ]


def _rows_and_groups(context, jobs):
    """Return the rows and groups that these jobs read."""
    rows, groups = {}, {}
    for job in jobs:
        rows_of_job, groups_of_job = context.chain.by_name(job.kind).rows_and_groups(context, job)
        rows.update((row.file, row) for row in rows_of_job)
        groups.update((group.product, group) for group in groups_of_job)
    return [rows[file] for file in sorted(rows)], list(groups.values())


@cache
def _hash_of_fields():
    """Return the hash of ccdflow's version and of the names of fields in a batch's file."""
    classes = (Job, Group, Step, Use, Size, Row, job_records.Record)
    field_names = [[each.name for each in fields(stored_class)] for stored_class in classes]
    return digest([__version__, FACTS, field_names, "folders"])


def _head_of(path):
    """Return the values of the first line of a batch's file; None if it is withdrawn or gone.

    Raises
    ------
    UserError
        If another version of ccdflow wrote it.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            return _checked_head(path, file.readline())
    except FileNotFoundError:
        return None


def _checked_head(path, line):
    """Return the values in the first line of a batch's file; None for a withdrawn batch.

    Parameters
    ----------
    path : path-like
    line : str
        The first line of the file.

    Raises
    ------
    UserError
        If another version of ccdflow wrote it.
    """
    if line == claims.WITHDRAWN_LINE:
        return None
    try:
        head = json.loads(line)
    except ValueError:
        head = None
    if not isinstance(head, dict) or head.get("form") != _hash_of_fields():
        raise UserError(
            "another version of ccdflow wrote this batch",
            file=path,
            remedy="start the workflow again: it makes a new plan, and nothing is made twice",
        )
    return head


def _batch_contents(path):
    """Return the values of the second line of a batch's file: `_contents_of_batch`, after JSON.

    Raises
    ------
    ccdflow.run.batches.claims.Withdrawn
        If the batch is withdrawn or gone.
    UserError
        If another version of ccdflow wrote it.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            line = file.readline()
            if _checked_head(path, line) is not None:
                return json.loads(file.readline())
    except FileNotFoundError:
        pass
    raise claims.Withdrawn(str(path))


def size_of(path):
    """Return the `Size` of a batch by the first line of its file; zeros if it is withdrawn or gone.

    Raises
    ------
    UserError
        If another version of ccdflow wrote it.
    """
    head = _head_of(path)
    if head is None:
        return Size()
    return Size(**{name: head[name] for name in Size.__dataclass_fields__})


def earlier_record_paths(path):
    """Return the paths of the records of the batches for which a batch waits.

    Only the first line of its file is read. The list is empty if the batch is withdrawn or gone.

    Raises
    ------
    UserError
        If another version of ccdflow wrote it.
    """
    head = _head_of(path)
    return [] if head is None else head["before"]


def read_batch(path, chain):
    """Return the `Session` of a batch: its plan has the jobs that have left no record yet.

    Parameters
    ----------
    path : path-like
    chain : ccdflow.kinds.kind.Chain
        The kinds of products: `ccdflow.kinds.CHAIN`.

    Returns
    -------
    ccdflow.run.session.Session

    Raises
    ------
    ccdflow.run.batches.claims.Withdrawn
        If the batch is withdrawn or gone.
    UserError
        If another version of ccdflow wrote it.
    """
    contents = _batch_contents(path)
    settings = contents["settings"]
    rows = {}
    for values in contents["rows"]:
        row = Row.from_dict(values)
        rows[row.file] = row
    records = {
        values["product"]: job_records.Record.from_dict(values) for values in contents["records"]
    }
    groups = {values["product"]: Group.from_dict(values) for values in contents["groups"]}
    jobs = {values["product"]: Job.from_dict(values) for values in contents["jobs"]}
    jobs_of_others = {values["product"]: Job.from_dict(values) for values in contents["elsewhere"]}
    store = HeaderStore(rows, contents["shared"])
    context = JobContext(
        settings=settings,
        raw=Path(settings["raw"]),
        results=Path(settings["results"]),
        store=store,
        ledger=records,
        chain=chain,
        jobs=jobs,
        jobs_elsewhere=jobs_of_others,
        groups=groups,
        raw_identities=_raw_identities(contents, rows),
    )
    results = context.results
    unfinished_jobs = {
        product: job
        for product, job in jobs.items()
        if job_records.readable_record(results / job.record_path) is None
    }
    return Session(plan.Plan(context, unfinished_jobs, []), is_dry=False)


def _raw_identities(contents, rows):
    """Return the identities of the raw folders of a batch.

    On another machine a folder has another device: its identity is that of now.

    Parameters
    ----------
    contents : dict of str to object
        As `_batch_contents` returns them.
    rows : dict of str to ccdflow.run.raw_frames.rows.Row
        By raw file.

    Returns
    -------
    dict of str to tuple of (int, int)
    """
    if contents["folders"]["boot"] == job_records.boot_id():
        identities = contents["folders"]["identities"]
        return {folder: tuple(identity) for folder, identity in identities.items()}
    return identities_of_folders(contents["settings"]["raw"], rows)


def batches_awaited(path):
    """Return the paths of the batches of an earlier run that are at work on the same products.

    The caller waits for these before it calls `read_batch`, which leaves out jobs that have left a
    record by then.

    Raises
    ------
    ccdflow.run.batches.claims.Withdrawn
        If the batch is withdrawn or gone.
    UserError
        If another version of ccdflow wrote it.
    """
    contents = _batch_contents(path)
    return [Path(contents["settings"]["results"]) / awaited for awaited in contents["waits"]]
