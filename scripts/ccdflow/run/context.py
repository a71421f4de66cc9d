"""The contexts of kinds: the contents of a run, and the record of each product.

Functions that plan, make and describe products ask a `Context` the same questions. One answer
differs between its three types: the record of a product (`Context.outcome`).

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
from ccdflow.run.raw_frames.enabled_types import is_of_enabled_type
from ccdflow.run.raw_frames.rows import SET_ASIDE
from ccdflow.run.run_contents import RunContents

# The mark of a value that is not kept yet: None may be a value that is kept.
_UNKNOWN = object()
_REFUSALS_KEY = (Lookup.REFUSALS,)


@dataclass(frozen=True, kw_only=True)
class Context(RunContents, ABC):
    """The contents of a run, and the outcome of each product; a kind gets one of the three types.

    The type decides on the record of a product, and on values that depend on records: a type keeps
    them, or makes them anew for each call.
    """

    @classmethod
    def of(cls, context):
        """Return a context of this type for the run of another context, with no value kept yet.

        Both contexts share the contents of the run: jobs, groups, rows, records.

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
        """Return the record of a product that was made, or that the plan will make; or None."""
        record = self.outcome(product)
        return record if record is not None and record.status == job_records.MADE else None

    @abstractmethod
    def will_be_made(self, product):
        """Return whether a job is still going to make a product."""

    @abstractmethod
    def is_set_aside(self, file):
        """Return whether a raw frame is set aside."""

    @abstractmethod
    def kept_by_key(self, key, make):
        """Return the result of ``make()`` on some outcomes; kept if no outcome can change.

        Parameters
        ----------
        key : tuple of object
            A `ccdflow.run.lookups.OutcomeKey`, and the values on which the result depends.
        make : callable
            Takes no argument.

        Returns
        -------
        object
            The result of ``make()``.
        """

    @abstractmethod
    def kept_by_identity(self, outcome_key, objects, make, *values):
        """Return the result of ``make()`` on some objects; kept for these, not for equal objects.

        Thousands of frames share the objects of their steps. To compare their values would take
        long, and to compare the objects takes no time.

        Parameters
        ----------
        outcome_key : ccdflow.run.lookups.OutcomeKey
        objects : tuple of object
            Kept beside the result, so that no later object gets the id of one of them.
        make : callable
            Takes no argument.
        *values : hashable
            Further values on which the result depends.

        Returns
        -------
        object
            The result of ``make()``.
        """

    def without_set_aside(self, groups):
        """Return the frames that are not set aside.

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
        """Return the reason why a product's folder cannot be read, or ''."""
        for folder, problem in self.unreadable_folders.items():
            if product.startswith(folder):
                return f"{folder} {problem.text}"
        return ""

    def _is_of_enabled_type(self, product):
        """Return whether the setting ``types`` has a frame's image type; True for other products.

        An older product of a type that ``types`` no longer has counts as absent.
        """
        if self.settings["types"] == "all":
            return True
        row = self._rows_by_product().get(product)
        return row is None or is_of_enabled_type(row, self.settings)


@dataclass(frozen=True, kw_only=True)
class _KeptOutcomes:
    """The values of a context that depend on outcomes, kept because no outcome changes."""

    _values_by_key: dict[object, object] = field(default_factory=dict, repr=False)

    def kept_by_key(self, key, make):
        """Return the first result of ``make()`` for this key."""
        # A plan asks thousands of times, so a key whose value is known is hashed only once.
        result = self._values_by_key.get(key, _UNKNOWN)
        if result is _UNKNOWN:
            result = self._values_by_key[key] = make()
        return result

    def kept_by_identity(self, outcome_key, objects, make, *values):
        """Return the first result of ``make()`` for these objects."""
        key = (outcome_key, *map(id, objects), *values)
        entry = self._values_by_key.get(key)
        if entry is None:
            entry = self._values_by_key[key] = make(), objects
        return entry[0]


@dataclass(frozen=True, kw_only=True)
class PlanContext(_KeptOutcomes, Context):
    """The context of a plan: a product that the plan makes counts as made.

    It shares its contents with the `JobContext` of the run.
    """

    _foreseen_records: dict[str, Record] = field(default_factory=dict, repr=False)

    def will_be_made(self, product):
        """Return whether the plan makes a product."""
        return product in self.jobs

    def is_set_aside(self, file):
        """Return False: a plan has no frame that was set aside."""
        return False

    def without_set_aside(self, groups):
        """Return all frames as a list: no frame that is planned has been set aside."""
        return list(groups)

    def outcome(self, product):
        """Return the record that a product has, or will have when the plan is done; or None."""
        # A plan asks about ten times for the record of a new product. So the record is kept, and
        # the set of planned products is searched before the method `is_planned` is called.
        foreseen_record, job = self._foreseen_records.get(product), self.jobs.get(product)
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
        self._foreseen_records[product] = foreseen
        return foreseen

    def foresee_refusal(self, product, reason):
        """Note that a job of the plan will be refused: its product cannot be made.

        Parameters
        ----------
        product : str
        reason : str
            Why the job will be refused; a part of the basis of the product's key.
        """
        if (job := self.jobs.get(product)) is not None:
            refusals = self.lookup(_REFUSALS_KEY, dict)
            refusals[product, job.key] = reason


@dataclass(frozen=True, kw_only=True)
class _RecordedContext(Context):
    """A context in which jobs have left their records: it reads these records."""

    def will_be_made(self, product):
        """Return False: when a job begins, all jobs that it needs have ended."""
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
        """Return the record of a product: that of its job in this run, or else that of the ledger.

        None if there is no record: a job without a record has failed. If the job failed or waits,
        or its raw file is gone, the record of the earlier version is returned if that version may
        stand. Otherwise the record has an empty key, so that a page made without the product is
        made again once the product is there.
        """
        if not self._is_of_enabled_type(product):
            return None
        job = self.jobs.get(product) or self.jobs_elsewhere.get(product)
        earlier = self.earlier_record(product)
        if job is None:
            return earlier
        record = job_records.read_record(self.results / job.record_path)
        if record is None:
            # A lost product with the same key will be made again with the same content.
            has_same_key = earlier is not None and earlier.key == job.key
            return earlier if has_same_key else None
        if record.status in (job_records.FAILED, job_records.GONE, job_records.WAITING):
            kept_record = kept_products.record_of_earlier_version(self, job, record)
            return kept_record or replace(record, key="")
        return record


@dataclass(frozen=True, kw_only=True)
class JobContext(_RecordedContext):
    """The context of the jobs of a run, for all threads: it keeps no value on outcomes."""

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
    """The context of a page, a table or the last lines, whose sources are all made.

    Each value that depends on outcomes is made once. The sections of a page ask for the same
    masters a dozen times for each frame, and a `JobContext` would read their records each time.
    """

    _records: dict[str, Record | None] = field(default_factory=dict, repr=False)

    def outcome(self, product):
        """Return the record of a product, as the first call has read it; or None."""
        if product not in self._records:
            self._records[product] = self._record_now(product)
        return self._records[product]
