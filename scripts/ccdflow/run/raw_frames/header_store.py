"""The remembered headers of all raw frames, in memory and on the disk."""

from __future__ import annotations

import json
import pickle
from collections import deque
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path

from ccdflow import paths
from ccdflow.camera.geometry import Amplifier, Geometry
from ccdflow.camera.reduction_recipe import ReductionRecipe
from ccdflow.errors import FrameError
from ccdflow.files import file_access
from ccdflow.files.text_files import checked_lines, json_text
from ccdflow.run import late_notes
from ccdflow.run.raw_frames import older_rows
from ccdflow.run.raw_frames.inventory_table import COLUMNS, TABLE_VERSION, write_inventory
from ccdflow.run.raw_frames.rows import (
    FACTS,
    OK,
    OWN_TEXTS,
    SET_ASIDE,
    Facts,
    Row,
    digest,
    plain_row,
    row_with_shared_texts,
)

READING_VERSION = 16
"""Raise it when a change to the reading of headers alters a value of a row: all headers are then
read again."""

# The indices of geometry and recipe in the plain values of a row.
_GEOMETRY_INDEX, _RECIPE_INDEX = (3 + OWN_TEXTS.index(name) for name in ("geometry", "recipe"))


@dataclass
class HeaderStore:
    """The remembered headers of the raw frames.

    Attributes
    ----------
    rows : dict of str to Row
    shared : dict of str to dict
        Geometries and recipes by the hash of their canonical form: thousands of frames have few.
    table_stamp : tuple of int
        Size and times of ``inventory.csv`` when it last agreed with the rows.
    saved_rows : dict of str to Row
        The rows as they are on the disk.
    reason_by_file : dict of str to str
        Why files were set aside when the store was loaded, or by a job since.
    has_late_notes : bool
        Whether some of the rows are in the late notes; the next writing puts them among the others.
    n_lost : int
        Number of rows that are lost because the file of notes is damaged.
    tracebacks : dict of str to str
        Tracebacks of unforeseen errors in the reading of files.
    rewritten_files : set of str
        Files that keep their earlier rows, because the last reading found them incomplete, changing
        or gone.
    texts : dict of str to str
        The texts of the rows, each by itself: equal texts, which thousands of rows have, are kept
        once.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    shared: dict[str, dict[str, object]] = field(default_factory=dict)
    table_stamp: tuple[int, ...] = ()
    saved_rows: dict[str, Row] = field(default_factory=dict, compare=False)
    reason_by_file: dict[str, str] = field(default_factory=dict, compare=False)
    has_late_notes: bool = field(default=False, compare=False)
    n_lost: int = field(default=0, compare=False)
    tracebacks: dict[str, str] = field(default_factory=dict, compare=False)
    rewritten_files: set[str] = field(default_factory=set, compare=False)
    texts: dict[str, str] = field(default_factory=dict, compare=False)
    _geometries: dict[str, Geometry] = field(default_factory=dict, compare=False, repr=False)
    _names: dict[object, str] = field(default_factory=dict, compare=False, repr=False)
    # Chosen: frames of a night have two or three geometries and recipes.
    _last_values: deque = field(default_factory=lambda: deque(maxlen=8), compare=False, repr=False)

    def geometry(self, name):
        """Return the `ccdflow.camera.geometry.Geometry` of a name, as in ``Row.geometry``."""
        if name not in self._geometries:
            self._geometries[name] = Geometry.from_canonical(self.shared[name])
        return self._geometries[name]

    def recipe(self, name):
        """Return the `ReductionRecipe` of a name, as in ``Row.recipe``."""
        return ReductionRecipe.from_canonical(self.shared[name])

    def share_value(self, value):
        """Put a JSON-able value among the shared ones, and return its name."""
        # Neighbouring frames have the same object.
        for known_value, name in self._last_values:
            if known_value is value:
                return name
        # Thousands of frames have the same few values: to pickle one takes a fifth of the time of
        # its canonical text.
        pickled = pickle.dumps(value)
        name = self._names.get(pickled)
        if name is None:
            name = self._names[pickled] = digest(value)
        self.shared.setdefault(name, value)
        self._last_values.append((value, name))
        return name

    def add(self, row):
        """Put a row into the store, in place of an earlier one of its file."""
        self.rows[row.file] = row_with_shared_texts(plain_row(row), self.texts)

    def add_read_row(self, values, geometry, recipe):
        """Put a row that was read from a file into the store, with its geometry and recipe.

        Parameters
        ----------
        values : list of object
            As `ccdflow.run.raw_frames.rows.plain_row` returns them.
        geometry, recipe : dict of str to object, or None
            In canonical form.
        """
        if geometry is not None:
            values[_GEOMETRY_INDEX], values[_RECIPE_INDEX] = (
                self.share_value(geometry),
                self.share_value(recipe),
            )
        row = self.rows[values[0]] = row_with_shared_texts(values, self.texts)
        # A good row without a newly read geometry is the earlier row of a file that is being
        # written once more, or that went away.
        if geometry is None and row.status == OK and not row.gone:
            self.rewritten_files.add(row.file)


# -- the store on disk ---------------------------------------------------------------------------


def load_store(results):
    """Return the store of a results folder; an empty one if it is absent or unreadable.

    The loss of the store costs time, never a product: all headers are read again. They are also
    read again if another version of ccdflow read them in another way. Rows of missing raw files are
    kept.
    """
    file_lines = checked_lines.read_lines(
        Path(results) / paths.HEADERS, Path(results) / paths.COPIES_OF_FIRST_LINES[paths.HEADERS]
    )
    head = file_lines.head
    if not {"facts", "shared", "table"} <= head.keys():
        return HeaderStore()
    later = late_notes.read_late_notes(results)
    late_head = head | later.heads.get("rows", {})
    reader, late_reader = RowReader(head), RowReader(late_head)
    store = HeaderStore(
        shared=head["shared"] | late_head["shared"], table_stamp=late_reader.table_stamp
    )
    try:
        _add_rows(store, reader, file_lines)
        for row in map(late_reader.row, later.rows):
            store.add(row)
    except (ValueError, TypeError):
        # The lines are no rows: another version wrote them in a form that is unknown here.
        return HeaderStore()
    is_of_another_version = reader.is_of_another_version or late_reader.is_of_another_version
    if is_of_another_version or not file_lines.is_whole:
        _drop_unreadable(store)
    else:
        store.saved_rows = dict(store.rows)
    store.has_late_notes = late_notes.has_late_notes(results)
    rows_set_aside = (row for row in store.rows.values() if row.status == SET_ASIDE)
    store.reason_by_file = {row.file: row.reason for row in rows_set_aside}
    return store


def _add_rows(store, reader, file_lines):
    """Put the rows of sound lines into a store, and count those that are lost.

    Parameters
    ----------
    store : HeaderStore
        Gets the rows.
    reader : RowReader
        Reader of these notes.
    file_lines : ccdflow.files.text_files.checked_lines.CheckedLines
        The lines after the first one are used up.
    """
    n_damaged = 0
    for line in file_lines.lines:
        if file_lines.is_whole or reader.is_sound(line):
            store.add(reader.row(line))
        else:
            n_damaged += 1
    store.n_lost = file_lines.n_lost(len(store.rows), n_damaged)


def _drop_unreadable(store):
    """Drop the rows whose geometry or recipe another version wrote in a form that is unknown."""
    is_readable_by_names = {}
    for file, row in list(store.rows.items()):
        names = (row.geometry, row.recipe)
        if names not in is_readable_by_names:
            is_readable_by_names[names] = _is_readable(store, *names)
        if not is_readable_by_names[names]:
            del store.rows[file]
            for name in names:
                store.shared.pop(name, None)


def _is_readable(store, geometry, recipe):
    """Return whether the values of these names, '' for none, are a geometry and a recipe."""
    try:
        return not geometry or bool(store.geometry(geometry) and store.recipe(recipe))
    except (KeyError, ValueError, TypeError, AttributeError, FrameError):
        return False


STAMP_OF_OTHER_VERSION = (-1,)
"""The stamp of a row that another version read."""

_decode = json.JSONDecoder().raw_decode
_encode = json_text.compact_encoder()


class RowReader:
    """Reads the rows in lines of notes.

    Parameters
    ----------
    head : dict of str to object
        The first line of the notes.

    Attributes
    ----------
    is_of_another_version : bool
        Whether a version that reads headers in another way, or notes other fields, wrote the notes.
    table_stamp : tuple of int
        The stamp of the inventory's table as noted; () where its form has changed.
    has_checksums : bool
        Whether each line has a checksum.
    """

    def __init__(self, head):
        self._facts, form = head["facts"], _form_of_lines()
        # Older results: the first line has no names of fields; `older_rows` knows these rows.
        self._fields = head.get("fields", form["fields"])
        self._has_same_facts = self._facts == form["facts"]
        self._has_same_fields = self._fields == form["fields"]
        self.is_of_another_version = any(
            head.get(name, form[name]) != form[name]
            for name in ("reading", "facts", "fields", "shared_fields")
        )
        has_present_form = all(head.get(n, form[n]) == form[n] for n in ("form", "columns"))
        self.table_stamp = tuple(head["table"]) if has_present_form else ()
        self.has_checksums = checked_lines.CHECKSUM in head
        self._seed = _seed_of_rows(head)

    def is_sound(self, line):
        """Return whether a line, which has a checksum, is as it was written."""
        return checked_lines.remove_checksum(line, self._seed) is not None

    def row(self, line):
        """Return the row of a line.

        Raises
        ------
        ValueError, TypeError
            If the line has not the fields that the first line names.
        """
        file, stamp, values, *texts = _decode(line)[0]
        facts = (
            Facts(values)
            if self._has_same_facts
            else Facts.of(_values_by_name(self._facts, values))
        )
        if self._has_same_fields:
            texts = older_rows.texts_with_later_fields(texts)
        else:
            text_by_field = _values_by_name(self._fields, texts)
            texts = [text_by_field.get(name, "") for name in OWN_TEXTS]
        stamp = STAMP_OF_OTHER_VERSION if self.is_of_another_version else tuple(stamp)
        return Row(file, stamp, facts, *texts)


def _values_by_name(names, values):
    """Return values by their names; raise `ValueError` if there are more or fewer than names."""
    return dict(zip(names, values, strict=True))


@cache
def _form_of_lines():
    """Return the form of the lines of rows and of the table, as JSON gives it.

    Rows with other names of fields count as those of another version: a new field needs no higher
    `READING_VERSION`.
    """
    shared_classes = (Geometry, Amplifier, ReductionRecipe)
    return {
        "reading": READING_VERSION,
        "facts": list(FACTS),
        "fields": list(OWN_TEXTS),
        "shared_fields": {
            shared_class.__name__: [each.name for each in fields(shared_class)]
            for shared_class in shared_classes
        },
        "form": TABLE_VERSION,
        "columns": list(COLUMNS),
    }


def _seed_of_rows(head):
    """Return the seed of the checksums of rows, by the first line, which has their form."""
    return checked_lines.text_checksum(
        _encode([head.get(name) for name in ("reading", "facts", "fields", "shared_fields")])
    )


@cache
def _present_seed_of_rows():
    """Return the seed of the checksums of rows that this version writes."""
    return _seed_of_rows(_form_of_lines())


def add_checksum_of_row(line):
    """Return a line of `line_of_row` with its checksum, as the notes on rows have it."""
    return checked_lines.add_checksum(line, _present_seed_of_rows())


def first_line_of_rows(store):
    """Return the values of the first line of the notes on rows, with the stamp of the table."""
    return {**_form_of_lines(), "table": store.table_stamp, "shared": store.shared}


def line_of_row(row):
    """Return the line of a row, without its checksum."""
    return _encode(plain_row(row))


def save_store(results, store):
    """Write ``inventory.csv`` and the store, each only if it changed.

    Parameters
    ----------
    results : path-like
        The results folder.
    store : HeaderStore

    Raises
    ------
    OSError
        If one of them cannot be written.
    """
    earlier_stamp = store.table_stamp
    path = Path(results) / paths.INVENTORY
    has_saved_rows = _are_saved_rows(store.rows, store.saved_rows)
    has_saved_table = bool(earlier_stamp) and file_access.stamp_of(path) == earlier_stamp
    if not has_saved_rows or not has_saved_table:
        write_inventory(results, store, earlier_rows=store.saved_rows if has_saved_table else None)
        store.table_stamp = file_access.stamp_of(path)
    if has_saved_rows and store.table_stamp == earlier_stamp and not store.has_late_notes:
        return
    names_in_use = {name for row in store.rows.values() for name in (row.geometry, row.recipe)}
    sorted_rows = sorted(store.rows.values(), key=lambda row: row.file)
    lines = (add_checksum_of_row(line_of_row(row)) for row in sorted_rows)
    shared = {name: value for name, value in sorted(store.shared.items()) if name in names_in_use}
    head = {**first_line_of_rows(store), "shared": shared}
    checked_lines.write_lines(
        Path(results) / paths.HEADERS,
        checked_lines.first_line_of(head),
        lines,
        copy_path=Path(results) / paths.COPIES_OF_FIRST_LINES[paths.HEADERS],
    )
    store.has_late_notes = False
    store.saved_rows = dict(store.rows)


def _are_saved_rows(rows, saved_rows):
    """Return whether all rows are the objects that were saved: a changed row is a new object."""
    return len(rows) == len(saved_rows) and all(
        saved_rows.get(name) is row for name, row in rows.items()
    )
