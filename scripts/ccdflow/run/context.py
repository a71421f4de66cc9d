"""The contexts of kinds: the settings, the rows, and the record of each product.

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
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from ccdflow import paths
from ccdflow.run import job_records
from ccdflow.run.job import Group, Job
from ccdflow.run.job_records import Record
from ccdflow.run.lookups import Lookup
from ccdflow.run.products import kept_products
from ccdflow.run.rawframes.header_store import HeaderStore
from ccdflow.run.rawframes.rows import SET_ASIDE

if TYPE_CHECKING:
    from ccdflow.camera.cameras import Camera
    from ccdflow.run.late_chain import KindChain
    from ccdflow.run.nights.closed_nights import ClosedNights
    from ccdflow.run.nights.night_notes import NightNotes
    from ccdflow.run.rawframes.rawfolder import FolderProblem

# The mark of a value that was not looked up yet; None is a value that may be known.
_UNKNOWN = object()
_REFUSALS_KEY = (Lookup.REFUSALS,)

# Results are kept: a plan asks several times for each of a hundred thousand frames.
reduced_product = cache(paths.reduced_frame)


@cache
def calibrated_product(file):
    """Return the path of a raw frame's calibrated frame, made from that of its reduced frame.

    Examples
    --------
    >>> calibrated_product("darks/ccd.013.0.fits.gz")
    'calibrated/darks/ccd.013.0.fits'
    """
    return paths.calibrated_of_reduced(reduced_product(file))


def forget_names():
    """Empty the caches of products' names, which grow in a watch of many nights."""
    reduced_product.cache_clear()
    calibrated_product.cache_clear()


@dataclass(frozen=True, kw_only=True)
class FixedContents:
    """The parts of a run that are known before it is planned: nobody changes them.

    Attributes
    ----------
    settings : dict of str to object
        As `ccdflow.settings.load_settings` returns them.
    raw, results : Path
    chain : ccdflow.run.late_chain.KindChain
        The kinds of products, in the order in which they are made.
    cameras : tuple of ccdflow.camera.cameras.Camera
        The profiles; only planning looks at them.
    outdated_files : frozenset of str
        Missing raw files whose camera profile was edited since.
    closed_nights : ccdflow.run.nights.closed_nights.ClosedNights or None
        Nights that this run does not plan, and whose rows are not in its store; None for none.
        `ccdflow.run.nights.partial_plan` alone opens further ones, before they are planned.
    other_nights : RunContents or ccdflow.run.nights.night_notes.NightNotes or None
        The rows, records and groups of nights that this run does not plan: of closed nights, or of
        those that a watch leaves out. They are found by name, and nobody goes through them. None
        for none.
    """

    settings: dict[str, object]
    raw: Path
    results: Path
    chain: KindChain
    cameras: tuple[Camera, ...] = ()
    outdated_files: frozenset[str] = frozenset()
    closed_nights: ClosedNights | None = None
    other_nights: RunContents | NightNotes | None = None


@dataclass(frozen=True, kw_only=True)
class RunContents(FixedContents):
    """The fixed parts of a run, and those that grow while it is planned: shared by its contexts.

    While jobs run nothing of it changes: each job leaves its result in a record of its own.

    ====================================  =======================================================
    grows or changes                      by whom, and when
    ====================================  =======================================================
    ``jobs`` ``planned_products``         `ccdflow.run.plan.Planner`, in a plan
    ``groups``                            the kind of the group, in its ``plan``
    ``unreadable_folders``                `ccdflow.run.plan.make_plan`, before the kinds plan
    ``ledger``                            a plan, where a product's times moved; the session,
                                          before the plan and after the jobs
    ``store``                             the kind of raw frames, in its ``plan``; the session,
                                          before the plan and after the jobs
    ``jobs_elsewhere``                    nobody: given when the context is made
    results of `lookup`                   whoever asks first; a plan made again begins without
    ====================================  =======================================================

    A watch does all of this between two rounds, for the state that it keeps
    (`ccdflow.run.watch.warm_state`).

    Attributes
    ----------
    store : ccdflow.run.rawframes.header_store.HeaderStore
        The rows of the raw frames.
    ledger : dict of str to ccdflow.run.job_records.Record
        The records of earlier runs, by product.
    jobs : dict of str to ccdflow.run.job.Job
        By product.
    jobs_elsewhere : dict of str to ccdflow.run.job.Job
        By product: jobs of this run that other processes do. In a batch's process they are those
        of other batches. Their records count like those of ``jobs``.
    groups : dict of str to ccdflow.run.job.Group
        By product.
    planned_products : set of str
        Products that stay or are made by this run, members before their master.
    unreadable_folders : dict of str to ccdflow.run.rawframes.rawfolder.FolderProblem
        Why a folder of products (its path ends in ``/``) cannot be looked into.
    """

    store: HeaderStore
    ledger: dict[str, Record]
    jobs: dict[str, Job] = field(default_factory=dict)
    jobs_elsewhere: dict[str, Job] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    planned_products: set[str] = field(default_factory=set)
    unreadable_folders: dict[str, FolderProblem] = field(default_factory=dict)
    _lookups: dict[object, object] = field(default_factory=dict, repr=False)

    def lookup(self, key, make):
        """Return the first result of ``make()`` for this key; it is constant in a run.

        Parameters
        ----------
        key : tuple of object
            A `ccdflow.run.lookups.Lookup`, and the values that it is about.
        make : callable
            Takes no argument.

        Returns
        -------
        object
            The result of ``make()``.
        """
        result = self._lookups.get(key, _UNKNOWN)
        if result is _UNKNOWN:
            result = self._lookups[key] = make()
        return result

    @property
    def lookups(self):
        """The results of lookups by key."""
        return self._lookups

    def find_row(self, file):
        """Return the row of a raw frame of any night, or None."""
        row = self.store.rows.get(file)
        if row is None and self.other_nights is not None:
            return self.other_nights.find_row(file)
        return row

    def row(self, file):
        """Return the row of a raw frame of any night.

        Parameters
        ----------
        file : str
            Path relative to the raw folder.

        Returns
        -------
        ccdflow.run.rawframes.rows.Row

        Raises
        ------
        KeyError
            If there is none.
        """
        row = self.find_row(file)
        if row is None:
            raise KeyError(file)
        return row

    def earlier_record(self, product):
        """Return the record that the ledger has of a product of any night, or None."""
        record = self.ledger.get(product)
        if record is None and self.other_nights is not None:
            return self.other_nights.earlier_record(product)
        return record

    def find_group(self, product):
        """Return the group of a product of any night, or None."""
        group = self.groups.get(product)
        if group is None and self.other_nights is not None:
            return self.other_nights.find_group(product)
        return group

    def group(self, product):
        """Return the group of a product of any night.

        Parameters
        ----------
        product : str

        Returns
        -------
        ccdflow.run.job.Group

        Raises
        ------
        KeyError
            If there is none.
        """
        group = self.find_group(product)
        if group is None:
            raise KeyError(product)
        return group

    def is_planned(self, product):
        """Return whether a product stays or is made by this run; all of closed nights stay."""
        if product in self.planned_products:
            return True
        return (
            self.closed_nights is not None
            and self.closed_nights.notes.earlier_record(product) is not None
        )

    def is_closed(self, night):
        """Return whether nothing of a night is to be done, and its rows are not gone through."""
        return self.closed_nights is not None and self.closed_nights.is_closed(night)

    def is_of_closed_night(self, product):
        """Return whether a product is a master of a closed night."""
        return self.closed_nights is not None and product in self.closed_nights.masters

    def summaries(self, name):
        """Return {night: the values noted under a name} of the closed nights."""
        return {} if self.closed_nights is None else self.closed_nights.summaries(name)

    def _rows_by_product(self):
        return self.lookup(
            (Lookup.ROWS_BY_PRODUCT,),
            lambda: {reduced_product(file): row for file, row in self.store.rows.items()},
        )

    @property
    def products(self):
        """The names of all possible reduced frames."""
        return self._rows_by_product().keys()

    def row_of(self, product):
        """Return the row of a reduced frame's raw frame."""
        return self._rows_by_product()[product]

    @property
    def nights(self):
        """The nights of all rows, in no order."""
        return self._rows_by_night().keys()

    def rows_of(self, night):
        """Return the rows of a night, sorted by file."""
        rows = self._rows_by_night().get(night, [])
        if not rows and self.is_closed(night):
            rows_by_file = self.closed_nights.notes.rows(night)
            return [rows_by_file[file] for file in sorted(rows_by_file)]
        return rows

    def rows_in_order(self):
        """Yield all rows, sorted by night and file."""
        rows_by_night = self._rows_by_night()
        for night in sorted(rows_by_night):
            yield from rows_by_night[night]

    def _rows_by_night(self):
        """Return {night: its rows, sorted by file}."""

        def sorted_rows_by_night():
            """Return {night: its rows}, sorted by file."""
            rows_by_night = {}
            for row in sorted(self.store.rows.values(), key=attrgetter("file")):
                rows_by_night.setdefault(row.night, []).append(row)
            return rows_by_night

        return self.lookup((Lookup.ROWS_BY_NIGHT,), sorted_rows_by_night)


@dataclass(frozen=True, kw_only=True)
class Context(RunContents, ABC):
    """The contents of a run, and the outcome of each product; a kind gets one of the three types.

    A type says what the record of a product is, and whether a value on records may be kept.
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
            Of the type that the method is called of.
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
        """Return all of some frames: no frame that is planned has been set aside."""
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
            Why it will be refused: a part of what its key is the hash of.
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


def is_of_enabled_type(row, settings):
    """Return whether the configuration asks for frames of this row's type.

    Parameters
    ----------
    row : ccdflow.run.rawframes.rows.Row
        Row of a raw frame.
    settings : dict of str to object
        The checked configuration.

    Returns
    -------
    bool
    """
    return settings["types"] == "all" or type_is_enabled(settings, row.facts["type"])


def type_is_enabled(settings, frame_type):
    """Return whether the configuration asks for frames of a type.

    Parameters
    ----------
    settings : dict of str to object
        The checked configuration.
    frame_type : str
        Image type.

    Returns
    -------
    bool
    """
    return settings["types"] == "all" or frame_type in settings["types"]
