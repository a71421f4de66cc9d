"""Splitting of a plan into batches, by night and by kind."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, partial

from ccdflow import paths
from ccdflow.run.batches.batch_files import path_of, write_batch
from ccdflow.run.job import Size
from ccdflow.run.raw_frames.rows import digest


@dataclass(frozen=True)
class Batch:
    """A part of the plan.

    Attributes
    ----------
    name : str
        The night or nights of the batch, with its part of a night or its kind if it has one.
    key : str
        Hash of its jobs: of their products, keys and attempts.
    products : tuple of str
        The products that its jobs make.
    size : Size
    earlier_record_paths : tuple of str
        Paths of the records of the batches for which it waits.
    """

    name: str
    key: str
    products: tuple[str, ...]
    size: Size
    earlier_record_paths: tuple[str, ...] = ()

    @property
    def path(self):
        """The path of the batch's file, relative to the results folder."""
        return path_of(self.name, self.key)

    @cached_property
    def record_path(self):
        """The path of the batch's own record, relative to the results folder."""
        return paths.done_record(f"batches/{self.name}", self.key)


def split(session, *, is_split_by_night, writes_files=True):
    """Split the jobs of a run into batches, and write their files.

    A job that needs products of only one batch joins that batch. A job that needs products of
    several batches joins a batch of its own kind, which waits for them. A job that needs no product
    of this plan joins a batch of its night. Such batches are of one night on a cluster, and of
    several nights elsewhere. The main process makes the products of kinds that are in no batch.
    Without a cluster it also makes the products that need several batches or none, and those that
    depend on these, unless they are more than a batch holds.

    Parameters
    ----------
    session : ccdflow.run.session.Session
    is_split_by_night : bool
        Whether each night gets a batch of its own (for a cluster). Otherwise a batch has several
        nights, with at most ``frames_per_batch`` frames together. A night with more frames is split
        into parts in both cases.
    writes_files : bool, optional
        Whether the batches' files are written.

    Returns
    -------
    list of Batch
        Each batch comes after the batches for which it waits.
    """
    most_jobs = session.context.settings["frames_per_batch"]
    jobs_by_kind = _jobs_by_kind(session.plan)
    frame_jobs = jobs_by_kind.pop(session.context.chain.first.name)
    split_jobs = partial(
        _jobs_of_batches,
        session.plan,
        frame_jobs_by_batch=_split_nights(_jobs_by_night(frame_jobs), most_jobs, is_split_by_night),
        jobs_by_kind=jobs_by_kind,
        most_jobs=most_jobs,
        is_split_by_night=is_split_by_night,
    )
    jobs_by_batch, batch_by_product = split_jobs(gathers_nights=is_split_by_night)
    n_jobs = sum(map(len, (frame_jobs, *jobs_by_kind.values())))
    if not is_split_by_night and n_jobs - len(batch_by_product) > most_jobs:
        # The main process would get more jobs than a batch holds.
        jobs_by_batch, batch_by_product = split_jobs(gathers_nights=True)
    batches = _batches_of_parts(session, jobs_by_batch, batch_by_product)
    if writes_files:
        for batch in batches:
            write_batch(session, batch, is_queued=is_split_by_night)
    return batches


def _batches_of_parts(session, jobs_by_batch, batch_by_product):
    """Return the `Batch` of each part of a plan, each after the batches for which it waits.

    Parameters
    ----------
    session : ccdflow.run.session.Session
    jobs_by_batch : dict of str to list of ccdflow.run.job.Job
        By the name of the batch, in the order of the batches.
    batch_by_product : dict of str to str
        The name of the batch of each product.
    """
    places = {product: place for place, product in enumerate(session.plan.jobs)}
    batches = {}
    for name, jobs in jobs_by_batch.items():
        jobs_in_order = sorted(jobs, key=lambda job: places[job.product])
        names_needed = set(map(batch_by_product.get, _needs_of(jobs))) - {None, name}
        earlier_batches = [batches[earlier] for earlier in sorted(names_needed)]
        batches[name] = _batch_of_jobs(session.context, name, jobs_in_order, earlier_batches)
    return list(batches.values())


def _needs_of(jobs):
    """Return the set of products that some jobs need."""
    # The first need of a calibrated frame is its own reduced frame. The other needs are masters
    # that thousands of frames share, so equal tuples of them are gone through once.
    first_needs = {job.needs[0] for job in jobs if job.needs}
    return first_needs.union(*{job.needs[1:] for job in jobs})


def needs_batches(plan):
    """Return whether a plan has too many jobs for Snakemake to start them one by one.

    The larger of two numbers decides: that of frames to reduce, and that of all other jobs that may
    be in batches. A changed setting may make all calibrated frames again and reduce no frame.

    Parameters
    ----------
    plan : ccdflow.run.plan.Plan

    Returns
    -------
    bool
    """
    n_frames, *n_others_by_kind = map(len, _jobs_by_kind(plan).values())
    return max(n_frames, sum(n_others_by_kind)) > plan.context.settings["frames_per_batch"]


def _jobs_by_kind(plan):
    """Return {kind: jobs} of the kinds whose jobs may be in batches; frames are the first kind."""
    chain = plan.context.chain
    jobs = {kind.name: [] for kind in chain if kind.is_in_batches or kind is chain.first}
    for job in plan.jobs.values():
        if job.kind in jobs:
            jobs[job.kind].append(job)
    return jobs


def _jobs_of_batches(
    plan, *, frame_jobs_by_batch, jobs_by_kind, most_jobs, is_split_by_night, gathers_nights
):
    """Return ({name: jobs} of batches, {product: name of its batch}).

    Parameters
    ----------
    plan : ccdflow.run.plan.Plan
    frame_jobs_by_batch : dict of str to list of ccdflow.run.job.Job
        The jobs of frames in each batch; other jobs join these.
    jobs_by_kind : dict of str to list of ccdflow.run.job.Job
        The jobs of the kinds after frames.
    most_jobs : int
        Largest number of jobs of one kind in a batch, but for jobs that join a batch of frames.
    is_split_by_night : bool
        Whether each night gets a batch of its own.
    gathers_nights : bool
        Whether jobs that need several batches get batches of their own.
    """
    jobs_by_batch = {name: list(jobs) for name, jobs in frame_jobs_by_batch.items()}
    batch_by_product = {job.product: name for name, jobs in jobs_by_batch.items() for job in jobs}
    for kind, jobs_of_kind in jobs_by_kind.items():
        unjoined_jobs = _join_batch(jobs_of_kind, plan.jobs, jobs_by_batch, batch_by_product)
        if not gathers_nights:
            continue
        # In a night without new frames a job may need only current products, so it waits for no
        # other job. It joins the batch with the name of its night.
        ready_jobs, waiting_jobs = [], []
        for job in unjoined_jobs:
            is_waiting = any(need in plan.jobs for need in job.needs)
            (waiting_jobs if is_waiting else ready_jobs).append(job)
        for jobs, suffix in ((ready_jobs, ""), (waiting_jobs, f"_{kind}".replace(" ", "_"))):
            jobs_by_nights = _split_nights(_jobs_by_night(jobs), most_jobs, is_split_by_night)
            for nights, jobs_of_nights in jobs_by_nights.items():
                name = f"{nights}{suffix}"
                jobs_by_batch.setdefault(name, []).extend(jobs_of_nights)
                batch_by_product.update((job.product, name) for job in jobs_of_nights)
    return jobs_by_batch, batch_by_product


def _join_batch(jobs, jobs_by_product, jobs_by_batch, batch_by_product):
    """Put jobs of a kind that need only one batch into that batch; return the other jobs.

    A batch waits only for batches of earlier kinds, so no two batches wait for each other. A job
    that needs a product outside all batches is left to the main process, and is not returned.

    Parameters
    ----------
    jobs : list of ccdflow.run.job.Job
    jobs_by_product : dict of str to ccdflow.run.job.Job
        All jobs of the plan.
    jobs_by_batch : dict of str to list of ccdflow.run.job.Job
        The jobs of each batch; changed in place.
    batch_by_product : dict of str to str
        The name of the batch of each product; changed in place.

    Returns
    -------
    list of ccdflow.run.job.Job
        Jobs that need products of several batches, or of none.
    """
    unjoined_jobs, names_by_needs = [], {}
    for job in jobs:
        # Thousands of calibrated frames have the same further needs, their masters: the batches of
        # these are searched once.
        first_need, further_needs = job.needs[:1], job.needs[1:]
        names = names_by_needs.get(further_needs)
        if names is None:
            names = names_by_needs[further_needs] = _batch_names_of(
                further_needs, jobs_by_product, batch_by_product
            )
        names = names | _batch_names_of(first_need, jobs_by_product, batch_by_product)
        if None in names:
            continue
        if len(names) == 1:
            (name,) = names
            jobs_by_batch[name].append(job)
            batch_by_product[job.product] = name
        else:
            unjoined_jobs.append(job)
    return unjoined_jobs


def _batch_names_of(needs, jobs_by_product, batch_by_product):
    """Return the names of the batches that make some products, a set; None for no batch.

    Parameters
    ----------
    needs : iterable of str
    jobs_by_product : dict of str to ccdflow.run.job.Job
        All jobs of the plan. A product without a job is current, and adds no name.
    batch_by_product : dict of str to str
        The name of the batch of each product.
    """
    names = set(map(batch_by_product.get, needs))
    if None in names:
        names = {batch_by_product.get(need) for need in needs if need in jobs_by_product}
    return names


def _batch_of_jobs(context, name, jobs, earlier_batches):
    """Return the `Batch` of some jobs, whose key is a hash of their products, keys and attempts.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    name : str
    jobs : list of ccdflow.run.job.Job
        Jobs of one process, in the order in which they are made.
    earlier_batches : list of Batch
        Batches for which this batch waits.
    """
    key = digest([[job.product, job.key_in_name, job.attempt] for job in jobs])
    products = tuple(job.product for job in jobs)
    size = _total_size(context, jobs)
    return Batch(name, key, products, size, tuple(each.record_path for each in earlier_batches))


def _jobs_by_night(jobs):
    """Return {night: its jobs}, both in the order of the jobs."""
    jobs_by_night = {}
    for job in jobs:
        jobs_by_night.setdefault(job.night, []).append(job)
    return jobs_by_night


def _split_nights(jobs_by_night, most_jobs, is_split_by_night):
    """Return {name: jobs} of batches of one or more nights, or of a part of a night.

    Parameters
    ----------
    jobs_by_night : dict of str to list of ccdflow.run.job.Job
        The jobs of each night, in the order of the nights.
    most_jobs : int
        Number of jobs in a batch, at most: a night with more jobs is split into parts.
    is_split_by_night : bool
        Whether each night gets a batch of its own, instead of bundles of nights.
    """
    jobs_by_batch, bundle_nights, bundle_jobs = {}, [], []
    bundle_size = 1 if is_split_by_night else _size_of_bundle(jobs_by_night, most_jobs)
    for night, jobs in jobs_by_night.items():
        if len(jobs) > most_jobs:
            jobs_by_batch |= _parts_of_night(night, jobs, most_jobs)
            continue
        if bundle_nights and len(bundle_jobs) + len(jobs) > bundle_size:
            jobs_by_batch[_batch_name(bundle_nights)] = bundle_jobs
            bundle_nights, bundle_jobs = [], []
        bundle_nights, bundle_jobs = [*bundle_nights, night], [*bundle_jobs, *jobs]
    if bundle_nights:
        jobs_by_batch[_batch_name(bundle_nights)] = bundle_jobs
    return jobs_by_batch


def _size_of_bundle(jobs_by_night, most_jobs):
    """Return the number of jobs in a bundle of nights, for few bundles of about one size."""
    n_jobs = sum(len(jobs) for jobs in jobs_by_night.values() if len(jobs) <= most_jobs)
    n_bundles = max(1, math.ceil(n_jobs / most_jobs))
    return max(1, n_jobs / n_bundles)


def _parts_of_night(night, jobs, most_jobs):
    """Return {name: jobs} of the parts of a night with too many jobs; the parts are about equal."""
    n_parts = math.ceil(len(jobs) / most_jobs)
    size = math.ceil(len(jobs) / n_parts)
    return {
        f"{_batch_name([night])}_part{number + 1}of{n_parts}": jobs[
            number * size : (number + 1) * size
        ]
        for number in range(n_parts)
    }


def _batch_name(nights):
    """Return the name of a batch, which is a part of paths, by its nights in order."""
    first, last = paths.segment(nights[0]), paths.segment(nights[-1])
    return first if len(nights) == 1 else f"{first}_to_{last}"


def _total_size(context, jobs):
    """Return the `Size` of some jobs together, as their kinds estimate it."""
    by_name = context.chain.by_name
    return Size.total(by_name(job.kind).size(context, job) for job in jobs)
