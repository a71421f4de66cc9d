"""A plan of the nights whose frames or products changed; all other nights stay closed.

The rows and records of closed nights stay on the disk (`ccdflow.run.nights.closed_nights`). The
kinds plan as they always do: their context lists the open nights only, finds other rows and records
by name, and has the notes of closed nights for tables, pages and lines. Closed nights that a new
master changes are opened as well. Where this may not be enough, `NeedsWholePlan` is raised, and the
whole archive is planned.
"""

from __future__ import annotations

import os
import posixpath
import time
from dataclasses import replace

from ccdflow import paths
from ccdflow.files import file_access
from ccdflow.run import job_records, ledger, plan
from ccdflow.run.context import JobContext
from ccdflow.run.job import OF_A_MASTER
from ccdflow.run.nights import archive_counts
from ccdflow.run.nights.closed_nights import read_closed_nights
from ccdflow.run.nights.night_notes import (
    NightNotes,
    changed_values,
    home_finder,
    ledger_of_nights,
)
from ccdflow.run.nights.note_lines import NeedsWholePlan
from ccdflow.run.products.product_stamps import ProductStamps
from ccdflow.run.raw_frames import inventory, raw_folders
from ccdflow.run.raw_frames.header_store import HeaderStore
from ccdflow.run.raw_frames.raw_verdicts import mark_bad_frames
from ccdflow.run.raw_frames.rows import SET_ASIDE, is_dated

# After this many attempts, each with further nights open, all nights are planned. Chosen: each
# attempt reads and plans the open nights anew.
_MOST_ATTEMPTS = 5


def plan_changed_nights(run_start, archive_state):
    """Plan the nights that are to be opened.

    Parameters
    ----------
    run_start : ccdflow.run.run_start.RunStart
        Its unsaved records are put into the ledger.
    archive_state : ccdflow.run.sealing.seal.State or None
        State of the archive as it is now.

    Returns
    -------
    ccdflow.run.plan.Plan
    record_files : list of str
        The files of records of jobs that are in the ledger now.

    Raises
    ------
    NeedsWholePlan
        If the whole archive has to be planned.
    """
    closed_nights = read_nights(run_start, archive_state)
    changes = _Changes(run_start.raw, archive_state, closed_nights)
    open_nights = changes.find_nights()
    closed_nights.changed_nights = frozenset(open_nights)
    for _ in range(_MOST_ATTEMPTS):
        attempt = _PlanAttempt(run_start, closed_nights.notes, changes)
        plan_of_nights, further_nights = attempt.plan(open_nights)
        if not further_nights:
            return plan_of_nights, attempt.record_files
        open_nights |= further_nights
    raise NeedsWholePlan("the nights that have to be opened do not come to an end")


def read_nights(run_start, archive_state):
    """Return the closed nights of an archive with their notes, if they are valid.

    Parameters
    ----------
    run_start : ccdflow.run.run_start.RunStart
    archive_state : ccdflow.run.sealing.seal.State or None
        State of the archive as it is now; None where there is work left over.

    Returns
    -------
    ccdflow.run.nights.closed_nights.ClosedNights

    Raises
    ------
    NeedsWholePlan
        If they are not valid: the whole archive has to be planned.
    """
    results = run_start.results
    closed_nights = read_closed_nights(results)
    if run_start.reading.is_case_insensitive:
        raise NeedsWholePlan("the disk of the results does not distinguish capitals")
    if archive_state is None:
        raise NeedsWholePlan("an earlier run has left work, or a folder cannot be looked into")
    if closed_nights.head["general"] != archive_state.general:
        raise NeedsWholePlan("settings, profiles or code have changed")
    closed_nights.notes = NightNotes(results, closed_nights)
    if file_access.stamp_of(results / paths.INVENTORY) != closed_nights.notes.table_stamp:
        raise NeedsWholePlan("inventory.csv is not as it was written")
    return closed_nights


# -- what has changed ------------------------------------------------------------------------------


class _Changes:
    """The folders that changed, and their nights.

    Parameters
    ----------
    raw : pathlib.Path
        The raw folder.
    archive_state : ccdflow.run.sealing.seal.State
        State of the archive as it is now.
    closed_nights : ccdflow.run.nights.closed_nights.ClosedNights
        With their notes.

    Attributes
    ----------
    folders : set of str
        The folders that changed: those of raw frames with ``raw/`` before their names, and those of
        products.
    product_folders : set of str
        The folders of products among them.
    raw_folders : list of str
        The folders of raw frames among them, without ``raw/``.
    stamps : dict of str to tuple of int
        The stamps of the raw frames in the folders that changed.
    """

    def __init__(self, raw, archive_state, closed_nights):
        self._raw_folder, self._notes, self._closed_nights = raw, closed_nights.notes, closed_nights
        noted_folders, current_folders = closed_nights.head["folders"], archive_state.folders
        self.folders = {
            name
            for name in noted_folders.keys() | current_folders.keys()
            if noted_folders.get(name) != current_folders.get(name)
        }
        self.folders |= self._notes.touched_folders
        self.raw_folders = sorted(
            name.removeprefix("raw/") for name in self.folders if name.startswith("raw/")
        )
        self.product_folders = {name for name in self.folders if not name.startswith("raw/")}
        self.stamps = {
            file: stamp for folder in self.raw_folders for file, stamp in self._list_frames(folder)
        }

    def _list_frames(self, folder):
        """Yield (file, stamp) of the raw frames of a folder."""
        prefix = f"{folder}/" if folder else ""
        try:
            with (
                raw_folders.open_folder(self._raw_folder / folder) as descriptor,
                os.scandir(descriptor) as entries,
            ):
                for entry in entries:
                    if paths.is_raw_name(entry.name) and not entry.is_dir():
                        yield prefix + entry.name, file_access.stamp_of(entry)
        except FileNotFoundError:
            return
        except OSError as error:
            raise NeedsWholePlan(f"{folder} cannot be read: {error}") from None

    def find_nights(self):
        """Return the nights that are to be opened, by the folders that changed."""
        nights = self._closed_nights.nights
        # Products that were made shortly before the machine stopped may be missing on the disk.
        boots = self._closed_nights.column("boots").items()
        changed_nights = {night for night, safe_times in boots if _needs_check(safe_times)}
        # A run reports on the last night, which is therefore opened. Nights that have late notes
        # alone were never closed.
        changed_nights |= {max(nights), *(self._notes.new_nights)}
        for folder in self.raw_folders:
            changed_nights.update(self._notes.nights_in(folder))
        night_by_segment = {paths.segment(night): night for night in nights}
        for name in self.product_folders:
            raw_folder, segment = paths.raw_folder_and_night(name)
            if raw_folder is not None:
                changed_nights.update(self._notes.nights_in(raw_folder))
            elif segment in night_by_segment:
                changed_nights.add(night_by_segment[segment])
        return changed_nights

    def check_folders(self, rows):
        """Raise `NeedsWholePlan` where a folder changed that belongs to none of the open nights.

        Parameters
        ----------
        rows : dict of str to ccdflow.run.raw_frames.rows.Row
            Rows of the open nights.

        Raises
        ------
        NeedsWholePlan
            For the first folder or file that belongs to no open night, and for a frame that is
            gone or whose path is no plain name.
        """
        folders = {posixpath.dirname(file) for file in rows}
        segments = {paths.segment(row.night) for row in rows.values()}
        changed_folders = set(self.raw_folders)
        for file in rows:
            if posixpath.dirname(file) in changed_folders and file not in self.stamps:
                raise NeedsWholePlan(f"{file} is gone")
            if not raw_folders.is_plain_name(file):
                raise NeedsWholePlan(f"{file!r} is not a plain name")
        for name in self.product_folders:
            if not _is_of_open_night(name, folders, segments):
                raise NeedsWholePlan(f"{name} belongs to no open night")


def _needs_check(safe_times):
    """Return whether a night is opened to see whether its latest products are on the disk.

    They may be missing if the machine has started since. Once enough time has passed they are on
    the disk, and are noted so.

    Parameters
    ----------
    safe_times : dict of str to float
        Time from which products are on the disk, s since the epoch, by start of the machine.
    """
    return any(
        boot != job_records.boot_id() or time.time() >= safe_time
        for boot, safe_time in safe_times.items()
    )


def _is_of_open_night(name, folders, segments):
    """Return whether a folder of products belongs to one of some raw folders, or to some night."""
    raw_folder, segment = paths.raw_folder_and_night(name)
    if raw_folder is not None:
        return raw_folder in folders
    if segment is not None:
        return segment in segments
    # The products in a camera's folder, which are of all nights, are planned in any case.
    return paths.is_of_all_nights(name)


# -- the plan --------------------------------------------------------------------------------------


def _masters_without_steps(groups):
    """Return {master: its kind, shared values and members}, without its steps."""
    return {group.product: (group.kind, group.shared, group.files) for group in groups}


class _PlanAttempt:
    """An attempt to plan with some nights open.

    Parameters
    ----------
    run_start : ccdflow.run.run_start.RunStart
        The state and the settings with which the run begins.
    notes : NightNotes
        Notes of the closed nights.
    changes : _Changes
        Folders that changed, and their nights.

    Attributes
    ----------
    record_files : list of str
        The files of records of jobs that are in the ledger now.
    """

    def __init__(self, run_start, notes, changes):
        self._run_start, self._chain = run_start, run_start.chain
        self._notes, self._closed_nights, self._changes = notes, notes.closed_nights, changes
        self.record_files = []

    def plan(self, open_nights):
        """Return (plan, nights that have to be opened as well).

        Raises
        ------
        NeedsWholePlan
            If no night would stay closed, a raw file is missing, or a change belongs to no open
            night.
        """
        closed_nights = self._closed_nights
        closed_nights.opened_nights = set(open_nights)
        if not closed_nights.unopened_nights:
            raise NeedsWholePlan("all nights have changed, or need what has changed")
        store = self._store(open_nights)
        records = ledger_of_nights(self._notes, sorted(open_nights))
        new_records = self._add_job_records(store, records)
        inventory.update(
            store,
            self._run_start.reading,
            stamps_of_files=self._changes.stamps,
            cores=self._run_start.cores,
            progress=self._run_start.progress,
        )
        rows = dict(store.rows)
        further_nights = {row.night for row in rows.values() if closed_nights.is_closed(row.night)}
        if further_nights:
            return None, further_nights
        if any(row.gone for row in rows.values()):
            raise NeedsWholePlan("a raw file is missing")
        self._changes.check_folders(rows)
        context = self._context(store, records)
        self._check_homes(context, new_records)
        plan_of_nights = plan.make_plan(
            context, stamps=ProductStamps(context.results, self._changes.product_folders)
        )
        first_kind = self._chain.first.name
        plan_of_nights.planned_counts[first_kind] = plan_of_nights.planned_counts.get(
            first_kind, 0
        ) + archive_counts.n_frames_of_closed_nights(context)
        return plan_of_nights, self._dependent_nights(context, plan_of_nights)

    def _add_job_records(self, store, records):
        """Put the records that jobs have left into the ledger, and return them by product."""
        unsaved = self._run_start.unsaved_records
        if unsaved is None:
            return {}
        earlier_records = dict(records)
        self.record_files, unmade = ledger.fold(
            self._notes.results, records, checks_files=True, noted_records=unsaved
        )
        mark_bad_frames(store, unmade)
        return changed_values(records, earlier_records)

    def _check_homes(self, context, records):
        """Raise `NeedsWholePlan` where a record is not of an open night."""
        find_home = home_finder(context)
        for record in records.values():
            try:
                night = find_home(record)
            except KeyError:
                raise NeedsWholePlan(f"{record.product} belongs to no open night") from None
            if night and self._closed_nights.is_closed(night):
                raise NeedsWholePlan(f"{record.product} belongs to a closed night")

    def _store(self, open_nights):
        """Return the store of the rows of the open nights."""
        rows = {}
        for night in sorted(open_nights):
            rows |= self._notes.rows(night)
        store = HeaderStore(
            rows=rows, shared=dict(self._notes.shared),
            table_stamp=self._notes.table_stamp, saved_rows=dict(rows),
        )  # fmt: skip
        store.reason_by_file = {
            row.file: row.reason for row in rows.values() if row.status == SET_ASIDE
        }
        return store

    def _context(self, store, records):
        """Return the context of a plan of the open nights."""
        run_start, reading = self._run_start, self._run_start.reading
        context = JobContext(
            settings=run_start.settings,
            raw=run_start.raw,
            results=run_start.results,
            store=store,
            ledger=records,
            chain=self._chain,
            outdated_files=frozenset(inventory.outdated_files(store, reading)),
            cameras=reading.cameras,
            closed_nights=self._closed_nights,
            other_nights=self._notes,
        )
        _restore_closed_nights(context)
        return context

    def _dependent_nights(self, context, plan_of_nights):
        """Return the closed nights that depend on the products of this plan."""
        closed_nights = self._closed_nights
        reach_by_kind = {kind.name: kind.reach for kind in self._chain}
        groups_by_night = {}
        for group in context.groups.values():
            if reach_by_kind[group.kind] == OF_A_MASTER:
                groups_by_night.setdefault(group.night_of_page, []).append(group)
        nights_with_new_masters = {
            job.night
            for job in plan_of_nights.jobs.values()
            if reach_by_kind[job.kind] == OF_A_MASTER
        }
        new_groups = []
        for night in closed_nights.opened_nights | groups_by_night.keys():
            current_groups = groups_by_night.get(night, [])
            noted_groups = closed_nights.groups_of(night)
            is_new = (
                _masters_without_steps(noted_groups) != _masters_without_steps(current_groups)
                or night in nights_with_new_masters
            )
            if is_new and not closed_nights.is_closed(night):
                new_groups += current_groups + noted_groups
        if new_groups:
            self._check_order(new_groups)
            self._check_copies(context, new_groups)
        return {
            night for kind in self._chain for night in kind.nights_to_open(context, new_groups)
        } - closed_nights.opened_nights

    def _check_order(self, new_groups):
        """Raise `NeedsWholePlan` unless new masters are of later nights than all closed ones."""
        last = max(filter(is_dated, self._closed_nights.unopened_nights), default="")
        if not all(
            is_dated(group.night_of_page) and group.night_of_page > last for group in new_groups
        ):
            raise NeedsWholePlan("a night with masters of its own is not the last one")

    def _check_copies(self, context, new_groups):
        """Raise `NeedsWholePlan` where a new frame is a copy of one of a closed night."""
        fingerprints = {
            context.row(file).fingerprint for group in new_groups for file in group.files
        }
        noted_fingerprints = self._closed_nights.column("prints")
        for night in self._closed_nights.unopened_nights:
            if not fingerprints.isdisjoint(noted_fingerprints[night].split()):
                raise NeedsWholePlan(f"a frame is a copy of one of {night}")


def _restore_closed_nights(context):
    """Give a context the values that the notes of its closed nights have."""
    closed_nights = context.closed_nights
    for night in closed_nights.unopened_nights:
        for group in closed_nights.groups_of(night):
            context.groups[group.product] = group
    closed_nights.noted_groups = frozenset(context.groups)
    for kind in context.chain:
        kind.restore(context, closed_nights.notes_of_kind(kind.name))


def plan_again(context):
    """Plan the rows of a run once more, with the records that the run has left.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
        Context of a run that has ended.

    Returns
    -------
    ccdflow.run.plan.Plan

    Raises
    ------
    NeedsWholePlan
        If the whole archive has to be planned.
    """
    new_context = replace(
        context,
        jobs={},
        jobs_elsewhere={},
        groups={},
        planned_products=set(),
        unreadable_folders={},
        _lookups={},
    )
    if context.closed_nights is None:
        return plan.make_plan(new_context)
    _restore_closed_nights(new_context)
    return plan.make_plan(new_context, stamps=ProductStamps(context.results))


# -- what a run changed ----------------------------------------------------------------------------


def save_partial_plan(context):
    """Write ``inventory.csv``, and the late notes if they changed.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
        Context of a plan of open nights.
    """
    context.closed_nights.notes.save(context)
