"""The jobs of a run, and the paths of their records and batches, for the rules."""

from __future__ import annotations

import os
from collections import Counter
from urllib.parse import unquote

from ccdflow import paths
from ccdflow.errors import UserError
from ccdflow.run import job_records
from ccdflow.run.context import PageContext
from ccdflow.run.lines import plan_description

# Rules that make no product of a kind: -R with one of them changes nothing.
_OTHER_RULES = ("all", "night", "product", "verify")


class JobList:
    """The jobs of a run; none before its plan is made, and none on a cluster's node.

    Parameters
    ----------
    results : str
        The results folder, as the paths for Snakemake begin.
    session : ccdflow.run.session.Session, optional
        The session with the plan.
    batches : sequence of ccdflow.run.batches.batch_splitting.Batch, optional
        Batches that make some of the products.
    """

    def __init__(self, results, session=None, batches=()):
        self._results = results
        self._context = session and session.context
        self._plan = session and session.plan
        self._batches = batches
        self._n_jobs_by_kind = (
            Counter(job.kind for job in self._plan.jobs.values()) if session else {}
        )
        # By product, the path of the record of its batch. A page needs hundreds of products, which
        # few batches make.
        self._batch_record_path_by_product = {}
        # By the path of a batch's record, those of the records of all batches for which it waits.
        self._earlier_paths_by_path = {}
        for batch in batches:
            path = self.batch_record_path_of(batch)
            self._batch_record_path_by_product.update(dict.fromkeys(batch.products, path))
            earlier_paths = [f"{results}/{each}" for each in batch.earlier_record_paths]
            paths_before_these = (self._earlier_paths_by_path[each] for each in earlier_paths)
            self._earlier_paths_by_path[path] = set(earlier_paths).union(*paths_before_these)

    def product_at(self, path):
        """Return the path of a product relative to the results folder."""
        return os.path.relpath(path, self._results)

    def record_path_of(self, job):
        """Return the path of a job's record, in the form of Snakemake's paths."""
        return f"{self._results}/{job.record_path}"

    def batch_record_path_of(self, batch):
        """Return the path of a batch's record, in the form of Snakemake's paths."""
        return f"{self._results}/{batch.record_path}"

    def is_done(self, job):
        """Return whether a job has left its record."""
        return os.path.exists(self.record_path_of(job))  # noqa: PTH110

    def job(self, product):
        """Return the job of a product, which may be quoted as in the name of its record."""
        return self._plan.jobs[unquote(product)]

    def raw_frame(self, product):
        """Return the path of the raw file of a reduced frame, which may be quoted likewise."""
        return str(self._context.raw / self._context.row_of_product(unquote(product)).file)

    def record_paths_needed(self, product):
        """Return the paths of the records that a job needs and this run makes, also in batches."""
        return self.record_paths_of(self.job(product).needs)

    def record_paths_of(self, products):
        """Return the paths of the records of those products that this run makes.

        A product of a batch has the record of the batch. If a batch waits for others, only its own
        record is returned: Snakemake takes half a millisecond for each record that a job needs.
        """
        jobs, batch_paths, record_paths = self._plan.jobs, self._batch_record_path_by_product, {}
        for product in products:
            path = batch_paths.get(product)
            if path is not None:
                record_paths[path] = None
            elif product in jobs:
                record_paths[self.record_path_of(jobs[product])] = None
        earlier_paths = set().union(
            *(self._earlier_paths_by_path.get(path, ()) for path in record_paths)
        )
        return [path for path in record_paths if path not in earlier_paths]

    def first_of_kinds(self):
        """Return the first job of each kind, and the path of its record, in a list of tuples."""
        first_jobs = {}
        for job in self._plan.jobs.values() if self._plan else ():
            first_jobs.setdefault(job.kind, job)
        return [(job, self.record_path_of(job)) for job in first_jobs.values()]

    def targets(self):
        """Return the paths of the records of all batches, and of all jobs outside batches."""
        jobs_alone = [
            job
            for job in self._plan.jobs.values()
            if job.product not in self._batch_record_path_by_product
        ]
        return [
            *map(self.record_path_of, jobs_alone),
            *map(self.batch_record_path_of, self._batches),
        ]

    def await_records_needed(self, job, seconds):
        """Wait for the records that a job needs and that batches make; return one that is missing.

        Parameters
        ----------
        job : ccdflow.run.job.Job
        seconds : float
            The longest wait.

        Returns
        -------
        str or None
            The path of a record that has not appeared; None if all are there.
        """
        jobs = self._plan.jobs
        paths_awaited = [
            self.record_path_of(jobs[need])
            for need in job.needs
            if need in self._batch_record_path_by_product
        ]
        return job_records.await_records(paths_awaited, seconds)

    def batch(self, name, key):
        """Return a batch of this run by name and key; None if another process has planned it.

        Parameters
        ----------
        name : str
        key : str
            Hash of its jobs.

        Returns
        -------
        ccdflow.run.batches.batch_splitting.Batch or None
        """
        return next(
            (batch for batch in self._batches if (batch.name, batch.key) == (name, key)), None
        )

    def cores_of(self, product, cores):
        """Return the number of cores that a job takes.

        Parameters
        ----------
        product : str
        cores : int
            Number of cores of the run.

        Returns
        -------
        int
        """
        job = self.job(product)
        kind = self._context.chain.by_name(job.kind)
        has_others = self._n_jobs_by_kind[job.kind] > 1
        return kind.cores_of(self._context, job, cores=cores, has_others=has_others)

    def sources_in_words(self, product):
        """Return the sources of a product in words: its raw frame, its members, its night."""
        return plan_description.sources_in_words(self._plan, self.job(product))

    def remaining_jobs(self, chain, *, makes_all):
        """Return the jobs that Snakemake has left out although they can be done.

        Snakemake runs no job and no batch that needs an unfinished batch, even if that batch has
        made the product that is needed. Jobs of the unfinished batch are left for the next run.

        Parameters
        ----------
        chain : ccdflow.kinds.kind.Chain
        makes_all : bool
            Whether jobs of all kinds are returned. If False, only pages, pictures and tables are:
            they can be made without other nights.

        Returns
        -------
        list of ccdflow.run.job.Job
            In the order of the plan.
        """
        unfinished_products, waiting_products = self._products_of_unfinished_batches()
        done_products, remaining_jobs = set(), {}

        def is_left_out_and_ready(job):
            """Return whether Snakemake has left out a job whose needs are all made."""
            if job.product in self._batch_record_path_by_product:
                is_left_out = job.product in waiting_products
            else:
                is_left_out = any(
                    need in unfinished_products or need in remaining_jobs for need in job.needs
                )
            return is_left_out and done_products.issuperset(self._planned_needs(job))

        for product, job in self._plan.jobs.items():
            if self.is_done(job):
                done_products.add(product)
            elif chain.by_name(job.kind).is_report:
                if not job.night or done_products.issuperset(self._needs_of_its_night(job, chain)):
                    remaining_jobs[product] = job
            elif makes_all and is_left_out_and_ready(job):
                remaining_jobs[product] = job
                done_products.add(product)
        return list(remaining_jobs.values())

    def _planned_needs(self, job):
        """Return the products that a job needs and that this run makes."""
        return [need for need in job.needs if need in self._plan.jobs]

    def _products_of_unfinished_batches(self):
        """Return the products of unfinished batches, and of batches that wait for one of these."""
        ended_paths = {batch.record_path for batch in self._batches if self._has_ended(batch)}
        unfinished_products, waiting_products = set(), set()
        for batch in self._batches:
            if batch.record_path not in ended_paths:
                unfinished_products.update(batch.products)
            if not ended_paths.issuperset(batch.earlier_record_paths):
                waiting_products.update(batch.products)
        return unfinished_products, waiting_products

    def _needs_of_its_night(self, job, chain):
        """Return the products that a page or picture needs of its own night, without reports."""
        needs = map(self._plan.jobs.__getitem__, self._planned_needs(job))
        needs = [need for need in needs if not chain.by_name(need.kind).is_report]
        return [need.product for need in needs if need.night == job.night]

    def is_batch_done(self, batch):
        """Return whether each job of a batch has left its record."""
        jobs = (self._plan.jobs[product] for product in batch.products)
        return self._has_ended(batch) or all(map(self.is_done, jobs))

    def _has_ended(self, batch):
        """Return whether a batch has left its record."""
        return os.path.exists(self.batch_record_path_of(batch))  # noqa: PTH110


def check_product(context, product, results):
    """Check that a run can make a product that is asked for by name.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
        After the plan was made.
    product : str
        Path relative to the results folder.
    results : str

    Raises
    ------
    UserError
        If the run cannot make the product, with the reason.
    """
    if context.is_planned(product) or product == paths.INVENTORY:
        return
    row = context.row_of_product(product) if product in context.products else None
    raise UserError(
        f"there is no such product: {row.status_and_reason[1]}"
        if row
        else "there is no such product",
        file=f"{results}/{product}",
        allowed=f"a file of {paths.INVENTORY} below {results}/reduced, without .gz or the"
        " like, or a product made of these",
        remedy="-n lists the products of the run",
    )


def check_forced(context, name, product):
    """Check that a name after -R or -f is that of a product: Snakemake would ignore another name.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
        After the plan was made.
    name : str
        The name on the command line; not that of a rule that makes the products of a kind.
    product : str
        The name as a path relative to the results folder.

    Raises
    ------
    UserError
        If there is no such product, and no such rule.
    """
    if context.is_planned(product) or name in _OTHER_RULES:
        return
    raise UserError(
        "is neither a rule nor a product",
        keyword="-R",
        value=name,
        allowed=f"a rule of --list-rules, or a product with its folder {context.results}",
        remedy="correct the name",
    )


def check_any_made(plan):
    """Check that not all products that a run is asked for would be refused again.

    Without this check Snakemake would write thirty lines on a missing file.

    Parameters
    ----------
    plan : ccdflow.run.plan.Plan
        The plan, cut down to the products that are asked for.

    Raises
    ------
    UserError
        If all of them are refused, with the line on the first of them.
    """
    if plan.jobs or not plan.requested:
        return
    context = PageContext.of(plan.context)
    records = [context.outcome(product) for product in plan.requested]
    if all(record is not None and record.status == job_records.REFUSED for record in records):
        kind = context.chain.by_name(records[0].kind)
        raise UserError(
            kind.closing_lines_of_one(context, records[0])[0],
            remedy="correct its frames or settings",
            needs_run=True,
        )
