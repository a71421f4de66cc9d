"""The products to be made, and why: every product's key against the one in the ledger.

A key is a hash of everything that a product's bytes depend on, with the versions of the kinds of
products. It contains no time, no path of a folder, and not the version of ccdflow.

Each kind plans its own products: `make_plan` is handed the chain of kinds (`ccdflow.kinds.CHAIN`),
asks them in turn, and knows none of them by name.
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
from ccdflow.run.rawframes.rows import Row, digest


@dataclass
class Plan:
    """The products and jobs of a run.

    Attributes
    ----------
    context : ccdflow.run.context.JobContext
    jobs : dict of str to ccdflow.run.job.Job
        By product, in the order in which they are to be made.
    products_to_retire : list of str
        Products that are not to stand among the others any more.
    planned_counts : dict of str to int
        By kind, how many products the configuration asks for, current or not.
    requested : tuple of str
        The products asked for by name; ``jobs`` makes these only. () where all are.
    n_not_requested : int
        Products that are not current, and not made, as nobody has asked for them.
    leaving : tuple of str
        The ones of ``products_to_retire`` whose files are there.
    older_headers : dict of str to list of str
        By kind, the planned products that stay and have a header of an older version.
    dropped : dict of str to ccdflow.run.rawframes.rows.Row
        Rows of missing raw files that go with their products, by product.
    """

    context: JobContext
    jobs: dict[str, Job]
    products_to_retire: list[str]
    planned_counts: dict[str, int] = field(default_factory=dict)
    requested: tuple[str, ...] = ()
    n_not_requested: int = 0
    leaving: tuple[str, ...] = ()
    older_headers: dict[str, list[str]] = field(default_factory=dict)
    dropped: dict[str, Row] = field(default_factory=dict)

    def jobs_of_kind(self, *kinds):
        """Return the jobs of some kinds, given by name."""
        return [job for job in self.jobs.values() if job.kind in kinds]

    def dry_run_lines(self):
        """Return the lines of a dry run on the plan's effects, of all kinds.

        Where some products are asked for and none of them is a calibrated frame, there is nothing
        to foretell: without names the lines are on the last night then.
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
        """Leave out the jobs that some products can do without."""
        self.requested = tuple(products)
        products_wanted, products_to_look_at = set(), list(products)
        while products_to_look_at:
            job = self.jobs.get(products_to_look_at.pop())
            if job is not None and job.product not in products_wanted:
                products_wanted.add(job.product)
                products_to_look_at += set(job.needs) - set(job.spare)
                # A key that is made later would be made without the jobs that are left out here.
                _ = job.key
        products_left_out = set(self.jobs) - products_wanted
        for product in products_left_out:
            del self.jobs[product]
        self.n_not_requested = len(products_left_out)


class Predecessors(NamedTuple):
    """The products of a plan that are made before another one.

    Attributes
    ----------
    pending : tuple of str
        All of them.
    spare : tuple of str
        The ones that are only looked at where others turn out to be refused.
    """

    pending: tuple[str, ...] = ()
    spare: tuple[str, ...] = ()


_NO_PREDECESSORS = Predecessors()


class ProductCheck(NamedTuple):
    """A product compared with its record.

    Attributes
    ----------
    why_again : str
        Why it is to be made again; '' if it is current.
    new_stamp : tuple of int
        Size and times of a file that has the content of its record, though they are others or were
        in doubt; () where nothing is to be noted.
    is_left_over : bool
        Whether a file is there though the product was refused.
    may_stand : bool
        Whether the version that is there counts where it cannot be made again.
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
        The night that it belongs to, '' for none.
    basis : dict, callable or None
        The sources of the product; or a function that returns them, where they are not always
        needed. None for a product with a key that the ledger does not know (`Planner.want_all`).
    needs : iterable of str
        Products that come first.
    spare : iterable of str
        Products that come first where they are made. A request of this product by name does
        without them.
    after : Predecessors
        More of both, as `Planner.predecessors_of` returned them: thousands of products come after
        the same.
    key : str
        The hash of the basis, where the caller has it by a shorter way.
    is_open : bool
        Whether it shows a product of this run that may be refused: it is made although its key is
        the same while planning.
    """

    product: str
    night: str
    basis: Mapping[str, object] | Callable[[], Mapping[str, object]] | None
    needs: Iterable[str] = ()
    spare: Iterable[str] = ()
    after: Predecessors = _NO_PREDECESSORS
    key: str = ""
    is_open: bool = False


def make_plan(context, forced=frozenset(), *, stamps=None, records=None, is_dry=False):
    """Compare the products wanted with those on the disk.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
        Its store is up to date; its ledger is brought up to date here where a product's times
        moved; ``groups``, ``jobs`` and ``planned_products`` are filled in.
    forced : set of str
        Kinds and products that are made again though they are current.
    stamps : ccdflow.run.products.product_stamps.ProductStamps, optional
        Stamps of some products, where nights are closed.
    records : iterable of str, optional
        Paths of the records that are in the ledger and still on the disk (default: all on the
        disk). One that a job of an earlier run leaves later is the record of the job that is
        planned here for the same product and key, which is not to be done a second time.
    is_dry : bool
        Whether no job is done: keys of new products are made where somebody asks for them.

    Returns
    -------
    Plan
    """
    if stamps is None:
        stamps, problems = product_stamps(context.results, context.chain, context.raw)
        context.unreadable_folders.update(problems)
    doubtful = set(ledger.products_to_verify(context.ledger))
    planner = Planner(PlanContext.of(context), stamps, doubtful, forced, records, is_dry=is_dry)
    for kind in context.chain:
        kind.plan(planner)
    not_wanted = set(context.ledger) - context.planned_products
    retire = sorted(
        product
        for product in planner.products_to_retire | not_wanted | planner.strays()
        if not context.problem_of(product)
    )
    leaving = tuple(product for product in retire if stamps.stamp_of(product))
    return Plan(
        context,
        context.jobs,
        retire,
        dict(planner.planned_counts),
        leaving=leaving,
        older_headers=dict(planner.older_headers),
        dropped=planner.dropped,
    )


class Planner:
    """Takes the products that kinds want, and finds the missing, stale and damaged ones.

    Parameters
    ----------
    context : ccdflow.run.context.PlanContext
    stamps : ccdflow.run.products.product_stamps.ProductStamps
    doubtful : set of str
        Products that must show their checksum.
    forced : set of str
        Kinds and products that are made again though they are current.
    records : iterable of str, optional
        As for `make_plan`.
    is_dry : bool
        As for `make_plan`.

    Attributes
    ----------
    planned_counts, products_to_retire, older_headers, dropped
        As in `Plan`, while the plan grows.
    """

    def __init__(self, context, stamps, doubtful, forced, records=None, *, is_dry=False):
        self.context = context
        self.stamps = stamps
        self.products_to_retire, self.dropped = set(), {}
        self.planned_counts = Counter()
        self.older_headers = defaultdict(list)
        self._doubtful = doubtful
        self._forced = forced
        self._records = (
            job_records.paths_of_records(context.results)
            if records is None
            else {os.path.relpath(path, context.results) for path in records}
        )
        # Where records are left, the key tells whether one is of the same product.
        self._makes_keys_later = is_dry and not self._records

    def keep(self, product):
        """Keep a product unchanged."""
        self.context.planned_products.add(product)

    def keep_all_of(self, kind):
        """Keep each product of a kind unchanged, as the kind is off."""
        for product in {*self.stamps.names, *self.context.ledger}:
            if kind.has_name(product):
                self.keep(product)

    def predecessors_of(self, needs, spare):
        """Return the `Predecessors` of a product among those planned so far.

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
            # The folder cannot be looked into, and nothing can be put there.
            return
        is_new = context.earlier_record(product) is None
        has_late_key = callable(wanted_product.basis) and not wanted_product.key
        if is_new and self._makes_keys_later and has_late_key:
            later_key = partial(_key_of, wanted_product.basis)
            needs, spare = self._predecessors(wanted_product)
            context.jobs[product] = UnhashedJob(
                kind.name, product, later_key, "new", wanted_product.night, needs, 0, spare
            )
            return
        key, basis = wanted_product.key, wanted_product.basis
        if not key:
            # The basis of a product on all nights is long: it is made once.
            basis = basis() if callable(basis) else basis
            key = digest(basis)
        reason, may_stand = "new", False
        if not is_new:
            check = self._compare(kind, product, key, basis)
            self._note_check(product, check)
            reason, may_stand = check.why_again, check.may_stand
        if not reason and wanted_product.is_open:
            reason = "its content may change"
        if not reason and not self.is_forced(kind, product):
            self._note_header(kind, product)
            return
        reason = reason or "asked for again"
        pending, spare = self._predecessors(wanted_product)
        attempt = self._attempt(product, key) if self._records else 0
        context.jobs[product] = Job(
            kind.name, product, key, reason, wanted_product.night, pending, attempt, spare,
            may_stand=may_stand,
        )  # fmt: skip

    def want_all(self, kind, products):
        """Put many products of a kind into the plan that are not current: as `want` does it.

        Parameters
        ----------
        kind : ccdflow.kinds.kind.Kind
        products : iterable of WantedProduct
            With their keys, and without the spare products of their own. One that the ledger does
            not know needs no basis.
        """
        context, name, count = self.context, kind.name, 0
        jobs, plan_product = context.jobs, context.planned_products.add
        # Folders that cannot be looked into, and the records of a run that was cut off, are rare.
        has_remains = bool(context.unreadable_folders or self._records)
        for wanted_product in products:
            if has_remains or wanted_product.basis is not None:
                self.want(kind, wanted_product)
                continue
            count += 1
            product, (needs, spare) = wanted_product.product, wanted_product.after
            plan_product(product)
            needs = (*filter(jobs.__contains__, wanted_product.needs), *needs)
            jobs[product] = Job(
                name, product, wanted_product.key, "new", wanted_product.night, needs, 0, spare
            )
        if count:
            self.planned_counts[name] += count

    def _predecessors(self, wanted_product):
        """Return the `Predecessors` of a product: its own, and those that it shares with others."""
        pending, spare = wanted_product.after
        if wanted_product.spare:
            predecessors = self.predecessors_of(wanted_product.needs, wanted_product.spare)
            return Predecessors(predecessors.pending + pending, predecessors.spare + spare)
        # Most products come after a few others.
        needs = filter(self.context.jobs.__contains__, dict.fromkeys(wanted_product.needs))
        return Predecessors((*needs, *pending), spare)

    def _attempt(self, product, key):
        """Return the first attempt of a job that has no record yet."""
        attempt = 0
        while paths.done_record(product, key, attempt) in self._records:
            attempt += 1
        return attempt

    def _note_header(self, kind, product):
        """Count a current product with a header of an older version: the run offers to renew it."""
        # The first version needs no look: no header is older.
        if kind.header_version <= 1:
            return
        record = self.context.earlier_record(product)
        # A product that was refused has no header.
        if record.status == job_records.MADE and kind.has_older_header(self.context, record):
            self.older_headers[kind.name].append(product)

    def keep_if_current(self, kind, product, basis):
        """Keep a product that is there as it should be, and is not asked for again.

        Parameters
        ----------
        kind : ccdflow.kinds.kind.Kind
        product : str
            Path relative to the results folder.
        basis : dict or callable
            The sources that its key is the hash of; or a function that returns them, as a new
            product needs none.

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
        """Return whether a product is to be made again though it is current.

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
        """Keep a product, unless it exists and was changed after its making.

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
        """Compare a product that exists with its record; nothing is noted here.

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
        if stamp == record.stamp and product not in self._doubtful:
            return _SOUND
        if not job_records.is_as_made(self.context.results, record):
            return ProductCheck(DAMAGED)
        return ProductCheck(new_stamp=stamp)

    def _note_check(self, product, check):
        """Bring ledger and plan up to date with the check of a product."""
        if check.new_stamp:
            record = self.context.earlier_record(product)
            self.context.ledger[product] = replace(record, stamp=check.new_stamp, boot="")
            self._doubtful.discard(product)
        if check.is_left_over:
            self.products_to_retire.add(product)

    def _compare(self, kind, product, key, basis):
        """Return the `ProductCheck` of a product with a record.

        A product that was refused is current as long as nothing would change that; a file of its
        name, of a time before the refusal, is moved away.

        Parameters
        ----------
        kind : ccdflow.kinds.kind.Kind
        product, key : str
        basis : dict or callable
            The input of the key, or a function that returns it: only a change needs it.
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
        """Return products that ccdflow once made and that no record is left of.

        Their names belong to ccdflow, and they would be taken for current products.
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
    """Return the hash of a basis, or of the one that a function returns."""
    return digest(basis() if callable(basis) else basis)
