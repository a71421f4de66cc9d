"""The contexts of kinds: the contents of a run, and the record of each product.

Functions that plan, make and describe products ask a `Context` the same questions. Its three types
answer one of them differently, that for the record of a product (`Context.outcome`):

| type | who gets it | the record of a product |
| --- | --- | --- |
| `PlanContext` | the plan | the one that it will have when the plan is done |
| `JobContext` | a job of a frame or master, while others are at work | the one that it has now |
| `PageContext` | a page, a table, the last lines | the one that it has; it no longer changes |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, replace

from ccdflow.run import job_records
from ccdflow.run.job_records import Record
from ccdflow.run.lookups import Lookup
from ccdflow.run.products import kept_products
from ccdflow.run.products.product_names import reduced_product
from ccdflow.run.rawframes.enabled_types import is_of_enabled_type
from ccdflow.run.rawframes.rows import SET_ASIDE
from ccdflow.run.run_contents import RunContents

# The mark of a value that is not kept yet: None may be kept.
_UNKNOWN = object()
_REFUSALS_KEY = (Lookup.REFUSALS,)


@dataclass(frozen=True, kw_only=True)
class Context(RunContents, ABC):
    """The contents of a run, and the outcome of each product; a kind gets one of the three types.

    A type decides on the record of a product, and whether a value on records may be kept.
    """

    @classmethod
    def of(cls, context):
        """Return the context of this type for a run, with nothing kept yet.

        It shares the contents of the other one: jobs that are planned, groups, rows, records.

        Parameters
        ----------
        context : Context
            A context of any class.

        Returns
        -------
        Context
            A context of the type whose method is called.
        """
        return cls(**{each.name: getattr(context, each.name) for each in fields(Context)})

    @abstractmethod
    def outcome(self, product):
        """Return the `ccdflow.run.job_records.Record` of a product, or None."""

    def made_record(self, product):
        """Return the `outcome` of a product that was made or, while planning, will be; or None."""
        record = self.outcome(product)
        return record if record is not None and record.status == job_records.MADE else None

    @abstractmethod
    def will_be_made(self, product):
        """Return whether the making of a product is still to come."""

    @abstractmethod
    def is_set_aside(self, file):
        """Return whether a raw frame is set aside."""

    @abstractmethod
    def kept_by_key(self, key, make):
        """Return the result of ``make()``, which depends on outcomes; kept if these cannot change.

        Parameters
        ----------
        key : tuple of object
            A `ccdflow.run.lookups.OutcomeKey`, and the values that it is about.
        make : callable
            Takes no argument.

        Returns
        -------
        object
            The result of ``make()``.
        """

    @abstractmethod
    def kept_by_identity(self, outcome_key, objects, make, *values):
        """Return the result of ``make()`` on some objects, and not on others that equal them.

        Thousands of frames share the objects of their steps, and to compare these takes long.

        Parameters
        ----------
        outcome_key : ccdflow.run.lookups.OutcomeKey
        objects : tuple of object
            They are kept beside the result, so that their ids stay their own.
        make : callable
            Takes no argument.
        *values : hashable
            Further values that it depends on.

        Returns
        -------
        object
            The result of ``make()``.
        """

    def without_set_aside(self, groups):
        """Return those of some frames that are not set aside.

        Parameters
        ----------
        groups : iterable of ccdflow.run.job.Group
            Groups of one frame each.

        Returns
        -------
        list of ccdflow.run.job.Group
        """
        return [group for group in groups if not self.is_set_aside(group.files[0])]

    def problem_of(self, product):
        """Return why a product's folder cannot be looked into, or ''."""
        for folder, problem in self.unreadable_folders.items():
            if product.startswith(folder):
                return f"{folder} {problem.text}"
        return ""

    def _is_of_enabled_type(self, product):
        """Return whether the product is not a frame, or the configuration asks for its frame type.

        An older product of a type that is no longer requested counts as absent.
        """
        if self.settings["types"] == "all":
            return True
        row = self._rows_by_product().get(product)
        return row is None or is_of_enabled_type(row, self.settings)


@dataclass(frozen=True, kw_only=True)
class _KeptOutcomes:
    """A store for values on outcomes, of a context whose outcomes do not change."""

    _kept: dict[object, object] = field(default_factory=dict, repr=False)

    def kept_by_key(self, key, make):
        """Return the first result of ``make()`` for this key."""
        # A plan asks thousands of times: each key is hashed once where the value is known.
        result = self._kept.get(key, _UNKNOWN)
        if result is _UNKNOWN:
            result = self._kept[key] = make()
        return result

    def kept_by_identity(self, outcome_key, objects, make, *values):
        """Return the first result of ``make()`` for these objects."""
        key = (outcome_key, *map(id, objects), *values)
        entry = self._kept.get(key)
        if entry is None:
            entry = self._kept[key] = make(), objects
        return entry[0]


@dataclass(frozen=True, kw_only=True)
class PlanContext(_KeptOutcomes, Context):
    """The context of a plan: a product that the plan makes counts as made.

    It shares its contents with the `JobContext` of the run.
    """

    _foreseen: dict[str, Record] = field(default_factory=dict, repr=False)

    def will_be_made(self, product):
        """Return whether the plan makes a product."""
        return product in self.jobs

    def is_set_aside(self, file):
        """Return False: no frame that is planned has been set aside."""
        return False

    def without_set_aside(self, groups):
        """Return all of the frames: none that is planned has been set aside."""
        return list(groups)

    def outcome(self, product):
        """Return the record that a product has, or will have when the plan is done; or None."""
        # A plan asks about ten times for the record of a new product, so it is kept, and the quick
        # questions come before the same ones to a method.
        foreseen_record, job = self._foreseen.get(product), self.jobs.get(product)
        if foreseen_record is not None and job is not None and foreseen_record.key == job.key:
            return foreseen_record
        if product not in self.planned_products and not self.is_planned(product):
            return None
        if self.settings["types"] != "all" and not self._is_of_enabled_type(product):
            return None
        earlier = self.earlier_record(product)
        if job is None or (earlier is not None and earlier.key == job.key):
            return earlier
        foreseen = Record.foreseen(product, job.kind, job.key)
        refusals = self._lookups.get(_REFUSALS_KEY)
        if refusals and (reason := refusals.get((product, job.key))):
            basis = {"missing": reason}
            foreseen = replace(foreseen, status=job_records.REFUSED, reason=reason, basis=basis)
        self._foreseen[product] = foreseen
        return foreseen

    def foresee_refusal(self, product, reason):
        """Note that a product's job will make none, where that is known beforehand.

        Parameters
        ----------
        product : str
        reason : str
            Why it will be refused: a part of the basis of its key.
        """
        if (job := self.jobs.get(product)) is not None:
            refusals = self.lookup(_REFUSALS_KEY, dict)
            refusals[product, job.key] = reason


@dataclass(frozen=True, kw_only=True)
class _RecordedContext(Context):
    """A context of products that are made: their records are those that jobs have left."""

    def will_be_made(self, product):
        """Return False: a job begins when all that it needs is made, or has failed."""
        return False

    def is_set_aside(self, file):
        """Return whether a raw frame is set aside, by an earlier run or by a job of this one.

        The next run has no product of such a frame in its plan.
        """
        row = self.find_row(file)
        if row is not None and row.status == SET_ASIDE:
            return True
        product = reduced_product(file)
        if product not in self.jobs and product not in self.jobs_elsewhere:
            return False
        record = self.outcome(product)
        return record is not None and record.status == job_records.SET_ASIDE

    def _record_now(self, product):
        """Return the record of a product: this run's if it is in the plan, else the ledger's.

        None if there is no record: a job without a record has failed. Where a job did not make its
        product, the earlier version counts if it may; else the product has no key, so that a page
        made without it is made again once it is there.
        """
        if not self._is_of_enabled_type(product):
            return None
        job = self.jobs.get(product) or self.jobs_elsewhere.get(product)
        earlier = self.earlier_record(product)
        if job is None:
            return earlier
        record = job_records.read_record(self.results / job.done)
        if record is None:
            # A product that was lost will be the same if its key is.
            has_same_key = earlier is not None and earlier.key == job.key
            return earlier if has_same_key else None
        if record.status in (job_records.FAILED, job_records.GONE, job_records.WAITING):
            kept_record = kept_products.earlier_version(self, job, record)
            return kept_record or replace(record, key="")
        return record


@dataclass(frozen=True, kw_only=True)
class JobContext(_RecordedContext):
    """The context of the jobs of a run, which all threads share: it keeps no value on outcomes."""

    def kept_by_key(self, key, make):
        """Return the result of ``make()``: another job may have left a record since."""
        return make()

    def kept_by_identity(self, outcome_key, objects, make, *values):
        """Return the result of ``make()``: another job may have left a record since."""
        return make()

    def outcome(self, product):
        """Return the record of a product as it is now, or None."""
        return self._record_now(product)


@dataclass(frozen=True, kw_only=True)
class PageContext(_KeptOutcomes, _RecordedContext):
    """The context of one product whose sources are all there: a page, a table, the last lines.

    It makes each value on outcomes once. The sections of a page ask for the same masters a dozen
    times for each frame, and a job would read the records of its sources each time.
    """

    _records: dict[str, Record | None] = field(default_factory=dict, repr=False)

    def outcome(self, product):
        """Return the record of a product, as it was when it was asked for first; or None."""
        if product not in self._records:
            self._records[product] = self._record_now(product)
        return self._records[product]
