"""Rows and records of single nights, as notes have them.

A plan of some nights (`ccdflow.run.nights.partial_plan`) goes through the rows and records of the
open nights. Those of closed nights are read where code asks for one of them by name.
"""

from __future__ import annotations

import posixpath

from ccdflow import paths
from ccdflow.files import file_access
from ccdflow.files.text_files import tables
from ccdflow.run import job_records, late_notes, ledger
from ccdflow.run.job import OF_A_FRAME, OF_A_NIGHT
from ccdflow.run.nights.note_lines import NeedsWholePlan, NoteLines, first_values
from ccdflow.run.raw_frames import header_store
from ccdflow.run.raw_frames.inventory_table import cells
from ccdflow.run.raw_frames.rows import row_with_shared_texts

# With more late lines the whole archive is planned and noted. Chosen: each plan reads all of them.
_MOST_LATE_LINES = 50_000


class NightNotes:
    """Rows and records of single nights, as the notes of a results folder have them.

    Parameters
    ----------
    results : pathlib.Path
    closed_nights : ccdflow.run.nights.closed_nights.ClosedNights

    Attributes
    ----------
    touched_folders : set of str
        Folders of frames and products whose rows or records are newer than the closed nights. Such
        a folder may look as it did when the nights were closed: a file may have come and gone
        since.
    shared : dict of str to object
        The geometries and recipes of rows, by their names.
    table_stamp : tuple of int
        The stamp of the inventory's table, () if it is to be written.
    removed_products : frozenset of str
        Products that were removed from the ledger since the nights were closed.

    Raises
    ------
    NeedsWholePlan
        If there are many late notes, some of them are damaged, another version of ccdflow wrote
        some of the notes, or the first line of a file of notes cannot be read.
    """

    def __init__(self, results, closed_nights):
        self.results, self.closed_nights = results, closed_nights
        self._lines = {
            name: NoteLines(results / name, stamp)
            for name, stamp in closed_nights.stamps_of_notes.items()
        }
        late_lines = late_notes.read_late_notes(results)
        if late_lines.n_lost:
            raise NeedsWholePlan("some late notes are damaged")
        if len(late_lines.rows) + len(late_lines.records) > _MOST_LATE_LINES:
            raise NeedsWholePlan("there are many late notes")
        head_of_rows = first_values(results / paths.HEADERS)
        head_of_records = first_values(results / paths.LEDGER)
        late_head_of_rows = late_lines.heads.get("rows", {})
        late_head_of_records = late_lines.heads.get("records", {})
        self._row_reader = header_store.RowReader(head_of_rows)
        self._record_reader = ledger.RecordReader(head_of_records)
        if (
            self._row_reader.is_of_another_version
            or self._record_reader.is_of_another_version
            or header_store.RowReader(head_of_rows | late_head_of_rows).is_of_another_version
            or ledger.is_of_another_version(head_of_records | late_head_of_records)
        ):
            raise NeedsWholePlan("another version of ccdflow wrote the notes")
        self.shared = {**head_of_rows["shared"], **late_head_of_rows.get("shared", {})}
        self.table_stamp = tuple(late_head_of_rows.get("table", self._row_reader.table_stamp))
        is_noted = late_notes.stamp_of_late_notes(results) == closed_nights.head["late"]
        self.touched_folders = set() if is_noted else set(late_head_of_rows.get("folders", ()))
        self._rows, self._records = {}, {}
        self._late_rows = {row.file: row for row in map(self._row_reader.row, late_lines.rows)}
        late_records = map(self._record_reader.late_record, late_lines.records)
        # Home and record of each product.
        self._late_records = {record.product: (home, record) for home, record in late_records}
        self.removed_products = frozenset(late_head_of_records.get("removed", ()))
        # Rows of the first members of masters: {night: {file: row}}; and {file: row}, because each
        # is asked for several times.
        self._first_members, self._row_by_first_member, self._texts = {}, {}, {}
        self._nights_by_segment = {paths.segment(night): [night] for night in closed_nights.nights}
        self._nights_by_folder = {}
        for night, folders in closed_nights.column("folders").items():
            for folder in folders:
                self._nights_by_folder.setdefault(folder, []).append(night)

    def rows(self, night):
        """Return {file: row} of a night.

        Raises
        ------
        NeedsWholePlan
            If the lines at the places of its rows are damaged or those of another night, or the
            file was written since the places were noted.
        """
        if night not in self._rows:
            ranges = self.closed_nights.value("rows", night) or []
            reader = self._row_reader
            rows = self._lines[paths.HEADERS].read_values(ranges, reader, reader.row)
            rows_by_file = {row.file: row for row in rows if row.file not in self._late_rows}
            if any(row.night != night for row in rows_by_file.values()):
                raise NeedsWholePlan(f"the rows of {night} are not where they were")
            rows_by_file |= {
                file: row for file, row in self._late_rows.items() if row.night == night
            }
            self._rows[night] = rows_by_file
        return self._rows[night]

    def records(self, night):
        """Return {product: record} of a night; '' gives the records of no single night.

        Raises
        ------
        NeedsWholePlan
            If the lines are damaged, or the file was written since their places were noted.
        """
        if night not in self._records:
            ranges_of_no_night = self.closed_nights.head["always"]
            ranges = self.closed_nights.value("records", night) if night else ranges_of_no_night
            reader = self._record_reader
            records = self._lines[paths.LEDGER].read_values(ranges or [], reader, reader.record)
            records_by_product = {
                record.product: record
                for record in records
                if record.product not in self._late_records
                and record.product not in self.removed_products
            }
            records_by_product |= {
                product: record
                for product, (home, record) in self._late_records.items()
                if home == night
            }
            self._records[night] = records_by_product
        return self._records[night]

    @property
    def new_nights(self):
        """The nights with late notes that were never closed."""
        homes = {night for night, _ in self._late_records.values()} - {""}
        homes |= {row.night for row in self._late_rows.values()}
        return {night for night in homes if night not in self.closed_nights}

    def forget(self):
        """Forget the rows and records that were read; they are read again when asked for."""
        for values in (
            self._rows, self._records, self._first_members, self._row_by_first_member,
        ):  # fmt: skip
            values.clear()

    def nights_in(self, folder):
        """Return the nights of the frames in a raw folder."""
        return self._nights_by_folder.get(folder, [])

    def find_row(self, file):
        """Return the row of a frame of a closed night, or None."""
        if (row := self._row_by_first_member.get(file)) is not None:
            return row
        nights = self.nights_in(posixpath.dirname(file))
        for read_rows in (self._first_members_of, self.rows):
            for night in nights:
                if (row := read_rows(night).get(file)) is not None:
                    return row
        return None

    def _first_members_of(self, night):
        """Return {file: row} of the first members of a night's masters."""
        if night not in self._first_members:
            plain_rows = self.closed_nights.pop_value("firsts", night) or ()
            rows = (row_with_shared_texts(values, self._texts) for values in plain_rows)
            self._first_members[night] = {row.file: row for row in rows}
            self._row_by_first_member |= self._first_members[night]
        return self._first_members[night]

    def find_group(self, product):
        """Return None: a context of open nights holds the groups of closed ones itself."""
        return None

    def earlier_record(self, product):
        """Return the record of a product of a closed night, or None."""
        raw_folder, segment = paths.raw_folder_and_night(posixpath.dirname(product))
        if raw_folder is not None:
            nights = self.nights_in(raw_folder)
        elif paths.top_folder(product) == paths.NIGHTS_FOLDER:
            nights = self._nights_by_segment.get(segment, ())
        else:
            return None
        for night in nights:
            if self.closed_nights.is_closed(night) and (record := self.records(night).get(product)):
                return record
        return None

    def save(self, context):
        """Write the table, and the rows and records that changed since they were read."""
        store, records = context.store, context.ledger
        rows, new_records = (
            changed_values(store.rows, store.saved_rows),
            changed_values(records, records.saved_records),
        )
        removed_products = set(records.saved_records) - set(records)
        table = self.results / paths.INVENTORY
        if rows:
            line = tables.TableLines(cells)
            tables.update_table(table, {file: [line(row)] for file, row in rows.items()})
        stamp = file_access.stamp_of(table)
        if not (rows or new_records or removed_products or stamp != self.table_stamp):
            return
        find_home = home_finder(context)
        self.table_stamp = stamp
        self._late_rows |= rows
        self._late_records = {
            product: home_and_record
            for product, home_and_record in self._late_records.items()
            if product not in removed_products
        }
        self._late_records |= {
            product: (find_home(record), record) for product, record in new_records.items()
        }
        self.removed_products = (self.removed_products | removed_products) - new_records.keys()
        self.touched_folders |= {_folder_of(f"raw/{file}") for file in rows}
        self.touched_folders |= {
            _folder_of(product) for product in (*new_records, *removed_products) if "/" in product
        }
        late_notes.write_late_notes(self.results, self._late_notes(store))
        store.table_stamp, store.saved_rows = stamp, dict(store.rows)
        records.saved_records = dict(records)

    def _late_notes(self, store):
        """Return the late notes: all rows and records that are newer than the closed nights."""
        heads = {
            "rows": {
                **header_store.first_line_of_rows(store),
                "table": self.table_stamp,
                "folders": sorted(self.touched_folders),
            },
            "records": {
                "fields": job_records.SHORT_FIELDS,
                "removed": sorted(self.removed_products),
            },
        }
        rows = [self._late_rows[file] for file in sorted(self._late_rows)]
        records = sorted(self._late_records.items())
        return late_notes.LateNotes(
            heads,
            [header_store.line_of_row(row) for row in rows],
            [ledger.late_line(record, night) for _, (night, record) in records],
        )


def _folder_of(file):
    """Return the folder of a file, by the name that it has in `State.folders` of the seal."""
    folder = posixpath.dirname(file)
    return folder if "/" in folder else f"{folder}/"


def ledger_of_nights(night_notes, nights):
    """Return a ledger with the records of open nights and of the archive.

    Parameters
    ----------
    night_notes : NightNotes
    nights : sequence of str
        The open nights.

    Returns
    -------
    ccdflow.run.ledger.Ledger
    """
    records = ledger.Ledger()
    for night in ("", *nights):
        records.update(night_notes.records(night))
    records.saved_records = dict(records)
    return records


def changed_values(current, saved_values):
    """Return {name: value} of the values that are other objects than those saved.

    Parameters
    ----------
    current, saved_values : dict of str to object
        Value by name: as it is now, and as the notes have it.

    Returns
    -------
    dict of str to object
    """
    return {name: value for name, value in current.items() if saved_values.get(name) is not value}


def home_finder(context):
    """Return a function that takes a record and returns its night, '' for none."""
    rows = context.store.rows.values()
    night_by_product = {paths.reduced_frame(row.file): row.night for row in rows}
    night_by_product |= {paths.calibrated_frame(row.file): row.night for row in rows}
    night_by_segment = {paths.segment(row.night): row.night for row in rows}
    reach_by_kind = {kind.name: kind.reach for kind in context.chain}

    def find_home(record):
        """Return the night to which a record belongs; '' for those of all nights."""
        if reach_by_kind[record.kind] == OF_A_FRAME:
            return night_by_product[record.product]
        if reach_by_kind[record.kind] == OF_A_NIGHT:
            return night_by_segment[paths.night_of_product(record.product)]
        return ""

    return find_home
