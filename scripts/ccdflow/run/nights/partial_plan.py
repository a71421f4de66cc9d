"""A plan of the nights whose frames or products changed; all other nights stay closed.

The rows and records of closed nights stay on the disk (`ccdflow.run.nights.closed_nights`). The
kinds plan as they always do: their context lists the open nights only, finds other rows and records
by name, and has the notes of closed nights for tables, pages and lines. Closed nights that a new
master changes are opened as well. A doubt raises `NeedsWholePlan`, and the whole archive is
planned.
"""

from __future__ import annotations

import json
import os
import posixpath
import time
from pathlib import Path

from ccdflow import paths
from ccdflow.files import notes, tables, whole
from ccdflow.run import late_notes, ledger, plan
from ccdflow.run.context import Context
from ccdflow.run.job import FRAMES, MASTERS, NIGHTS
from ccdflow.run.nights import closed_nights, counts
from ccdflow.run.nights.note_lines import NeedsWholePlan, NoteLines
from ccdflow.run.product_stamps import ProductStamps
from ccdflow.run.rawframes import header_store, inventory
from ccdflow.run.rawframes.header_store import HeaderStore
from ccdflow.run.rawframes.inventory_table import cells
from ccdflow.run.rawframes.rawfolder import is_plain_name
from ccdflow.run.rawframes.rows import SET_ASIDE, is_dated, row_with_shared_texts

# Rounds of opening further nights before planning all of them.
_ROUNDS = 5
# Late lines above which the notes are rewritten whole.
_MOST_LINES = 50_000


def plan_changed_nights(values, reading, chain, state, *, cores, progress):
    """Return the `ccdflow.run.plan.Plan` of the nights that are to be opened.

    Parameters
    ----------
    values : dict
        Settings.
    reading : ccdflow.run.rawframes.inventory.Settings
    chain : ccdflow.kinds.kind.Chain
    state : ccdflow.run.seal.State
        Of the archive as it is now.
    cores : int
    progress : callable or None

    Returns
    -------
    ccdflow.run.plan.Plan

    Raises
    ------
    NeedsWholePlan
        If the whole archive has to be planned.
    """
    results = Path(values["results"])
    if reading.is_folding or not state:
        raise NeedsWholePlan("names of files are not all alike")
    nights = closed_nights.read_closed_nights(results)
    if nights.first["general"] != state.general:
        raise NeedsWholePlan("settings, profiles or code have changed")
    known = nights.notes = NightNotes(results, nights)
    if whole.stamp_of(results / paths.INVENTORY) != known.table:
        raise NeedsWholePlan("the table is not as it was written")
    changes = _Changes(values, state, nights, known)
    opened = changes.nights()
    for _ in range(_ROUNDS):
        opening = _Opening(values, reading, chain, known, changes)
        opened_plan, more = opening.plan(opened, cores=cores, progress=progress)
        if not more:
            return opened_plan
        opened |= more
    raise NeedsWholePlan("the nights that have to be opened do not come to an end")


# -- the notes -------------------------------------------------------------------------------------


class NightNotes:
    """Rows and records of single nights, as the notes of a results folder have them.

    Parameters
    ----------
    results : pathlib.Path
    nights : ccdflow.run.nights.closed_nights.ClosedNights

    Raises
    ------
    NeedsWholePlan
        If there are many late notes.
    """

    def __init__(self, results, nights):
        self.results, self.nights = results, nights
        self._lines = {name: NoteLines(results / name) for name in (paths.HEADERS, paths.LEDGER)}
        self.late_notes = late_notes.read_late_notes(results)
        if len(self.late_notes.rows) + len(self.late_notes.records) > _MOST_LINES:
            raise NeedsWholePlan("there are many late notes")
        first = json.loads(notes.first_line(results / paths.HEADERS))
        late_rows = self.late_notes.first.get("rows", {})
        self._store = header_store.RowReader(first)
        self._ledger = ledger.RecordReader(json.loads(notes.first_line(results / paths.LEDGER)))
        self.shared = {**first["shared"], **late_rows.get("shared", {})}
        self.table = tuple(late_rows.get("table", self._store.table))
        self._rows, self._records = {}, {}
        self._late_rows = {row.file: row for row in map(self._store.row, self.late_notes.rows)}
        late = map(self._ledger.record_beside, self.late_notes.records)
        self._late = {record.product: (home, record) for home, record in late}
        self.gone = frozenset(self.late_notes.first.get("records", {}).get("removed", ()))
        self._firsts, self._texts = {}, {}
        self._by_segment = {paths.segment(night): [night] for night in nights.nights}
        self._in_folder = {}
        for night, folders in nights.column("folders").items():
            for folder in folders:
                self._in_folder.setdefault(folder, []).append(night)

    def rows(self, night):
        """Return {file: row} of a night."""
        if night not in self._rows:
            places = self.nights.value("rows", night) or []
            rows = map(self._store.row, self._lines[paths.HEADERS].at(places))
            by_file = {row.file: row for row in rows if row.file not in self._late_rows}
            if any(row.night != night for row in by_file.values()):
                raise NeedsWholePlan(f"the rows of {night} are not where they were")
            by_file |= {f: row for f, row in self._late_rows.items() if row.night == night}
            self._rows[night] = by_file
        return self._rows[night]

    def records(self, night):
        """Return {product: record} of a night; '' gives the records of no single night."""
        if night not in self._records:
            own = self.nights.first["always"]
            places = own if not night else self.nights.value("records", night) or []
            records = map(self._ledger.record, self._lines[paths.LEDGER].at(places))
            by_product = {
                r.product: r
                for r in records
                if r.product not in self._late and r.product not in self.gone
            }
            by_product |= {
                product: record for product, (home, record) in self._late.items() if home == night
            }
            self._records[night] = by_product
        return self._records[night]

    @property
    def new_nights(self):
        """The nights with late notes that were never closed."""
        homes = {night for night, _ in self._late.values()} - {""}
        homes |= {row.night for row in self._late_rows.values()}
        return {night for night in homes if night not in self.nights}

    def nights_in(self, folder):
        """Return the nights of the frames in a raw folder."""
        return self._in_folder.get(folder, [])

    def row(self, file):
        """Return the row of a frame of a closed night, or None."""
        nights = self.nights_in(posixpath.dirname(file))
        for rows in (self._firsts_of, self.rows):
            for night in nights:
                if (row := rows(night).get(file)) is not None:
                    return row
        return None

    def _firsts_of(self, night):
        """Return {file: row} of the first members of a night's masters."""
        if night not in self._firsts:
            firsts = self.nights.take("firsts", night) or ()
            rows = (row_with_shared_texts(values, self._texts) for values in firsts)
            self._firsts[night] = {row.file: row for row in rows}
        return self._firsts[night]

    def record(self, product):
        """Return the record of a product of a closed night, or None."""
        raw_folder, segment = paths.home_of(posixpath.dirname(product))
        if raw_folder is not None:
            nights = self.nights_in(raw_folder)
        elif product.startswith("nights/"):
            nights = self._by_segment.get(segment, ())
        else:
            return None
        for night in nights:
            if self.nights.is_closed(night) and (record := self.records(night).get(product)):
                return record
        return None

    def save(self, context):
        """Write the table, and the rows and records that changed since they were read."""
        store, records = context.store, context.ledger
        rows, made = _changed(store.rows, store.saved), _changed(records, records.saved)
        gone = set(records.saved) - set(dict.keys(records))
        table = self.results / paths.INVENTORY
        if rows:
            line = tables.TableLines(cells)
            tables.update_table(table, {file: [line(row)] for file, row in rows.items()})
        stamp = whole.stamp_of(table)
        if not (rows or made or gone or stamp != self.table):
            return
        home = _home_of(context)
        self.table = stamp
        self._late_rows |= rows
        self._late = {p: late for p, late in self._late.items() if p not in gone}
        self._late |= {product: (home(record), record) for product, record in made.items()}
        self.gone = (self.gone | gone) - made.keys()
        said = {
            "rows": {"shared": store.shared, "table": stamp},
            "records": {"removed": sorted(self.gone)},
        }
        late_notes.write_late_notes(
            self.results,
            late_notes.LateNotes(
                said,
                [
                    header_store.line_of_row(self._late_rows[file])
                    for file in sorted(self._late_rows)
                ],
                [
                    ledger.line_beside(record, night)
                    for _, (night, record) in sorted(self._late.items())
                ],
            ),
        )
        store.table, store.saved = stamp, dict(store.rows)
        records.saved = dict(records)


class OpenRows(dict):
    """The rows of open nights; rows of closed nights are found by name.

    Parameters
    ----------
    rows : dict of str to ccdflow.run.rawframes.rows.Row
        By raw file, of the open nights.
    notes : NightNotes
    """

    def __init__(self, rows, notes):
        super().__init__(rows)
        self._notes = notes

    def __missing__(self, file):
        row = self._notes.row(file)
        if row is None:
            raise KeyError(file)
        return row

    def get(self, file, default=None):
        """Return a row of any night."""
        if dict.__contains__(self, file):
            return dict.__getitem__(self, file)
        return self._notes.row(file) or default

    def __contains__(self, file):
        return dict.__contains__(self, file) or self._notes.row(file) is not None


class OpenLedger(ledger.Ledger):
    """The records of open nights and of the archive; records of closed ones are found by name.

    Parameters
    ----------
    notes : NightNotes
    nights : sequence of str
        The open nights.
    """

    def __init__(self, notes, nights):
        super().__init__()
        self._notes = notes
        for night in ("", *nights):
            for product, record in notes.records(night).items():
                dict.__setitem__(self, product, record)
        self.saved = dict(self)

    def __missing__(self, product):
        record = self._notes.record(product)
        if record is None:
            raise KeyError(product)
        return record

    def get(self, product, default=None):
        """Return a record of any night."""
        if dict.__contains__(self, product):
            return dict.__getitem__(self, product)
        return self._notes.record(product) or default

    def __contains__(self, product):
        return dict.__contains__(self, product) or self._notes.record(product) is not None


class _Wanted(set):
    """Products that are to be there: all of closed nights are."""

    def __init__(self, notes):
        super().__init__()
        self._notes = notes

    def __contains__(self, product):
        return set.__contains__(self, product) or self._notes.record(product) is not None


class _RowsByNight(dict):
    """The rows of each night, sorted by file; rows of closed nights are read when asked for.

    Parameters
    ----------
    rows : iterable of ccdflow.run.rawframes.rows.Row
        Of the open nights.
    notes : NightNotes
    """

    def __init__(self, rows, notes):
        super().__init__()
        self._notes = notes
        for row in sorted(rows, key=lambda row: row.file):
            self.setdefault(row.night, []).append(row)

    def get(self, night, default=None):
        """Return the rows of any night."""
        if night in self or not self._notes.nights.is_closed(night):
            return dict.get(self, night, default)
        rows = self._notes.rows(night)
        return [rows[file] for file in sorted(rows)]


# -- what has changed ------------------------------------------------------------------------------


class _Changes:
    """The folders that changed, and their nights.

    Parameters
    ----------
    values : dict
        Settings.
    state : ccdflow.run.seal.State
        Of the archive as it is now.
    nights : ccdflow.run.nights.closed_nights.ClosedNights
    notes : NightNotes
    """

    def __init__(self, values, state, nights, notes):
        self._raw, self._notes, self._nights = Path(values["raw"]), notes, nights
        before, now = nights.first["folders"], state.folders
        self.folders = {
            name for name in before.keys() | now.keys() if before.get(name) != now.get(name)
        }
        self.raw = sorted(
            name.removeprefix("raw/") for name in self.folders if name.startswith("raw/")
        )
        self.products = {name for name in self.folders if not name.startswith("raw/")}
        self.found = {file: at for folder in self.raw for file, at in self._listed(folder)}

    def _listed(self, folder):
        """Yield (file, stamp) of the raw frames of a folder."""
        prefix = f"{folder}/" if folder else ""
        try:
            with os.scandir(self._raw / folder) as entries:
                for entry in entries:
                    if paths.is_raw_name(entry.name) and not entry.is_dir():
                        yield prefix + entry.name, whole.stamp_of(entry)
        except FileNotFoundError:
            return
        except OSError as error:
            raise NeedsWholePlan(f"{folder} cannot be read: {error}") from None

    def nights(self):
        """Return the nights that changed, as far as names of folders tell."""
        nights = self._nights.nights
        # Products made shortly before the machine stopped may not be on the disk.
        boots = self._nights.column("boots").items()
        changed = {night for night, own in boots if _is_doubted(own)}
        # A run tells of the last night; nights of which the notes are new were never closed.
        changed |= {max(nights), *(self._notes.new_nights)}
        for folder in self.raw:
            changed.update(self._notes.nights_in(folder))
        segments = {paths.segment(night): night for night in nights}
        for name in self.products:
            raw_folder, segment = paths.home_of(name)
            if raw_folder is not None:
                changed.update(self._notes.nights_in(raw_folder))
            elif segment in segments:
                changed.add(segments[segment])
        return changed

    def check(self, rows):
        """Raise `NeedsWholePlan` where a folder changed that belongs to none of the open nights.

        Parameters
        ----------
        rows : dict of str to ccdflow.run.rawframes.rows.Row
            Of the open nights.
        """
        folders = {posixpath.dirname(file) for file in rows}
        segments = {paths.segment(row.night) for row in rows.values()}
        changed = set(self.raw)
        for file in rows:
            if posixpath.dirname(file) in changed and file not in self.found:
                raise NeedsWholePlan(f"{file} is gone")
            if not is_plain_name(file):
                raise NeedsWholePlan(f"{file!r} is no plain name")
        for name in self.products:
            if not _belongs(name, folders, segments):
                raise NeedsWholePlan(f"{name} belongs to no open night")


def _is_doubted(boots):
    """Tell whether products have to show their checksum, or are on the disk by now."""
    return any(boot != ledger.boot_id() or time.time() >= until for boot, until in boots.items())


def _belongs(name, folders, segments):
    """Tell whether a folder of products belongs to one of some raw folders, or to some night."""
    raw_folder, segment = paths.home_of(name)
    if raw_folder is not None:
        return raw_folder in folders
    if segment is not None:
        return segment in segments
    # A camera's folder: its products of all nights are planned in any case.
    return name.partition("/")[0] == "detector" and name.count("/") < 2


# -- the plan --------------------------------------------------------------------------------------


def _members(groups):
    """Return {master: its kind, shared values and members}, without the masters of its members."""
    return {group.product: (group.kind, group.shared, group.files) for group in groups}


class _Opening:
    """A try to plan with some nights open.

    Parameters
    ----------
    values, reading, chain
        See `plan_changed_nights`.
    notes : NightNotes
    changes : _Changes
    """

    def __init__(self, values, reading, chain, notes, changes):
        self._values, self._reading, self._chain = values, reading, chain
        self._notes, self._changes = notes, changes
        self._nights = notes.nights

    def plan(self, opened, *, cores, progress):
        """Return (plan, nights that have to be opened as well)."""
        nights = self._nights
        nights.opened = set(opened)
        if not nights.closed:
            raise NeedsWholePlan("no night is closed")
        store = self._store(opened)
        inventory.update(
            store, self._reading, only=self._changes.found, cores=cores, progress=progress
        )
        rows = dict(store.rows)
        more = {row.night for row in rows.values() if nights.is_closed(row.night)}
        if more:
            return None, more
        if any(row.gone for row in rows.values()):
            raise NeedsWholePlan("a raw file is missing")
        self._changes.check(rows)
        context = self._context(store)
        opened_plan = plan.make_plan(
            context, stamps=ProductStamps(context.results, self._changes.products)
        )
        opened_plan.planned_counts[self._chain.first.name] = opened_plan.planned_counts.get(
            self._chain.first.name, 0
        ) + counts.asked(context)
        return opened_plan, self._more(context, opened_plan)

    def _store(self, opened):
        """Return the store of the rows of the open nights."""
        rows = {}
        for night in sorted(opened):
            rows |= self._notes.rows(night)
        store = HeaderStore(
            rows=OpenRows(rows, self._notes), shared=dict(self._notes.shared),
            table=self._notes.table, saved=dict(rows),
        )  # fmt: skip
        store.verdicts = {row.file: row.reason for row in rows.values() if row.status == SET_ASIDE}
        return store

    def _context(self, store):
        """Return the context of a plan of the open nights."""
        values, nights = self._values, self._nights
        context = Context(
            values, Path(values["raw"]), Path(values["results"]), store,
            OpenLedger(self._notes, sorted(nights.opened)), self._chain,
            frozenset(inventory.outdated(store, self._reading)),
            cameras=self._reading.cameras, closed=nights, planned_products=_Wanted(self._notes),
        )  # fmt: skip
        for night in nights.closed:
            for group in nights.groups_of(night):
                context.groups[group.product] = group
        nights.products = frozenset(context.groups)
        context.lookup("rows by night", lambda: _RowsByNight(store.rows.values(), self._notes))
        for kind in self._chain:
            kind.restore(context, nights.first["kept"][kind.name])
        return context

    def _more(self, context, found):
        """Return the closed nights that depend on the products of this plan."""
        nights, reach = self._nights, {kind.name: kind.reach for kind in self._chain}
        masters = {}
        for group in context.groups.values():
            if reach[group.kind] == MASTERS:
                masters.setdefault(group.shown, {})[group.product] = group
        made = {job.night for job in found.jobs.values() if reach[job.kind] == MASTERS}
        new = []
        for night in nights.opened | masters.keys():
            now = list(masters.get(night, {}).values())
            before = nights.groups_of(night)
            is_new = _members(before) != _members(now) or night in made
            if is_new and not nights.is_closed(night):
                new += now + before
        if new:
            self._check_order(new)
            self._check_copies(context, new)
        return {night for kind in self._chain for night in kind.opens(context, new)} - nights.opened

    def _check_order(self, new):
        """Raise `NeedsWholePlan` where a master is not of a later night than all closed ones."""
        last = max(filter(is_dated, self._nights.closed), default="")
        if not all(is_dated(group.shown) and group.shown > last for group in new):
            raise NeedsWholePlan("a night with masters of its own is not the last one")

    def _check_copies(self, context, new):
        """Raise `NeedsWholePlan` where a new frame holds the same as one of a closed night."""
        prints = {context.store.rows[file].fingerprint for group in new for file in group.files}
        known = self._nights.column("prints")
        for night in self._nights.closed:
            if not prints.isdisjoint(known[night].split()):
                raise NeedsWholePlan(f"a frame is a copy of one of {night}")


# -- what a run changed ----------------------------------------------------------------------------


def save_partial_plan(context):
    """Write ``inventory.csv``, and the late notes if they changed.

    Parameters
    ----------
    context : ccdflow.run.context.Context
        Of a plan of open nights.
    """
    context.closed.notes.save(context)


def _changed(now, saved):
    return {name: value for name, value in now.items() if saved.get(name) is not value}


def _home_of(context):
    """Return a function from a record to its night, '' for none."""
    rows = context.store.rows.values()
    nights = {paths.reduced(row.file): row.night for row in rows}
    nights |= {paths.calibrated(row.file): row.night for row in rows}
    segments = {paths.segment(row.night): row.night for row in rows}
    reach = {kind.name: kind.reach for kind in context.chain}

    def home(record):
        if reach[record.kind] == FRAMES:
            return nights[record.product]
        if reach[record.kind] == NIGHTS:
            return segments[record.product.split("/")[1]]
        return ""

    return home
