"""The state that a watch keeps from round to round, and the plan for new frames of a night alone.

A whole plan goes through all frames, because a frame of last year may have waited for one of
tonight. A new frame of the sky changes less at once: its own products, and the list, pictures and
page of its night. Its masters are those that the last whole plan chose. A product made in this way
has the key that a whole plan would give it; if not, the next whole round makes it again.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field, replace
from functools import cached_property

from ccdflow import paths
from ccdflow.files import file_access
from ccdflow.run import job_records, worker
from ccdflow.run.context import JobContext, PlanContext
from ccdflow.run.job import OF_A_FRAME, OF_A_MASTER, OF_A_NIGHT, Job
from ccdflow.run.lookups import Lookup
from ccdflow.run.nights.note_lines import NeedsWholePlan
from ccdflow.run.plan import Planner
from ccdflow.run.products.product_names import reduced_product
from ccdflow.run.products.product_stamps import ProductStamps
from ccdflow.run.raw_frames import inventory
from ccdflow.run.raw_frames.enabled_types import is_of_enabled_type
from ccdflow.run.raw_frames.header_store import HeaderStore
from ccdflow.run.raw_frames.rows import ARRIVING_STATUS, OK, Row

# The notes of a results folder: any process that has made a product has written one of them.
_NOTES = (paths.HEADERS, paths.LEDGER, paths.LATE_NOTES, paths.CLOSED_NIGHTS)


@dataclass
class ShortPlan:
    """The plan for new frames.

    Attributes
    ----------
    context : ccdflow.run.context.JobContext
    jobs : list of ccdflow.run.job.Job
    rows : list of ccdflow.run.raw_frames.rows.Row
        Rows of the new frames, as they were read.
    leaves_masters : bool
        Whether a whole plan has to make a master of these frames.
    nights_put_off : set of str
        Nights whose lists and pages are left to a later plan.
    """

    context: JobContext
    jobs: list[Job] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    leaves_masters: bool = False
    nights_put_off: set[str] = field(default_factory=set)


class WarmState:
    """The state that a watch keeps of a whole round.

    Parameters
    ----------
    session : ccdflow.run.session.Session
        It has ended; its inventory and ledger are as they are on the disk.
    reading : ccdflow.run.raw_frames.reading_settings.ReadingSettings

    Attributes
    ----------
    made_records : dict of str to ccdflow.run.job_records.Record
        Records of short rounds, by product: no ledger on the disk has them.
    context : ccdflow.run.context.JobContext
        The context of the whole round, without its jobs.
    leaves_masters : bool
        Whether a short round left masters to a whole one.
    """

    def __init__(self, session, reading):
        self.context = replace(session.context, jobs={}, jobs_elsewhere={})
        self.reading = reading
        self.leaves_masters = False
        self.made_records = {}
        self._note_stamps = self._stamps_of_notes()
        if self.context.closed_nights is not None:
            self.context.closed_nights.forget()

    def _stamps_of_notes(self):
        """Return size and times of the notes, which another process would change."""
        return [file_access.stamp_of(self.context.results / name) for name in _NOTES]

    def is_current(self):
        """Return whether no other process has written notes since; call it under the lock."""
        return self._note_stamps == self._stamps_of_notes()

    def notes(self, load):
        """Return inventory and ledger: those of this state, or as ``load`` reads them.

        Parameters
        ----------
        load : callable
            Called without an argument; returns inventory and ledger.

        Returns
        -------
        (ccdflow.run.raw_frames.header_store.HeaderStore, ccdflow.run.ledger.Ledger)
        """
        is_usable = self.is_whole and self.is_current()
        return (self.context.store, self.context.ledger) if is_usable else load()

    def release(self, load):
        """Return inventory and ledger as `notes` does, and free the rest of this state.

        Parameters
        ----------
        load : callable
            Called without an argument; returns inventory and ledger.

        Returns
        -------
        (ccdflow.run.raw_frames.header_store.HeaderStore, ccdflow.run.ledger.Ledger)
        """
        notes = self.notes(load)
        # The plan that takes the notes needs the memory of the contexts and lookups, which is freed
        # here.
        vars(self).clear()
        return notes

    @property
    def is_whole(self):
        """Whether the rows and records of all nights are kept, as the next plan needs them."""
        return self.context.closed_nights is None

    @cached_property
    def _rows_by_night(self):
        """The rows of each night by file."""
        rows_by_night = {}
        for row in self.context.store.rows.values():
            rows_by_night.setdefault(row.night, {})[row.file] = row
        return rows_by_night

    @cached_property
    def _groups_by_night(self):
        """The groups that each night's page shows, by product."""
        groups_by_night = {}
        for group in self.context.groups.values():
            groups_by_night.setdefault(group.night_of_page, {})[group.product] = group
        return groups_by_night

    @cached_property
    def _file_by_product(self):
        """The raw file of each reduced frame."""
        return {reduced_product(file): file for file in self.context.store.rows}

    @cached_property
    def _kept_lookups(self):
        """The lookups of masters and setups that the whole plan made."""
        master_kinds = {kind.name for kind in self.context.chain if kind.reach == OF_A_MASTER}
        return {
            name: value
            for name, value in self.context.lookups.items()
            if name[0].is_of_setups or (name[0].is_of_masters and name[1] in master_kinds)
        }

    # -- the plan ----------------------------------------------------------------------------------

    def plan(self, new_frames, *, nights_owed=frozenset(), makes_pages=True):
        """Read new frames and plan the products that are to be made of them now.

        Parameters
        ----------
        new_frames : dict of str to tuple
            Raw frames that are new or were incomplete before, with their stamps.
        nights_owed : set of str, optional
            Nights whose lists and pages were put off.
        makes_pages : bool, optional
            Whether lists and pages are planned; otherwise they are put off, and the earlier frames
            of a night are not gone through.

        Returns
        -------
        ShortPlan

        Raises
        ------
        NeedsWholePlan
            If they may change products of other frames; nothing is changed in that case.
        """
        rows, read_store = self._read_frames(new_frames)
        sound_rows = self._sound_rows(rows)
        light_rows = [
            row for row in sound_rows if row.facts["type"] not in self.context.chain.combined_types
        ]
        if light_rows and (self.leaves_masters or len(light_rows) < len(sound_rows)):
            raise NeedsWholePlan("masters are to be made before frames are calibrated with them")
        self._add_rows(rows, read_store)
        nights_of_light = nights_owed | {row.night for row in light_rows}
        nights = set()
        if nights_of_light and makes_pages:
            # All frames of a night whose page is planned have to be in the context.
            nights = nights_of_light | {row.night for row in sound_rows}
        short_plan = ShortPlan(
            self._context(nights, sound_rows), rows=rows,
            leaves_masters=len(light_rows) < len(sound_rows),
            nights_put_off=set() if makes_pages else set(nights_of_light),
        )  # fmt: skip
        stamps = ProductStamps(short_plan.context.results)
        planner = Planner(PlanContext.of(short_plan.context), stamps, set(), frozenset())
        for kind in _kinds_to_plan(short_plan.context.chain, light_rows, nights):
            kind.plan(planner)
        self._keep_changes(short_plan.context, planner.dropped_rows.values())
        short_plan.jobs = list(short_plan.context.jobs.values())
        self.leaves_masters |= short_plan.leaves_masters
        return short_plan

    def _sound_rows(self, rows):
        """Return the rows of frames that can be reduced, of the types that are processed."""
        settings = self.context.settings
        return [row for row in rows if row.status == OK and is_of_enabled_type(row, settings)]

    def _read_frames(self, new_frames):
        """Return the rows of raw frames, and the store that they were read into."""
        if any(self._has_twin(file) for file in new_frames):
            raise NeedsWholePlan("another raw file has the same product")
        rows_of_files = map(self.context.find_row, new_frames)
        earlier_rows = {row.file: row for row in rows_of_files if row is not None}
        store = HeaderStore(rows=dict(earlier_rows))
        inventory.update(store, self.reading, stamps_of_files=new_frames)
        if store.tracebacks:
            raise NeedsWholePlan("reading a frame ended in an error that was not foreseen")
        rows = [
            row for row in store.rows.values() if not _is_unchanged(row, earlier_rows.get(row.file))
        ]
        statuses_before = {
            earlier_rows[row.file].status for row in rows if row.file in earlier_rows
        }
        # A file that is written once more keeps its earlier row until it is complete.
        if store.rewritten_files or statuses_before - {ARRIVING_STATUS}:
            raise NeedsWholePlan("a frame was written once more")
        # Even a new folder may have frames of any night.
        if any(self.context.is_closed(row.night) for row in rows):
            raise NeedsWholePlan("a frame is of a closed night")
        return rows, store

    def _has_twin(self, file):
        """Return whether another raw file has, or may have, the same product."""
        product, closed = reduced_product(file), self.context.closed_nights
        nights = () if closed is None else closed.notes.nights_in(posixpath.dirname(file))
        if any(map(self.context.is_closed, nights)):
            # The frames of closed nights are not in this state.
            return True
        if self.reading.is_case_insensitive and product not in self._file_by_product:
            # On a disk that ignores capitals `A.fits` and `a.fits` become one product.
            folded = product.casefold()
            return any(each.casefold() == folded for each in self._file_by_product)
        return self._file_by_product.get(product, file) != file

    def _add_rows(self, rows, read_store):
        """Put new rows into this state."""
        store = self.context.store
        for name, value in read_store.shared.items():
            store.shared.setdefault(name, value)
        for row in rows:
            earlier_row = store.rows.get(row.file)
            if earlier_row is not None:
                self._rows_by_night[earlier_row.night].pop(row.file, None)
            self._file_by_product[reduced_product(row.file)] = row.file
            store.add(row)
            self._rows_by_night.setdefault(row.night, {})[row.file] = store.rows[row.file]

    def _context(self, nights, rows):
        """Return the context of some nights, with the given rows of other nights."""
        whole_context = self.context
        rows_by_file = {row.file: row for row in rows}
        for night in nights:
            rows_by_file |= self._rows_by_night[night]
        rows_by_night = {}
        for file in sorted(rows_by_file):
            rows_by_night.setdefault(rows_by_file[file].night, []).append(rows_by_file[file])
        groups = {}
        for night in nights:
            groups |= self._groups_by_night.setdefault(night, {})
        rows_by_product = _RowsByProduct(self._file_by_product, whole_context.store.rows)
        return replace(
            whole_context,
            store=replace(whole_context.store, rows=rows_by_file),
            ledger={},
            groups=groups,
            other_nights=whole_context,
            jobs={},
            jobs_elsewhere={},
            _lookups={
                **self._kept_lookups,
                (Lookup.ROWS_BY_PRODUCT,): rows_by_product,
                (Lookup.ROWS_BY_NIGHT,): rows_by_night,
            },
        )

    def _keep_changes(self, context, dropped_rows):
        """Put the rows, records and groups that the plan of some nights changed into this state."""
        whole_context = self.context
        whole_context.store.rows.update(context.store.rows)
        for row in dropped_rows:
            whole_context.store.rows.pop(row.file, None)
        whole_context.groups.update(context.groups)
        for product, record in context.ledger.items():
            whole_context.ledger[product] = record
        # From now on jobs and rounds change the records of this state alone.
        context.ledger.clear()

    # -- the work ----------------------------------------------------------------------------------

    def work(self, short_plan, *, cores, on_done):
        """Make the products of a plan; return the `ccdflow.run.worker.WorkResult`.

        Parameters
        ----------
        short_plan : ShortPlan
        cores : int
        on_done : callable
            Called with each record.

        Returns
        -------
        ccdflow.run.worker.WorkResult
        """
        result = worker.work_plan(
            short_plan.context,
            short_plan.jobs,
            threads=cores,
            on_done=on_done,
        )
        for record in result.records.values():
            if record.status in (job_records.MADE, job_records.REFUSED):
                record = record.ledger_record()
                self.context.ledger[record.product] = self.made_records[record.product] = record
        for product, group in short_plan.context.groups.items():
            self._groups_by_night.setdefault(group.night_of_page, {})[product] = group
        return result


def _kinds_to_plan(chain, light_rows, nights):
    """Return the first kind, and those of frames of the sky and of nights, if there are any."""
    reaches = {OF_A_FRAME, OF_A_NIGHT} if nights else {OF_A_FRAME} if light_rows else set()
    return [kind for kind in chain if kind is chain.first or kind.reach in reaches]


def _is_unchanged(row, earlier_row):
    """Return whether a row has the values of the earlier row: a round has seen the file already."""
    if earlier_row is None:
        return False
    new_values, earlier_values = (
        replace(one_row, stamp=(), packed="", flags="") for one_row in (row, earlier_row)
    )
    return new_values == earlier_values and tuple(row.facts.values()) == tuple(
        earlier_row.facts.values()
    )


class _RowsByProduct:
    """The rows of reduced frames by product, as a context looks them up.

    Parameters
    ----------
    file_by_product : dict of str to str
        Raw file of each product.
    rows : dict of str to ccdflow.run.raw_frames.rows.Row
        By raw file.
    """

    def __init__(self, file_by_product, rows):
        self._file_by_product, self._rows = file_by_product, rows

    def get(self, product, default=None):
        """Return the row of a product; the default where it has none."""
        file = self._file_by_product.get(product)
        return default if file is None else self._rows.get(file, default)

    def __getitem__(self, product):
        return self._rows[self._file_by_product[product]]

    def keys(self):
        """Return the products."""
        return self._file_by_product.keys()
