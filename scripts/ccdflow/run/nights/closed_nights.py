"""Closed nights: all their products are current, and a note has their facts for other nights.

A run that finds nothing to do leaves, beside its seal, a note of each night: the ranges of its rows
and records in the notes of the archive, the groups of its masters, and its part of tables, pages
and last lines (`ccdflow.kinds.kind.Kind.summary`). While the folders of a night, the settings, the
profiles and the code are unchanged, the next run need not load its frames: it opens the nights that
changed (`ccdflow.run.nights.partial_plan`), plans these, and takes the others from the note.

The note only saves time: a run that is in doubt plans the whole archive.
"""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from contextlib import suppress
from dataclasses import fields
from functools import cache
from itertools import chain
from pathlib import Path

from ccdflow import paths
from ccdflow.files import file_access
from ccdflow.files.text_files import note_columns
from ccdflow.run import job_records, late_notes
from ccdflow.run.context import PlanContext
from ccdflow.run.job import OF_A_FRAME, OF_A_MASTER, OF_A_NIGHT, ClosedGroup, Group
from ccdflow.run.master_choices import Missing, Step, Use
from ccdflow.run.nights import archive_counts, note_lines
from ccdflow.run.nights.note_lines import NeedsWholePlan, NothingClosed
from ccdflow.run.raw_frames.raw_folders import is_plain_name
from ccdflow.run.raw_frames.rows import FACTS, Row, digest, plain_row

FORM_VERSION = 4
"""Raise it when a change alters the meaning of a field of the note: nights are closed anew."""

# The beginning of the names of columns with summaries of nights.
_SUMMARY_PREFIX = "summary: "
# The fields of a group in the note. Its steps are as long as all other fields and seldom used, so
# they have a column of their own.
_GROUP_FIELDS = ("product", "night", "camera", "shared", "files", "nights", "kind", "measurements")
# The files of rows and records, to which the note refers.
_FILES = (paths.HEADERS, paths.LEDGER)


class ClosedNights:
    """The closed nights, and the nights among them that this run opened again.

    Methods that read a column raise `NeedsWholePlan` if the note was written anew since.

    Parameters
    ----------
    columns : ccdflow.files.text_files.note_columns.Columns
        The columns of their note, each of which is read when it is first used.

    Attributes
    ----------
    head : dict of str to object
        The part of the note on the archive.
    nights : list of str
        All nights of the note, sorted.
    opened_nights : set of str
        Nights that are planned by this run.
    changed_nights : frozenset of str
        The opened nights whose own folders changed.
    noted_groups : frozenset of str
        The masters, and the measurements of detectors, of the nights that stay closed.
    notes : ccdflow.run.nights.night_notes.NightNotes or None
        None until `ccdflow.run.nights.partial_plan` has opened the notes.
    """

    def __init__(self, columns):
        self.head, self.nights = columns.shared_values, columns.names
        self.opened_nights, self.noted_groups, self.notes = set(), frozenset(), None
        self.changed_nights = frozenset()
        self._columns = columns
        self._index_of = {night: index for index, night in enumerate(self.nights)}
        self._values_by_column, self._parsed_cells_by_column = {}, {}
        self._groups_by_night, self._cells_to_pop = {}, {}
        # Equal values are kept once: 30,000 masters have a few cameras and setups.
        self._shared_values = {}

    def __contains__(self, night):
        return night in self._index_of

    def notes_of_kind(self, name):
        """Return the facts that a kind of products noted on the archive, its `facts_to_note`.

        Parameters
        ----------
        name : str
            Name of the kind.

        Returns
        -------
        object
            As JSON has it.
        """
        return self.head["kept"][name]

    @property
    def stamps_of_notes(self):
        """Size and times of the files of notes, by path, when the nights were closed."""
        return dict(zip(_FILES, map(tuple, self.head["files"]), strict=True))

    def is_current_in(self, results):
        """Return whether the note refers to the rows and records that a results folder now has."""
        return self.head["files"] == _stamps_of_noted_files(results)

    def forget(self):
        """Forget all values of the note and its nights; they are read again when needed."""
        for values in (
            self._values_by_column, self._parsed_cells_by_column,
            self._groups_by_night, self._cells_to_pop,
        ):  # fmt: skip
            values.clear()
        self.notes.forget()

    def is_closed(self, night):
        """Return whether nothing of a night is planned by this run."""
        return night in self._index_of and night not in self.opened_nights

    @property
    def unopened_nights(self):
        """The nights that this run does not open."""
        return [night for night in self.nights if night not in self.opened_nights]

    @property
    def safe_time(self):
        """The time from which all products of closed nights are on the disk, s since the epoch."""
        boots = self.column("boots")
        return max(
            (safe_time for night in self.unopened_nights for safe_time in boots[night].values()),
            default=0,
        )

    def cells(self, name):
        """Return {night: the cell of a column, as bytes}.

        Raises
        ------
        NeedsWholePlan
            If the note was written anew.
        """
        if name not in self._columns:
            return dict.fromkeys(self.nights, b"")
        try:
            return dict(zip(self.nights, self._columns.cells(name), strict=True))
        except (note_columns.NotAsWritten, OSError) as error:
            raise NeedsWholePlan(str(error)) from None

    def column(self, name):
        """Return {night: value} of a column; None for a night without one."""
        if name not in self._values_by_column:
            values = note_columns.values(self.cells(name).values())
            self._values_by_column[name] = dict(zip(self.nights, values, strict=True))
        return self._values_by_column[name]

    def value(self, name, night):
        """Return the value of a column for one night; the others are not parsed.

        Parameters
        ----------
        name : str
            Name of the column.
        night : str

        Returns
        -------
        object
            Plain; None where there is none.
        """
        if name not in self._parsed_cells_by_column:
            self._parsed_cells_by_column[name] = _ParsedCells(self.cells(name))
        return self._parsed_cells_by_column[name].value(night)

    def pop_value(self, name, night):
        """Return the value of a column for one night, and keep neither it nor its cell.

        Parameters
        ----------
        name : str
            Name of the column.
        night : str

        Returns
        -------
        object
            Plain; None where there is none, or it was popped before.
        """
        if name not in self._cells_to_pop:
            self._cells_to_pop[name] = self.cells(name)
        cell = self._cells_to_pop[name].pop(night, b"")
        return json.loads(cell) if cell else None

    def summaries(self, name):
        """Return the values that each closed night has under a name.

        Raises
        ------
        NeedsWholePlan
            If a night has none.
        """
        summaries = self.column(_SUMMARY_PREFIX + name)
        summaries_of_closed = {night: summaries[night] for night in self.unopened_nights}
        if None in summaries_of_closed.values():
            raise NeedsWholePlan(f"{name} was not noted of all nights")
        return summaries_of_closed

    def groups_of(self, night):
        """Return the groups of the masters, and of the measurements of detectors, of a night."""
        if night not in self._groups_by_night:
            values_of_groups = self.pop_value("groups", night) or ()
            self._groups_by_night[night] = [
                self._make_group(night, index, values)
                for index, values in enumerate(values_of_groups)
            ]
        return self._groups_by_night[night]

    def _make_group(self, night, index, values):
        """Return a group of a night; its steps, the longest part, are parsed when asked for."""
        steps = lambda: _steps_of(self.value("steps", night)[index])  # noqa: E731
        return _group_of(values, steps, self._shared_values)

    @property
    def column_names(self):
        """The names of all columns."""
        return list(self._columns)


class _ParsedCells:
    """The values of the cells of a column, each parsed when it is first asked for."""

    def __init__(self, cells):
        self._cells, self._values = cells, {}

    def value(self, night):
        """Return the value for a night, None for none."""
        if night not in self._values:
            cell = self._cells.get(night)
            self._values[night] = json.loads(cell) if cell else None
        return self._values[night]


def read_closed_nights(results):
    """Return the `ClosedNights` of a results folder.

    Raises
    ------
    NothingClosed
        If there are none.
    NeedsWholePlan
        If their note is damaged, of another version, or refers to other rows and records; and if
        the late notes that it needs are lost.
    """
    path = Path(results) / paths.CLOSED_NIGHTS
    columns = note_columns.read_columns(path)
    if columns is None and not path.exists():
        raise NothingClosed("no night was ever closed")
    if columns is None:
        raise NeedsWholePlan("the notes of closed nights are damaged")
    shared_values = columns.shared_values
    if not isinstance(shared_values, dict) or shared_values.get("form") != _version_of_note():
        raise NeedsWholePlan("the notes of closed nights are of another version of ccdflow")
    closed_nights = ClosedNights(columns)
    if not closed_nights.is_current_in(results):
        raise NeedsWholePlan("inventory or ledger are not those that nights were closed with")
    if shared_values["since"] and set(late_notes.read_late_notes(results).heads) != {
        "rows",
        "records",
    }:
        raise NeedsWholePlan("the late notes, of frames since nights were closed, are lost")
    return closed_nights


@cache
def _version_of_note():
    """Return the version of the note, with a hash of the names of the fields in it."""
    names = [[each.name for each in fields(kept)] for kept in (Group, Step, Use, Missing, Row)]
    return f"{FORM_VERSION} {digest([_GROUP_FIELDS, FACTS, names])}"


def _stamps_of_noted_files(results):
    """Return size and times of the files of rows and records, to which the note refers."""
    return [list(file_access.stamp_of(Path(results) / name)) for name in _FILES]


def remove_closed_nights(results):
    """Remove the note of closed nights."""
    with suppress(FileNotFoundError):
        (Path(results) / paths.CLOSED_NIGHTS).unlink()


# -- the note --------------------------------------------------------------------------------------


def note_all_nights(context, state, older_headers):
    """Note all nights of an archive in which nothing is to be done.

    The note is removed if a night cannot be planned without the others.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
        Context of an empty plan; its inventory and ledger are as they are on the disk.
    state : ccdflow.run.sealing.seal.State
        The state before the plan was made.
    older_headers : dict of str to list of str
        As `ccdflow.run.plan.Plan` has them.
    """
    try:
        # A `PlanContext` keeps values on outcomes, which the frames of a night share.
        context = PlanContext.of(context)
        homes = _Homes(context)
        _check_independence(context, homes)
        counts = homes.count_products(older_headers)
        notes = {
            night: _note_of_night(context, night, homes, counts[night]) for night in homes.nights
        }
        path, shared_values = (
            context.results / paths.CLOSED_NIGHTS,
            _archive_values(context, state, homes),
        )
        nights = sorted(
            {
                *notes,
                *(() if context.closed_nights is None else context.closed_nights.unopened_nights),
            }
        )
        note_columns.write_columns(
            path,
            _columns_of(context.closed_nights, notes, nights),
            shared_values=shared_values,
            names=nights,
        )
    except NeedsWholePlan:
        remove_closed_nights(context.results)


def note_new_ranges(results, closed_nights, ranges):
    """Write the new ranges of the rows and records of all nights into their note.

    Parameters
    ----------
    results : pathlib.Path
    closed_nights : ClosedNights
        As it was read before the rows and records were written anew.
    ranges : dict of str to (dict of str to list of [int, int])
        Ranges of the rows and of the records, by night; of records of no single night under ''.

    Raises
    ------
    NeedsWholePlan
        If a night is not in the note, or the note is not as it was.
    OSError
        If the note cannot be written.
    """
    if not set().union(*ranges.values()) <= {"", *closed_nights.nights}:
        raise NeedsWholePlan("there are nights that were never closed")
    shared_values = {
        **closed_nights.head,
        "files": _stamps_of_noted_files(results),
        "since": False,
        "late": [],
    }
    shared_values["always"] = ranges["records"].get("", [])

    def columns():
        """Yield (name, cells of all nights) of each column, with the new places of lines."""
        for name in closed_nights.column_names:
            cells, ranges_of_name = closed_nights.cells(name), ranges.get(name)
            if ranges_of_name is not None:
                cells = {
                    night: note_columns.cell(ranges_of_name.get(night, []))
                    for night in closed_nights.nights
                }
            yield name, list(cells.values())

    path = results / paths.CLOSED_NIGHTS
    note_columns.write_columns(
        path, columns(), shared_values=shared_values, names=closed_nights.nights
    )


def _columns_of(closed_nights, notes, nights):
    """Yield name and cells of each column: cells of nights that were not opened are copied."""
    names = () if closed_nights is None else closed_nights.column_names
    for name in dict.fromkeys(chain(names, *notes.values())):
        cells = {} if closed_nights is None else closed_nights.cells(name)
        cells |= {
            night: note_columns.cell(summary[name]) if name in summary else b""
            for night, summary in notes.items()
        }
        yield name, [cells.get(night, b"") for night in nights]


class _Homes:
    """The homes of rows and records: the night to which each belongs, '' for the archive.

    Attributes
    ----------
    nights : list of str
        All nights, sorted.
    night_by_file : dict of str to str
        The night of each raw file.
    records : dict of str to list of ccdflow.run.job_records.Record
        The records of each night; under '' those of the archive.
    ranges : dict of str to dict
        Where the rows and records of each night are in the notes; {} beside closed nights.
    """

    def __init__(self, context):
        self._context = context
        rows = context.store.rows.values()
        self.nights = sorted({row.night for row in rows})
        self._night_by_segment = {paths.segment(night): night for night in self.nights}
        self.night_by_file = {row.file: row.night for row in rows}
        self._night_by_product = {paths.reduced_frame(row.file): row.night for row in rows}
        self._reach_by_kind = {kind.name: kind.reach for kind in context.chain}
        self.records = {night: [] for night in ("", *self.nights)}
        for product, record in context.ledger.items():
            self.records[self.night_of_record(product, record.kind)].append(record)
        self.ranges = self._ranges()

    def night_of_record(self, product, kind):
        """Return the night that a product is about alone, '' for none.

        Raises
        ------
        NeedsWholePlan
            If the product belongs to no night that is known, or its kind is not in the chain.
        """
        try:
            reach = self._reach_by_kind[kind]
            if reach == OF_A_FRAME:
                _, _, path_of_frame = product.partition("/")
                return self._night_by_product[f"{paths.REDUCED_FOLDER}/{path_of_frame}"]
            if reach == OF_A_NIGHT:
                return self._night_by_segment[paths.night_of_product(product)]
        except KeyError:
            # The product is of a kind that is gone, or has an earlier path.
            raise NeedsWholePlan(f"{product} belongs to no night") from None
        return ""

    def count_products(self, products_by_kind):
        """Return {night: {kind: number}} of products that are planned with their night alone.

        Parameters
        ----------
        products_by_kind : dict of str to list of str

        Returns
        -------
        dict of str to (dict of str to int)
        """
        groups = self._context.groups
        counts = {night: Counter() for night in self.nights}
        for kind, products in products_by_kind.items():
            for product in products:
                night = self.night_of_record(product, kind)
                if self._reach_by_kind[kind] == OF_A_MASTER:
                    night = groups[product].night_of_page
                if night:
                    counts[night][kind] += 1
        return counts

    def _ranges(self):
        """Return {"rows", "records"}: {night: ranges of the notes}; {} beside closed nights."""
        context = self._context
        if context.closed_nights is not None:
            return {"rows": {}, "records": {}}
        records = context.ledger
        row_ranges = note_lines.ranges_of(
            context.results / paths.HEADERS, sorted(self.night_by_file), self.night_by_file.get
        )
        record_ranges = note_lines.ranges_of(
            context.results / paths.LEDGER, sorted(records),
            lambda product: self.night_of_record(product, records[product].kind),
        )  # fmt: skip
        return {"rows": row_ranges, "records": record_ranges}


def _check_independence(context, homes):
    """Raise `NeedsWholePlan` where a night cannot be planned without the others."""
    if not all(kind.can_close(context) for kind in context.chain):
        raise NeedsWholePlan("the settings let nights depend on one another")
    for file in homes.night_by_file:
        if not is_plain_name(file):
            raise NeedsWholePlan(f"{file!r} is not a plain name")
    if context.unreadable_folders:
        raise NeedsWholePlan("a folder cannot be looked into")


def _archive_values(context, state, homes):
    """Return the values on which the notes of all nights depend."""
    closed_nights = context.closed_nights
    ranges_of_no_night = (
        homes.ranges["records"].get("", [])
        if closed_nights is None
        else closed_nights.head["always"]
    )
    return {
        "form": _version_of_note(),
        "files": _stamps_of_noted_files(context.results),
        "since": late_notes.has_late_notes(context.results),
        "late": late_notes.stamp_of_late_notes(context.results),
        "general": state.general,
        "folders": state.folders,
        "always": ranges_of_no_night,
        "kept": {kind.name: kind.facts_to_note(context) for kind in context.chain},
    }


def _safe_times_by_boot(records):
    """Return {start of the machine: time from which the products made since are on the disk}.

    The start is the identifier that the kernel gives it; the time is in seconds since the epoch.
    """
    safe_times = {}
    for record in records:
        if record.boot and record.stamp:
            safe_time = record.stamp[2] / 1e9 + job_records.SETTLED_SECONDS
            safe_times[record.boot] = max(safe_times.get(record.boot, 0), safe_time)
    return safe_times


def _note_of_night(context, night, homes, older_headers):
    """Return the note of a night: plain values by the names of their columns.

    Parameters
    ----------
    context : ccdflow.run.context.PlanContext
    night : str
    homes : _Homes
    older_headers : dict of str to int
        By kind, the number of its products that have a header of an older version.
    """
    rows, records = context.rows_of(night), homes.records[night]
    reach_by_kind = {kind.name: kind.reach for kind in context.chain}
    groups = [
        group
        for group in context.groups.values()
        if reach_by_kind[group.kind] == OF_A_MASTER and group.night_of_page == night
    ]
    counts = archive_counts.counts_of_night(context, night, records, older_headers)
    summaries = {archive_counts.COUNTS_NOTE: counts}
    for kind in context.chain:
        summaries |= kind.summary(context, night, records)
    combined = context.chain.combined_types
    return {
        "rows": _ranges_of_night(context, homes, "rows", night),
        "records": _ranges_of_night(context, homes, "records", night),
        "folders": sorted({posixpath.dirname(row.file) for row in rows}),
        "boots": _safe_times_by_boot(records),
        "prints": " ".join(row.fingerprint for row in rows if row.facts["type"] in combined),
        "groups": [[getattr(group, name) for name in _GROUP_FIELDS] for group in groups],
        "steps": [group.as_dict()["steps"] for group in groups],
        "firsts": [
            plain_row(context.row(file))
            for file in dict.fromkeys(group.files[0] for group in groups if group.files)
        ],
        **{_SUMMARY_PREFIX + name: value for name, value in summaries.items()},
    }


def _ranges_of_night(context, homes, name, night):
    """Return (offset, length) in bytes of the parts of a file of notes with a night's lines.

    The ranges of a night that was closed before are those of its note.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    homes : _Homes
        Places of the lines of nights that are not closed.
    name : {'rows', 'records'}
        File of notes: that of the rows, or of the records.
    night : str
    """
    if context.closed_nights is not None and night in context.closed_nights:
        return context.closed_nights.value(name, night)
    return homes.ranges[name].get(night, [])


def _group_of(values, steps, shared_values):
    """Return the group of the values of `_GROUP_FIELDS`.

    Parameters
    ----------
    values : list of object
        One for each of `_GROUP_FIELDS`, as JSON has them.
    steps : callable
        Called without an argument, when the steps are first asked for; returns them.
    shared_values : dict of object to object
        The values of other groups, each by itself: an equal value is taken from here, a new one is
        added.
    """
    group = dict(zip(_GROUP_FIELDS, values, strict=True))
    group |= {name: tuple(group[name]) for name in ("files", "nights", "measurements")}
    group["shared"] = tuple(map(tuple, group["shared"]))
    for name in ("night", "camera", "shared", "nights", "kind", "measurements"):
        group[name] = shared_values.setdefault(group[name], group[name])
    return ClosedGroup(**group, steps=steps)


def _steps_of(values):
    """Return the steps that a note has as plain values."""
    return tuple(map(Step.from_dict, values))
