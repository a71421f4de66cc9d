"""Batches: parts of a plan that another process makes, on this machine or on a cluster's node.

A batch's file holds everything its process needs, so that the process reads neither inventory nor
ledger. The first line holds the batch's size, for readers that want only that; the second line
holds the jobs, rows and records.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path

from ccdflow import __version__, paths
from ccdflow.errors import UserError
from ccdflow.files import atomic_write, freed_pages
from ccdflow.run import claims, ledger, plan, worker
from ccdflow.run.claims import BatchCount
from ccdflow.run.context import JobContext
from ccdflow.run.job import Group, Job, Size, Step, Use
from ccdflow.run.progress import Progress
from ccdflow.run.rawframes.header_store import HeaderStore
from ccdflow.run.rawframes.rows import FACTS, Row, digest
from ccdflow.run.session import Session

BATCH = "batch"
"""The kind of a record of a batch."""


@dataclass(frozen=True)
class Batch:
    """A part of the plan.

    Attributes
    ----------
    name : str
        The night or nights of the batch.
    key : str
        Hash of its jobs.
    products : tuple of str
    size : Size
    before : tuple of str
        Paths of the records of the batches that come first.
    """

    name: str
    key: str
    products: tuple[str, ...]
    size: Size
    before: tuple[str, ...] = ()

    @property
    def path(self):
        """The path of the batch's file, relative to the results folder."""
        return path_of(self.name, self.key)

    @property
    def done(self):
        """The path of the record that marks the whole batch as done."""
        return paths.done_record(f"batches/{self.name}", self.key)


def path_of(name, key):
    """Return the path of a batch's file relative to the results folder.

    Parameters
    ----------
    name : str
        Of the batch.
    key : str
        Hash of its jobs.

    Returns
    -------
    str
    """
    return f"{paths.BATCHES}/{name}.{key}.json"


# -- splitting -------------------------------------------------------------------------------------


def split(session, *, each_night, write=True):
    """Split the jobs of a run into batches, and write their files.

    A job that needs products of one batch only joins that batch. A job that needs products of
    several batches joins a batch of its own kind, which waits for them: one for each night on a
    cluster, one for several nights elsewhere. The main process makes all kinds without a stage;
    without a cluster also the jobs that need several batches, and what needs these, as long as
    they are no more than a batch holds.

    Parameters
    ----------
    session : ccdflow.run.session.Session
    each_night : bool
        Make a batch for each night (for a cluster); otherwise gather nights until they hold
        ``frames_per_batch`` frames. A night with more frames is split into parts.
    write : bool
        Whether the batches' files are written.

    Returns
    -------
    list of Batch
        Each batch follows those that it waits for.
    """
    most_jobs = session.context.settings["frames_per_batch"]
    by_kind = _by_kind(session.plan)
    parts, home = _jobs_of_batches(session.plan, by_kind, most_jobs, each_night, gather=each_night)
    if not each_night and sum(map(len, by_kind.values())) - len(home) > most_jobs:
        parts, home = _jobs_of_batches(session.plan, by_kind, most_jobs, each_night, gather=True)
    places = {product: place for place, product in enumerate(session.plan.jobs)}
    batches = {}
    for name, jobs in parts.items():
        ordered = sorted(jobs, key=lambda job: places[job.product])
        # Thousands of jobs need the same masters.
        needs = set().union(*(job.needs for job in ordered))
        before = {home[need] for need in needs if need in home} - {name}
        batch = _batch(
            session.context, name, ordered, [batches[earlier] for earlier in sorted(before)]
        )
        batches[name] = batch
        if write:
            write_batch(session, batch, queued=each_night)
    return list(batches.values())


def are_wanted(planned):
    """Return whether a plan has more jobs than one machine's Snakemake is given one by one.

    Frames to reduce count, or all else that a batch may hold: a changed setting may make all
    calibrated frames again, and no other.

    Parameters
    ----------
    planned : ccdflow.run.plan.Plan

    Returns
    -------
    bool
    """
    frames, *other_kinds = map(len, _by_kind(planned).values())
    return max(frames, sum(other_kinds)) > planned.context.settings["frames_per_batch"]


def _by_kind(planned):
    """Return {kind: jobs} of the kinds whose jobs a batch may hold; frames are the first."""
    chain = planned.context.chain
    jobs = {kind.name: [] for kind in chain if kind.stage or kind is chain.first}
    for job in planned.jobs.values():
        if job.kind in jobs:
            jobs[job.kind].append(job)
    return jobs


def _jobs_of_batches(planned, by_kind, most_jobs, each_night, *, gather):
    """Return ({name: jobs} of batches, {product: name of its batch}).

    Parameters
    ----------
    planned : ccdflow.run.plan.Plan
    by_kind : dict of str to list of ccdflow.run.job.Job
    most_jobs : int
        Jobs in a batch of several nights, at most.
    each_night : bool
        Make a batch for each night.
    gather : bool
        Whether jobs that need several batches get batches of their own.
    """
    frames, *later_kinds = by_kind.items()
    parts = _parts(_by_night(frames[1]), most_jobs, each_night)
    home = {job.product: name for name, jobs in parts.items() for job in jobs}
    for kind, staged in later_kinds:
        unjoined = _join(staged, planned.jobs, parts, home)
        if not gather:
            continue
        # Jobs of nights without new frames wait for no other job.
        free = [job for job in unjoined if not any(need in planned.jobs for need in job.needs)]
        bound = [job for job in unjoined if any(need in planned.jobs for need in job.needs)]
        for jobs, suffix in ((free, ""), (bound, f"_{kind}".replace(" ", "_"))):
            for nights, jobs_of_nights in _parts(_by_night(jobs), most_jobs, each_night).items():
                name = f"{nights}{suffix}"
                parts.setdefault(name, []).extend(jobs_of_nights)
                home.update((job.product, name) for job in jobs_of_nights)
    return parts, home


def _join(jobs, planned, parts, home):
    """Put jobs of a kind that need one batch into that batch; return those that need several.

    A batch waits only for batches of earlier kinds, so no two wait for each other. A job that needs
    a product outside all batches is left to the main process.
    """
    unjoined = []
    for job in jobs:
        homes = set(map(home.get, job.needs))
        if None in homes:
            # A need may be made by no batch, or be left out of the plan: only planned needs count.
            homes = {home.get(need) for need in job.needs if need in planned}
        if None in homes:
            continue
        if len(homes) == 1:
            name = homes.pop()
            parts[name].append(job)
            home[job.product] = name
        else:
            unjoined.append(job)
    return unjoined


def _batch(context, name, jobs, before):
    key = digest([[job.product, job.key, job.attempt] for job in jobs])
    products = tuple(job.product for job in jobs)
    size = _size(context, jobs)
    return Batch(name, key, products, size, tuple(each.done for each in before))


def _by_night(jobs):
    nights = {}
    for job in jobs:
        nights.setdefault(job.night, []).append(job)
    return nights


def _parts(nights, most_jobs, each_night):
    """Return {name: jobs} of batches of one or more nights, or of a part of a night.

    Parameters
    ----------
    nights : dict of str to list of ccdflow.run.job.Job
        The jobs of each night, in the order of the nights.
    most_jobs : int
        Jobs in a batch, at most: a night with more is parted.
    each_night : bool
        Make a batch for each night, instead of bundles of nights.
    """
    parts, bundle, frames = {}, [], []
    small = sum(len(jobs) for jobs in nights.values() if len(jobs) <= most_jobs)
    # Use as few bundles as possible, all of about the same size.
    target = 0 if each_night else small / max(1, math.ceil(small / most_jobs))
    for night, jobs in nights.items():
        if len(jobs) > most_jobs:
            count = math.ceil(len(jobs) / most_jobs)
            size = math.ceil(len(jobs) / count)
            for number in range(count):
                name = f"{_name([night])}_part{number + 1}of{count}"
                parts[name] = jobs[number * size : (number + 1) * size]
            continue
        if bundle and len(frames) + len(jobs) > max(target, 1):
            parts[_name(bundle)] = frames
            bundle, frames = [], []
        bundle, frames = [*bundle, night], [*frames, *jobs]
    if bundle:
        parts[_name(bundle)] = frames
    return parts


def _name(nights):
    first, last = paths.segment(nights[0]), paths.segment(nights[-1])
    return first if len(nights) == 1 else f"{first}_to_{last}"


# -- the file --------------------------------------------------------------------------------------


def write_batch(session, batch, *, queued=False):
    """Write the file of a batch: all that its process reads.

    Parameters
    ----------
    session : ccdflow.run.session.Session
    batch : Batch
    queued : bool
        Whether a job of the cluster may still queue for the batch after this process has ended.

    Returns
    -------
    Path
    """
    context = session.context
    jobs = [session.plan.jobs[product] for product in batch.products]
    rows, groups = _rows_and_groups(context, jobs)
    needed = {paths.reduced_frame(row.file) for row in rows} | {group.product for group in groups}
    names = {name for row in rows for name in (row.geometry, row.recipe) if name}
    waits = [path for path, products in session.busy.items() if products & set(batch.products)]
    data = {
        "settings": context.settings,
        "waits": [path for path in waits if path != batch.path],
        "jobs": [asdict(job) for job in jobs],
        "elsewhere": [asdict(job) for job in _elsewhere(session.plan.jobs, jobs, needed)],
        "groups": [group.as_dict() for group in groups],
        "rows": [row.as_dict() for row in rows],
        "shared": {name: context.store.shared[name] for name in sorted(names)},
        "records": [
            context.ledger[product].as_dict()
            for product in sorted(needed)
            if product in context.ledger
        ],
    }
    path = context.results / batch.path
    compact = {"separators": (",", ":")}
    head = {**asdict(batch.size), "before": batch.before, "queued": queued, "form": _form()}
    body = json.dumps(data, **compact)
    atomic_write.write_text(path, f"{json.dumps(head, **compact)}\n{body}\n")
    return path


def _elsewhere(planned, jobs, needed):
    """Return the jobs of other batches whose records these jobs read."""
    products = {job.product for job in jobs}
    products_read = needed.union(*(job.needs for job in jobs)) - products
    return [planned[product] for product in sorted(products_read) if product in planned]


def _rows_and_groups(context, jobs):
    """Return the rows and groups that these jobs read."""
    rows, groups = {}, {}
    for job in jobs:
        rows_of_job, groups_of_job = context.chain.by_name(job.kind).carries(context, job)
        rows.update((row.file, row) for row in rows_of_job)
        groups.update((group.product, group) for group in groups_of_job)
    return [rows[file] for file in sorted(rows)], list(groups.values())


def _size(context, jobs):
    by_name = context.chain.by_name
    return Size.total(by_name(job.kind).size(context, job) for job in jobs)


@cache
def _form():
    """Return a hash of the names of fields that this version writes into a batch's file."""
    classes = (Job, Group, Step, Use, Size, Row, ledger.Record)
    names = [[each.name for each in fields(kept)] for kept in classes]
    return digest([__version__, FACTS, names])


def _head(path):
    """Return the first line of a batch's file.

    Raises
    ------
    UserError
        If another version of ccdflow wrote it.
    """
    with Path(path).open(encoding="utf-8") as file:
        return _checked_head(path, file.readline())


def _checked_head(path, line):
    """Return the head of a batch's file; raise `UserError` for one of another version."""
    head = json.loads(line)
    if isinstance(head, dict) and head.get("form") != _form():
        raise UserError(
            "another version of ccdflow wrote this batch",
            file=path,
            remedy="start the workflow again: it makes a new plan, and nothing is made twice",
        )
    return head


def _body(path):
    """Return the contents of a batch's file.

    Raises
    ------
    ccdflow.run.claims.Withdrawn
        If the batch is gone.
    UserError
        If another version of ccdflow wrote it.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            line = file.readline()
            if line != claims.WITHDRAWN_LINE:
                _checked_head(path, line)
                return json.loads(file.readline())
    except FileNotFoundError:
        pass
    raise claims.Withdrawn(str(path))


def size_of(path):
    """Return the `Size` of a batch; only its first line is read.

    A withdrawn batch has size zero.
    """
    head = _head(path)
    if not isinstance(head, dict):
        return Size()
    return Size(**{name: head[name] for name in Size.__dataclass_fields__})


def records_before(path):
    """Return the records of the batches that come before one; read only its first line."""
    head = _head(path)
    return head["before"] if isinstance(head, dict) else []


def read_batch(path, chain):
    """Return the `Session` of a batch, with its unfinished jobs.

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
    ccdflow.run.claims.Withdrawn
        If the batch is gone.
    UserError
        If another version of ccdflow wrote it.
    """
    data = _body(path)
    settings = data["settings"]
    rows = {}
    for values in data["rows"]:
        row = Row.from_dict(values)
        rows[row.file] = row
    records = {values["product"]: ledger.Record.from_dict(values) for values in data["records"]}
    groups = {values["product"]: Group.from_dict(values) for values in data["groups"]}
    jobs = {values["product"]: Job.from_dict(values) for values in data["jobs"]}
    elsewhere = {values["product"]: Job.from_dict(values) for values in data["elsewhere"]}
    store = HeaderStore(rows, data["shared"])
    context = JobContext(
        settings=settings,
        raw=Path(settings["raw"]),
        results=Path(settings["results"]),
        store=store,
        ledger=records,
        chain=chain,
        jobs=jobs,
        elsewhere=elsewhere,
        groups=groups,
    )
    results = context.results
    undone = {
        product: job
        for product, job in jobs.items()
        if ledger.readable_record(results / job.done) is None
    }
    return Session(plan.Plan(context, undone, []), is_dry=False)


def batches_awaited(path):
    """Return the paths, relative to the results folder, of batches to wait for."""
    return _body(path)["waits"]


# -- making it -------------------------------------------------------------------------------------

DISK_FULL_STATUS = 28
"""Exit status for a full disk."""


def make_all(path, *, chain, threads, parent=None, say=print):
    """Make the products of a batch, once no other process works on it.

    Parameters
    ----------
    path : path-like
        The batch's file.
    chain : ccdflow.kinds.kind.Chain
        The kinds of products.
    threads : int
    parent : int, optional
        The process that this one must not outlive.
    say : callable
        Called with one line for each event.

    Returns
    -------
    int
        Exit status: 0 if each job has left a record or the batch was withdrawn; `DISK_FULL_STATUS`
        if the disk is full; 1 if a job has left no record, or another version of ccdflow wrote the
        batch.
    """
    freed_pages.keep()
    if parent is not None:
        claims.die_with(parent)
    try:
        claim = claims.claim(path, say=say)
    except claims.Withdrawn as error:
        say(f"{error}: not wanted any more")
        return 0
    try:
        return _make_claimed(path, chain, threads, parent, say)
    except claims.Withdrawn as error:
        say(f"{error}: not wanted any more")
        return 0
    except UserError as error:
        say(str(error))
        return 1
    finally:
        if claim is not None:
            claim.close()


def _make_claimed(path, chain, threads, parent, say):
    """Make the products of a batch that this process holds; return how it ended."""
    session = read_batch(path, chain)
    context = session.context
    for awaited in batches_awaited(path):
        claims.wait_for(context.results / awaited, say=say)
    # A parent process shows the progress itself.
    meter = _Meter(context, mode="plain" if parent is None else "none")
    reporter = claims.Reporter(path, lambda: meter.progress.count)
    reporter.start()
    result = worker.work_plan(
        context,
        session.plan.jobs.values(),
        threads=threads,
        on_done=meter.tick,
    )
    meter.progress.end()
    for product, reason in result.unrecorded.items():
        say(f"{product}: its record cannot be written: {reason}")
    if result.full:
        say(result.full)
        return DISK_FULL_STATUS
    if not record_batch(context, path):
        return 1
    reporter.end()
    return 0


class _Meter:
    """Counts the finished jobs of a batch, including those of earlier attempts.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
    mode : {'auto', 'plain', 'none'}
        See `ccdflow.run.progress.Progress`.
    """

    def __init__(self, context, *, mode):
        made_before = tally(context)
        self._first = context.chain.first.name
        frames = sum(job.kind == self._first for job in context.jobs.values())
        self.progress = Progress(frames, others=len(context.jobs) - frames, mode=mode)
        self.progress.elsewhere(made_before)

    def tick(self, record):
        """Count one more job."""
        is_frame = record.kind == self._first
        self.progress.tick(aside=is_frame and record.status != ledger.MADE, other=not is_frame)


def tally(context):
    """Return the `BatchCount` of a batch's jobs that have left a record."""
    frames = aside = other_products = 0
    for job in context.jobs.values():
        record = ledger.readable_record(context.results / job.done)
        if record is None:
            continue
        if job.kind == context.chain.first.name:
            frames += 1
            aside += record.status != ledger.MADE
        else:
            other_products += 1
    return BatchCount(frames, aside, other_products)


def record_batch(context, path):
    """Leave the record of a finished batch, if each of its jobs has left one.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
        Of the batch's process.
    path : path-like
        The batch's file.

    Returns
    -------
    bool
    """
    count = tally(context)
    if count.frames + count.others < len(context.jobs):
        return False
    name, _, key = Path(path).stem.rpartition(".")
    product = f"batches/{name}"
    record = ledger.Record(product, BATCH, key, data=vars(count))
    ledger.write_record(context.results, record, paths.done_record(product, key))
    return True
