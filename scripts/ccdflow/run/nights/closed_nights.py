"""Closed nights: all their products are current, and a note has the facts that others need.

A run that finds nothing to do leaves, beside its seal, a note of each night: the places of its rows
and records in the notes of the archive, the groups of its masters, and its part of tables, pages
and last lines (`ccdflow.kinds.kind.Kind.summary`). While the folders of a night, the settings, the
profiles and the code are unchanged, the next run need not load its frames: it opens the nights that
changed (`ccdflow.run.nights.partial_plan`), plans these, and takes the others from the note.

The note saves time and decides nothing: a run that is in doubt plans the whole archive.
"""

from __future__ import annotations

import json
import posixpath
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ccdflow import paths
from ccdflow.files import notes, whole
from ccdflow.run import late_notes, ledger
from ccdflow.run.context import Planning
from ccdflow.run.job import FRAMES, MASTERS, NIGHTS, Group
from ccdflow.run.nights import counts, note_lines
from ccdflow.run.nights.note_lines import NeedsWholePlan
from ccdflow.run.rawframes.rawfolder import is_plain_name

# Raise it when a change alters what the note says: nights are then closed anew.
FORM = 1
_compact = json.JSONEncoder(separators=(",", ":")).encode
_FILES = (paths.HEADERS, paths.LEDGER)


@dataclass
class ClosedNights:
    """The nights that are closed, and those of them that this run opened again.

    Attributes
    ----------
    first : dict
        What the note says of the archive.
    nights : dict of str to dict
        What it says of each night.
    lines : dict of str to str
        The same as text.
    opened : set of str
        Nights that are planned by this run.
    products : frozenset of str
        The masters of the nights that are not.
    notes : ccdflow.run.nights.partial_plan.NightNotes
    """

    first: dict
    nights: dict
    lines: dict
    opened: set = field(default_factory=set)
    products: frozenset = frozenset()
    notes: object = None
    _groups: dict = field(default_factory=dict)

    def is_closed(self, night):
        """Tell whether nothing of a night is planned by this run."""
        return night in self.nights and night not in self.opened

    @property
    def doubted_until(self):
        """When all products of closed nights are on the disk, seconds since the epoch; 0: now."""
        found = [until for night in self.closed for until in self.nights[night]["boots"].values()]
        return max(found, default=0)

    @property
    def closed(self):
        """The nights that this run does not open."""
        return [night for night in self.nights if night not in self.opened]

    def summaries(self, name):
        """Return {night: its note under a name}; raise `NeedsWholePlan` if a night has none."""
        try:
            return {night: self.nights[night]["told"][name] for night in self.closed}
        except KeyError:
            raise NeedsWholePlan(f"{name} was not noted of all nights") from None

    def groups_of(self, night):
        """Return the groups of the masters of a night."""
        if night not in self._groups:
            values = self.nights[night]["groups"]
            self._groups[night] = [Group.from_dict(each) for each in values]
        return self._groups[night]


def read(results):
    """Return the `ClosedNights` of a results folder.

    Raises
    ------
    NeedsWholePlan
        If there are none, or they are not beside the notes that they are about.
    """
    lines = notes.read_checked(Path(results) / paths.CLOSED_NIGHTS)
    first = {} if lines is None else json.loads(next(lines))
    if first.get("form") != FORM or first["files"] != _stamps(results):
        raise NeedsWholePlan("there are no closed nights beside these notes")
    if first["since"] and set(late_notes.read(results).first) != {"rows", "records"}:
        raise NeedsWholePlan("the notes beside them are lost")
    texts = list(lines)
    nights = {found["night"]: found for found in map(json.loads, texts)}
    return ClosedNights(first, nights, dict(zip(nights, texts, strict=True)))


def _stamps(results):
    return [list(whole.stamp_of(Path(results) / name)) for name in _FILES]


def remove(results):
    """Remove the note."""
    with suppress(FileNotFoundError):
        (Path(results) / paths.CLOSED_NIGHTS).unlink()


# -- the note --------------------------------------------------------------------------------------


def leave(context, state):
    """Note all nights of an archive in which nothing is to be done.

    Parameters
    ----------
    context : ccdflow.run.context.Context
        Of an empty plan; its inventory and ledger are as they are on the disk.
    state : ccdflow.run.seal.State
        From before the plan was made.
    """
    try:
        homes = _Homes(context)
        _check(context, homes)
        # A lookup for one frame of a night serves the others.
        context = Planning.of(context)
        before = context.closed
        first = _first(context, state, homes)
        lines = {} if before is None else {night: before.lines[night] for night in before.closed}
        for night in homes.nights:
            lines[night] = _compact(_note(context, night, homes))
    except NeedsWholePlan:
        remove(context.results)
        return
    notes.write_checked(
        context.results / paths.CLOSED_NIGHTS, [_compact(first), *map(lines.get, sorted(lines))]
    )


class _Homes:
    """Where rows and records belong: to a night, or ('') to the archive."""

    def __init__(self, context):
        self._context = context
        rows = context.store.rows.values()
        self.nights = sorted({row.night for row in rows})
        self._by_segment = {paths.segment(night): night for night in self.nights}
        self.of_row = {row.file: row.night for row in rows}
        self._of_product = {paths.reduced(row.file): row.night for row in rows}
        self._reach = {kind.name: kind.reach for kind in context.chain}
        self.records = {night: [] for night in ("", *self.nights)}
        for product, record in context.ledger.items():
            self.records[self.of_record(product, record.kind)].append(record)
        self.places = self._places()

    def of_record(self, product, kind):
        """Return the night that a product is about alone, '' for none."""
        reach = self._reach[kind]
        try:
            if reach == FRAMES:
                _, _, rest = product.partition("/")
                return self._of_product[f"reduced/{rest}"]
            if reach == NIGHTS:
                return self._by_segment[product.split("/")[1]]
        except KeyError:
            raise NeedsWholePlan(f"{product} belongs to no night") from None
        return ""

    def _places(self):
        """Return {"rows", "records"}: {night: places in the notes}; {} beside closed nights."""
        context = self._context
        if context.closed is not None:
            return {"rows": {}, "records": {}}
        records = context.ledger
        rows = note_lines.places_of(
            context.results / paths.HEADERS, sorted(self.of_row), self.of_row.get
        )
        places = note_lines.places_of(
            context.results / paths.LEDGER, sorted(records),
            lambda product: self.of_record(product, records[product].kind),
        )  # fmt: skip
        return {"rows": rows, "records": places}


def _check(context, homes):
    """Raise `NeedsWholePlan` where a night cannot be planned without the others."""
    if not all(kind.can_close(context) for kind in context.chain):
        raise NeedsWholePlan("the settings let nights depend on one another")
    for file in homes.of_row:
        if not is_plain_name(file):
            raise NeedsWholePlan(f"{file!r} is no plain name")
    if context.unreadable:
        raise NeedsWholePlan("a folder cannot be looked into")


def _first(context, state, homes):
    before = context.closed
    always = homes.places["records"].get("", []) if before is None else before.first["always"]
    return {
        "form": FORM,
        "files": _stamps(context.results),
        "since": late_notes.is_there(context.results),
        "general": state.general,
        "folders": state.folders,
        "always": always,
        "kept": {kind.name: kind.kept(context) for kind in context.chain},
    }


def _boots(records):
    """Return {start of the machine: until when products made since may not be on the disk}."""
    found = {}
    for record in records:
        if record.boot and record.stamp:
            until = record.stamp[2] / 1e9 + ledger.SETTLED
            found[record.boot] = max(found.get(record.boot, 0), until)
    return found


def _note(context, night, homes):
    """Return what is noted of a night, as plain values."""
    rows, records = context.rows_of(night), homes.records[night]
    reach = {kind.name: kind.reach for kind in context.chain}
    groups = [g for g in context.groups.values() if reach[g.kind] == MASTERS and g.shown == night]
    before = None if context.closed is None else context.closed.nights.get(night)
    told = {counts.NAME: counts.summary(context, night, records)}
    for kind in context.chain:
        told |= kind.summary(context, night, records)
    combined = context.chain.combined_types
    return {
        "night": night,
        "rows": homes.places["rows"].get(night, []) if before is None else before["rows"],
        "records": homes.places["records"].get(night, []) if before is None else before["records"],
        "folders": sorted({posixpath.dirname(row.file) for row in rows}),
        "boots": _boots(records),
        "prints": " ".join(row.fingerprint for row in rows if row.facts["type"] in combined),
        "groups": [group.as_dict() for group in groups],
        "firsts": [
            counts.plain(context.store.rows[file])
            for file in dict.fromkeys(group.files[0] for group in groups if group.files)
        ],
        "told": told,
    }
