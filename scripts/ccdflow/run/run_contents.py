"""The contents of a run, which its contexts share: settings, rows, records, jobs and groups."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from ccdflow.run.job import Group, Job
from ccdflow.run.job_records import Record
from ccdflow.run.lookups import Lookup
from ccdflow.run.products.product_names import reduced_product
from ccdflow.run.raw_frames.header_store import HeaderStore

if TYPE_CHECKING:
    from ccdflow.camera.cameras import Camera
    from ccdflow.run.late_chain import KindChain
    from ccdflow.run.nights.closed_nights import ClosedNights
    from ccdflow.run.nights.night_notes import NightNotes
    from ccdflow.run.raw_frames.raw_folders import FolderProblem

# The mark of a value that was not looked up yet: None may be the result of a lookup.
_UNKNOWN = object()


@dataclass(frozen=True, kw_only=True)
class FixedContents:
    """The parts of a run that are known before it is planned, and do not change.

    Attributes
    ----------
    settings : dict of str to object
        As `ccdflow.settings.load_settings` returns them.
    raw, results : Path
    chain : ccdflow.run.late_chain.KindChain
        The kinds of products, in the order in which they are made.
    cameras : tuple of ccdflow.camera.cameras.Camera
        The profiles; used only while planning.
    outdated_files : frozenset of str
        Missing raw files whose camera profile was edited since they were read.
    closed_nights : ccdflow.run.nights.closed_nights.ClosedNights or None
        Nights that this run does not plan, and whose rows are not in its store; None if there are
        none. Only `ccdflow.run.nights.partial_plan` opens some of them, before it plans.
    other_nights : RunContents or ccdflow.run.nights.night_notes.NightNotes or None
        The rows, records and groups of nights that this run does not plan: of closed nights, or of
        nights that a watch leaves out. They are looked up by name, and never listed. None if there
        are no such nights.
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
    """The fixed parts of a run, and those that grow while it is planned; its contexts share them.

    While jobs run no part changes: each job leaves its result in a record of its own.

    In a run that plans some nights, methods that look up rows, records or notes of closed nights
    raise `ccdflow.run.nights.note_lines.NeedsWholePlan` if the notes cannot be read.

    ====================================  =======================================================
    grows or changes                      by whom, and when
    ====================================  =======================================================
    ``jobs`` ``planned_products``         `ccdflow.run.plan.Planner`, in a plan
    ``groups``                            the kind of the group, in its ``plan``
    ``unreadable_folders``                `ccdflow.run.plan.make_plan`, before the kinds plan
    ``raw_identities``                    `ccdflow.run.plan.make_plan`, after the kinds have planned
    ``ledger``                            a plan, where a product's times moved; the session,
                                          before the plan and after the jobs
    ``store``                             the kind of raw frames, in its ``plan``; the session,
                                          before the plan and after the jobs
    ``jobs_elsewhere``                    nobody: given when the context is made
    results of `lookup`                   the first caller; a plan made again begins without them
    ====================================  =======================================================

    A watch makes all these changes between two rounds, in the state that it keeps
    (`ccdflow.run.watch.warm_state`).

    Attributes
    ----------
    store : ccdflow.run.raw_frames.header_store.HeaderStore
        The rows of the raw frames.
    ledger : dict of str to ccdflow.run.job_records.Record
        The records of earlier runs, by product.
    jobs : dict of str to ccdflow.run.job.Job
        By product.
    jobs_elsewhere : dict of str to ccdflow.run.job.Job
        By product: jobs of this run that other processes do. In a batch's process these are jobs of
        other batches. Their records count like those of ``jobs``.
    groups : dict of str to ccdflow.run.job.Group
        By product.
    planned_products : set of str
        Products that stay or are made by this run; members enter before their master.
    unreadable_folders : dict of str to ccdflow.run.raw_frames.raw_folders.FolderProblem
        By the path of a folder of products (it ends in ``/``): why the folder cannot be read.
    raw_identities : dict of str to tuple of (int, int)
        The identities of the folders of raw files that jobs read
        (`ccdflow.run.raw_frames.folder_identities`).
    """

    store: HeaderStore
    ledger: dict[str, Record]
    jobs: dict[str, Job] = field(default_factory=dict)
    jobs_elsewhere: dict[str, Job] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    planned_products: set[str] = field(default_factory=set)
    unreadable_folders: dict[str, FolderProblem] = field(default_factory=dict)
    raw_identities: dict[str, tuple[int, int]] = field(default_factory=dict)
    _lookups: dict[object, object] = field(default_factory=dict, repr=False)

    def lookup(self, key, make):
        """Return the first result of ``make()`` for this key; it is constant in a run.

        Parameters
        ----------
        key : tuple of object
            A `ccdflow.run.lookups.Lookup`, and the values on which the result depends.
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
        ccdflow.run.raw_frames.rows.Row

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
        """Return whether a product stays or is made by this run; products of closed nights stay."""
        if product in self.planned_products:
            return True
        return (
            self.closed_nights is not None
            and self.closed_nights.notes.earlier_record(product) is not None
        )

    def is_closed(self, night):
        """Return whether a night is closed: this run does not plan it."""
        return self.closed_nights is not None and self.closed_nights.is_closed(night)

    def is_noted_group(self, product):
        """Return whether a product is a master, or a measurement of a detector, of a closed night.

        The groups of these products alone are noted: it is False for frames and pages.
        """
        return self.closed_nights is not None and product in self.closed_nights.noted_groups

    def summaries(self, name):
        """Return {night: the values noted under a name} of the closed nights."""
        return {} if self.closed_nights is None else self.closed_nights.summaries(name)

    def _rows_by_product(self):
        """Return {reduced frame: row of its raw frame}."""
        return self.lookup(
            (Lookup.ROWS_BY_PRODUCT,),
            lambda: {reduced_product(file): row for file, row in self.store.rows.items()},
        )

    @property
    def products(self):
        """The paths of the reduced frames of all rows, whether they exist or not."""
        return self._rows_by_product().keys()

    def row_of_product(self, product):
        """Return the row of the raw frame of a reduced frame."""
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
        return self.lookup((Lookup.ROWS_BY_NIGHT,), self._sorted_rows_by_night)

    def _sorted_rows_by_night(self):
        """Return {night: its rows, sorted by file}, made anew."""
        rows_by_night = {}
        for row in sorted(self.store.rows.values(), key=attrgetter("file")):
            rows_by_night.setdefault(row.night, []).append(row)
        return rows_by_night
