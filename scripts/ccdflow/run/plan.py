"""The products to be made, and the reasons: each product's key is compared with that in the ledger.

A key is a hash of everything that a product's bytes depend on, with the version of its kind. It
contains no time, no path of a folder, and not the version of ccdflow.

Each kind plans its own products: `make_plan` gets the chain of kinds (`ccdflow.kinds.CHAIN`) with
the context and calls each kind in turn. It knows no kind by name.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import filterfalse
from typing import NamedTuple

from ccdflow import paths
from ccdflow.run import job_records, ledger
from ccdflow.run.context import JobContext, PlanContext
from ccdflow.run.job import DAMAGED, OF_A_FRAME, Job, UnhashedJob
from ccdflow.run.products.product_stamps import product_stamps
from ccdflow.run.raw_frames.folder_identities import identities_of_folders
from ccdflow.run.raw_frames.rows import Row, digest


@dataclass
class Plan:
    """The products and jobs of a run.

    Attributes
    ----------
    context : ccdflow.run.context.JobContext
    jobs : dict of str to ccdflow.run.job.Job
        By product, in the order in which they are to be made.
    products_to_retire : list of str
        Products that no longer belong to the archive: their files, if any, are moved away.
    planned_counts : dict of str to int
        By kind, the number of products that the configuration asks for, current or not.
    requested : tuple of str
        The products that are asked for by name; ``jobs`` makes only these. () without such names.
    n_not_requested : int
        Number of products that are not current, but are not made because others are asked for.
    files_to_retire : tuple of str
        The products among ``products_to_retire`` whose files exist.
    older_headers : dict of str to list of str
        By kind, the current products that have a header of an older version.
    dropped_rows : dict of str to ccdflow.run.raw_frames.rows.Row
        By product, rows of missing raw files that are removed together with their products.
    moved_files : dict of str to str
        By missing raw file, the file that has its content now: its product takes the place of the
        earlier one.
    """

    context: JobContext
    jobs: dict[str, Job]
    products_to_retire: list[str]
    planned_counts: dict[str, int] = field(default_factory=dict)
    requested: tuple[str, ...] = ()
    n_not_requested: int = 0
    files_to_retire: tuple[str, ...] = ()
    older_headers: dict[str, list[str]] = field(default_factory=dict)
    dropped_rows: dict[str, Row] = field(default_factory=dict)
    moved_files: dict[str, str] = field(default_factory=dict)

    def jobs_of_kind(self, *kinds):
        """Return the jobs of the kinds with these names."""
        return [job for job in self.jobs.values() if job.kind in kinds]

    def dry_run_lines(self):
        """Return the lines of all kinds on the effects of the plan, for a dry run.

        The kinds foretell the masters and noise of calibrated frames. If products are asked for by
        name, and no calibrated frame is among them, there is no line.
        """
        chain = self.context.chain
        is_foretold = any(
            chain.by_name(job.kind).reach == OF_A_FRAME and job.kind != chain.first.name
            for job in (self.jobs.values() if self.requested else ())
        )
        if self.requested and not is_foretold:
            return []
        context = PlanContext.of(self.context)
        return [line for kind in context.chain for line in kind.dry_run_lines(context)]

    def keep_only(self, products):
        """Leave out the jobs that are not needed to make some products."""
        self.requested = tuple(products)
        products_wanted, products_to_look_at = set(), list(products)
        while products_to_look_at:
            job = self.jobs.get(products_to_look_at.pop())
            if job is not None and job.product not in products_wanted:
                products_wanted.add(job.product)
                products_to_look_at += set(job.needs) - set(job.spare)
                # Later the jobs that are left out here would be absent from the key.
                job.fix_key()
        products_left_out = set(self.jobs) - products_wanted
        for product in products_left_out:
            del self.jobs[product]
        self.n_not_requested = len(products_left_out)


class Predecessors(NamedTuple):
    """The products that a plan makes before another product.

    Attributes
    ----------
    pending : tuple of str
        All these products.
    spare : tuple of str
        Those among ``pending`` that matter only if others are refused (`Job.spare`).
    """

    pending: tuple[str, ...] = ()
    spare: tuple[str, ...] = ()


_NO_PREDECESSORS = Predecessors()


class ProductCheck(NamedTuple):
    """A product compared with its record.

    Attributes
    ----------
    why_again : str
        The reason to make the product again; '' if it is current.
    new_stamp : tuple of int
        Size and times of the file, which its record gets: by the checksum the content is that of
        the record. () where the record stays as it is.
    is_left_over : bool
        Whether the file exists although the product was refused.
    may_stand : bool
        Whether other products may be made from the earlier version if the job fails.
    """

    why_again: str = ""
    new_stamp: tuple[int, ...] = ()
    is_left_over: bool = False
    may_stand: bool = True


_SOUND = ProductCheck()


# Not frozen, as jobs are not (`ccdflow.run.job`): a plan has one for each product.
@dataclass(slots=True)
class WantedProduct:
    """A product that its kind wants in the plan: it is made if it is not current.

    Attributes
    ----------
    product : str
        Path relative to the results folder.
    night : str
        The night to which the product belongs, '' for none.
    basis : dict, callable or None
        The input of the key; or a function that returns it, as it is not always needed. None for a
        product with a key that the ledger does not know (`Planner.want_all`).
    needs : iterable of str
        Products that are made before this product.
    spare : iterable of str
        Further products that are made before it, if the plan makes them. A request for this product
        by name leaves them out.
    shared_predecessors : Predecessors
        More products that are made before it, as `Planner.predecessors_of` returns them. Thousands
        of products share this object.
    key : str
        The hash of the basis; '' where `Planner.want` has to compute it.
    may_change : bool
        Whether the product shows another product of this plan that may be refused. It is then made
        again although its key seems to be the same.
    """

    product: str
    night: str
    basis: Mapping[str, object] | Callable[[], Mapping[str, object]] | None
    needs: Iterable[str] = ()
    spare: Iterable[str] = ()
    shared_predecessors: Predecessors = _NO_PREDECESSORS
    key: str = ""
    may_change: bool = False


def make_plan(context, forced=frozenset(), *, stamps=None, records=None, is_dry=False):
    """Compare the products wanted with those on the disk.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
        Its store is up to date. The plan changes its ledger where only the times of a product have
        changed, and fills ``groups``, ``jobs`` and ``planned_products``.
    forced : set of str, optional
        Kinds and products that are made again although they are current.
    stamps : ccdflow.run.products.product_stamps.ProductStamps, optional
        Stamps of some products, where nights are closed; the default is to read those of all.
    records : iterable of str, optional
        Paths of the records that are in the ledger and still on the disk; the default is all
        records on the disk. The records of this plan get other names than these. A job of an
        earlier run may still be at work on a product of this plan with the same key: its record
        then has the name of this plan's record, and the job is not done again.
    is_dry : bool, optional
        Whether no job is done: the key of a new product is then computed when it is first read.

    Returns
    -------
    Plan
    """
    if stamps is None:
        stamps, problems = product_stamps(context.results, context.chain, context.raw)
        context.unreadable_folders.update(problems)
    doubtful_products = set(ledger.mark_settled_products(context.ledger))
    planner = Planner(
        PlanContext.of(context), stamps, doubtful_products, forced, records, is_dry=is_dry
    )
    for kind in context.chain:
        kind.plan(planner)
    if not is_dry:
        _note_raw_identities(context)
    products_not_wanted = set(context.ledger) - context.planned_products
    products_to_retire = sorted(
        product
        for product in planner.products_to_retire | products_not_wanted | planner.strays()
        if not context.problem_of(product)
    )
    files_to_retire = tuple(product for product in products_to_retire if stamps.stamp_of(product))
    return Plan(
        context,
        context.jobs,
        products_to_retire,
        dict(planner.planned_counts),
        files_to_retire=files_to_retire,
        older_headers=dict(planner.older_headers),
        dropped_rows=planner.dropped_rows,
        moved_files=planner.moved_files,
    )


def _note_raw_identities(context):
    """Note the identities of the folders of the raw files that jobs read."""
    name = context.chain.first.name
    files = [
        context.row_of_product(product).file
        for product, job in context.jobs.items()
        if job.kind == name
    ]
    if files:
        context.raw_identities.update(identities_of_folders(context.raw, files))


class Planner:
    """Finds the missing, stale and damaged products among those that the kinds want.

    Parameters
    ----------
    context : ccdflow.run.context.PlanContext
    stamps : ccdflow.run.products.product_stamps.ProductStamps
    doubtful_products : set of str
        Products whose files a stop of the machine may have damaged: their checksums are compared.
    forced : set of str
        Kinds and products that are made again although they are current.
    records : iterable of str, optional
        As for `make_plan`.
    is_dry : bool, optional
        As for `make_plan`.

    Attributes
    ----------
    planned_counts, products_to_retire, older_headers, dropped_rows, moved_files
        As in `Plan`, while the plan grows.
    """

    def __init__(self, context, stamps, doubtful_products, forced, records=None, *, is_dry=False):
        self.context = context
        self.stamps = stamps
        self.products_to_retire, self.dropped_rows, self.moved_files = set(), {}, {}
        self.planned_counts = Counter()
        self.older_headers = defaultdict(list)
        # By current product: its sources that are made again.
        self._pending_sources = {}
        self._doubtful_products = doubtful_products
        self._forced = forced
        self._records = (
            job_records.paths_of_records(context.results)
            if records is None
            else {os.path.relpath(path, context.results) for path in records}
        )
        # Where records are left, the key of a new product shows whether one of them is its own.
        self._makes_keys_later = is_dry and not self._records

    def keep(self, product):
        """Keep a product unchanged."""
        self.context.planned_products.add(product)

    def keep_all_of(self, kind):
        """Keep each product of a kind unchanged, because the settings switch the kind off."""
        for product in {*self.stamps.names, *self.context.ledger}:
            if kind.has_name(product):
                self.keep(product)

    def predecessors_of(self, needs, spare):
        """Return the `Predecessors` of a product among the jobs that are planned so far.

        Parameters
        ----------
        needs, spare : iterable of str
            As a `WantedProduct` has them.

        Returns
        -------
        Predecessors
        """
        is_pending = self.context.jobs.__contains__
        if not spare:
            return Predecessors(tuple(filter(is_pending, dict.fromkeys(needs))))
        needs = tuple(needs)
        pending = tuple(filter(is_pending, dict.fromkeys((*needs, *spare))))
        return Predecessors(pending, tuple(filterfalse(set(needs).__contains__, pending)))

    def want(self, kind, wanted_product):
        """Put a product into the plan if it is not current.

        Parameters
        ----------
        kind : ccdflow.kinds.kind.Kind
        wanted_product : WantedProduct
        """
        context, product = self.context, wanted_product.product
        self.planned_counts[kind.name] += 1
        context.planned_products.add(product)
        if context.unreadable_folders and context.problem_of(product):
            # The folder cannot be read, and no product can be put there.
            return
        is_new = context.earlier_record(product) is None
        has_late_key = callable(wanted_product.basis) and not wanted_product.key
        if is_new and self._makes_keys_later and has_late_key:
            later_key = partial(_key_of, wanted_product.basis)
            needs, spare = self._predecessors(kind, wanted_product)
            context.jobs[product] = UnhashedJob(
                kind.name, product, later_key, "new", wanted_product.night, needs, 0, spare
            )
            return
        key, basis = wanted_product.key, wanted_product.basis
        if not key:
            # The basis of a product on all nights is long, so it is computed only once.
            basis = basis() if callable(basis) else basis
            key = digest(basis)
        reason, may_stand = "new", False
        if not is_new:
            reason, may_stand = self._why_again(kind, wanted_product, key, basis)
        if not reason:
            self._note_header(kind, product)
            self._note_pending_sources(kind, wanted_product)
            return
        pending, spare = self._predecessors(kind, wanted_product)
        attempt = self._next_attempt_number(product, key) if self._records else 0
        context.jobs[product] = Job(
            kind.name, product, key, reason, wanted_product.night, pending, attempt, spare,
            may_stand=may_stand,
        )  # fmt: skip

    def _why_again(self, kind, wanted_product, key, basis):
        """Return why a product is to be made again, and whether its earlier version may stand.

        Parameters
        ----------
        kind : ccdflow.kinds.kind.Kind
        wanted_product : WantedProduct
            Of which the ledger has a record.
        key : str
        basis : dict or callable
            As of `_compare`.

        Returns
        -------
        reason : str
            '' if the product is current.
        may_stand : bool
        """
        product = wanted_product.product
        check = self._compare(kind, product, key, basis)
        self._note_check(product, check)
        reason = check.why_again
        if not reason and wanted_product.may_change:
            reason = "its content may change"
        if not reason and self.is_forced(kind, product):
            reason = "asked for again"
        return reason, check.may_stand

    def want_all(self, kind, products):
        """Put many products of a kind into the plan as `want` does, but faster for new products.

        Parameters
        ----------
        kind : ccdflow.kinds.kind.Kind
        products : iterable of WantedProduct
            With their keys, and without spare products of their own. The basis is None for a
            product that the ledger does not know.
        """
        context, name, count = self.context, kind.name, 0
        jobs, plan_product = context.jobs, context.planned_products.add
        # Unreadable folders, and records that a killed run has left, are rare.
        needs_checks = bool(context.unreadable_folders or self._records)
        for wanted_product in products:
            if needs_checks or wanted_product.basis is not None:
                self.want(kind, wanted_product)
                continue
            count += 1
            product, (needs, spare) = wanted_product.product, wanted_product.shared_predecessors
            plan_product(product)
            needs = (*filter(jobs.__contains__, wanted_product.needs), *needs)
            jobs[product] = Job(
                name, product, wanted_product.key, "new", wanted_product.night, needs, 0, spare
            )
        if count:
            self.planned_counts[name] += count

    def _note_pending_sources(self, kind, wanted_product):
        """Note the sources of a current product that are made again, with their own sources."""
        if kind.reach == OF_A_FRAME or not self.context.jobs:
            return
        sources = [*wanted_product.needs, *wanted_product.spare]
        if pending := self._pending_among(sources) | self._pending_sources_of(sources):
            self._pending_sources[wanted_product.product] = tuple(pending)

    def _pending_among(self, products):
        """Return those of some products that the plan makes, as the keys of a dict."""
        return dict.fromkeys(filter(self.context.jobs.__contains__, products))

    def _pending_sources_of(self, products):
        """Return the noted sources of the current ones among some products, as keys of a dict."""
        noted_sources = self._pending_sources
        return dict.fromkeys(
            source for product in products for source in noted_sources.get(product, ())
        )

    def _predecessors(self, kind, wanted_product):
        """Return all `Predecessors` of a product: its own, and those that other products share.

        A page shows the frames of a master or of another page too. If the record of such a frame is
        lost, the frame is made again although the master stays: the page is made after both.
        """
        pending, spare = self._own_predecessors(wanted_product)
        if self._pending_sources and kind.is_report:
            sources = self._pending_sources_of((*wanted_product.needs, *wanted_product.spare))
            further_sources = tuple(filterfalse({*pending}.__contains__, sources))
            pending, spare = pending + further_sources, spare + further_sources
        return Predecessors(pending, spare)

    def _own_predecessors(self, wanted_product):
        """Return the `Predecessors` that a product names, and those that other products share."""
        pending, spare = wanted_product.shared_predecessors
        if wanted_product.spare:
            predecessors = self.predecessors_of(wanted_product.needs, wanted_product.spare)
            return Predecessors(predecessors.pending + pending, predecessors.spare + spare)
        # Most products have no spare products, so this short way suffices.
        needs = filter(self.context.jobs.__contains__, dict.fromkeys(wanted_product.needs))
        return Predecessors((*needs, *pending), spare)

    def _next_attempt_number(self, product, key):
        """Return the lowest number of an attempt, from 0, of which no record is left."""
        attempt = 0
        while paths.done_record(product, key, attempt) in self._records:
            attempt += 1
        return attempt

    def _note_header(self, kind, product):
        """Note a current product with a header of an older version: a line offers to renew it."""
        # No header is older than the first version.
        if kind.header_version <= 1:
            return
        record = self.context.earlier_record(product)
        # A product that was refused has no header.
        if record.status == job_records.MADE and kind.has_older_header(self.context, record):
            self.older_headers[kind.name].append(product)

    def keep_if_current(self, kind, product, basis):
        """Keep a product if it is current and not forced.

        Parameters
        ----------
        kind : ccdflow.kinds.kind.Kind
        product : str
            Path relative to the results folder.
        basis : dict or callable
            Called without an argument, a callable returns the dict.
            The input of the key; or a function that returns it, because a new product needs none.

        Returns
        -------
        bool
            Whether it is kept.
        """
        if self.context.earlier_record(product) is None:
            return False
        basis = basis() if callable(basis) else basis
        check = self._compare(kind, product, digest(basis), basis)
        self._note_check(product, check)
        if check.why_again or self.is_forced(kind, product):
            return False
        self.keep(product)
        return True

    def is_forced(self, kind, product):
        """Return whether a product is to be made again although it is current.

        Parameters
        ----------
        kind : ccdflow.kinds.kind.Kind
        product : str
            Path relative to the results folder.

        Returns
        -------
        bool
        """
        return bool(self._forced & {kind.name, product})

    def keep_unless_damaged(self, product):
        """Keep a product, unless its file was changed after its making.

        Parameters
        ----------
        product : str
            Path relative to the results folder.

        Returns
        -------
        bool
            Whether it is kept.
        """
        check = self.check_product(product)
        self._note_check(product, check)
        if check.why_again:
            return False
        self.keep(product)
        return True

    def check_product(self, product):
        """Return the `ProductCheck` of a product's file against its record; change nothing.

        Parameters
        ----------
        product : str
            Path relative to the results folder.

        Returns
        -------
        ProductCheck
        """
        record, stamp = self.context.earlier_record(product), self.stamps.stamp_of(product)
        if record is None or not stamp or record.status != job_records.MADE:
            return _SOUND
        if stamp == record.stamp and product not in self._doubtful_products:
            return _SOUND
        if not job_records.is_as_made(self.context.results, record):
            return ProductCheck(DAMAGED)
        return ProductCheck(new_stamp=stamp)

    def _note_check(self, product, check):
        """Bring ledger and plan up to date with the check of a product."""
        if check.new_stamp:
            record = self.context.earlier_record(product)
            self.context.ledger[product] = replace(record, stamp=check.new_stamp, boot="")
            self._doubtful_products.discard(product)
        if check.is_left_over:
            self.products_to_retire.add(product)

    def _compare(self, kind, product, key, basis):
        """Return the `ProductCheck` of a product with a record.

        A product that was refused is current as long as its job would be refused again. A file with
        its name was made before the refusal, and is moved away.

        Parameters
        ----------
        kind : ccdflow.kinds.kind.Kind
        product, key : str
        basis : dict or callable
            The input of the key; or a function without arguments that returns it, because only a
            change needs it.
        """
        record = self.context.earlier_record(product)
        if record.key != key:
            current_basis = basis() if callable(basis) else basis
            return ProductCheck(
                kind.what_changed(record.basis, current_basis),
                may_stand=kind.may_stand(record.basis, current_basis),
            )
        if record.status == job_records.REFUSED:
            if reason := kind.why_tried_again(self.context, record):
                return ProductCheck(reason)
            return ProductCheck(is_left_over=bool(self.stamps.stamp_of(product)))
        if not self.stamps.stamp_of(product):
            return ProductCheck("product missing")
        return self.check_product(product)

    def strays(self):
        """Return the files with names of products that neither the plan nor the ledger has.

        ccdflow has made them once, and users would take them for current products.
        """
        context, strays = self.context, set()
        for product in set(self.stamps.names) - context.planned_products - set(context.ledger):
            kind = context.chain.kind_of(product)
            if (
                kind is not None
                and self.stamps.stamp_of(product)
                and kind.is_stray(context, product)
            ):
                strays.add(product)
        return strays


def _key_of(basis):
    """Return the hash of a basis, or of the basis that a function returns."""
    return digest(basis() if callable(basis) else basis)
