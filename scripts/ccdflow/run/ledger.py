"""The ledger: which products were made, with which keys, and whether their files are intact.

Each job leaves a record. The main process folds the records into the ledger, which has the key of
every product and the size and times of its file. If the times differ, the checksum in the file is
compared. So no product is made again because an archive was copied or touched, and damage is found.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path

from ccdflow import paths
from ccdflow.files import file_access
from ccdflow.files.text_files import checked_lines, json_text, notes
from ccdflow.run import job_records, late_notes
from ccdflow.run.job_records import SHORT_FIELDS, Record
from ccdflow.run.unparsed_mapping import UnparsedMapping, decode, parse_shared

# Older results: a batch was an "order". Records of these kinds have no product.
_BATCH_KINDS = ("batch", "order")

_compact_json = json_text.compact_encoder()
canonical_json = json_text.compact_encoder(sort_keys=True)

# The entries of a basis that many products share; all other entries are a product's own.
_SHARED_KEYS = frozenset(
    ("arithmetic", "camera", "detector", "geometry", "header", "masters", "missing", "recipe",
     "search", "settings", "shared", "version")
)  # fmt: skip
# Separates the parts of a line: the record's short values, its own part of the basis, its data.
_SEPARATOR = "\t"
# The fields without which a line is no record, and the values of all fields that it may lack.
_REQUIRED_FIELDS = {"product", "kind", "key", "stamp"}
_EMPTY_FIELDS = Record("", "", "").as_dict()


def shared_basis(record):
    """Return the part of a record's basis that many records share, without parsing it."""
    if not isinstance(record.basis, UnparsedMapping):
        return record.basis
    return parse_shared(record.basis.shared_text) if record.basis.shared_text else {}


def _as_unparsed(values):
    """Return values as an `UnparsedMapping`: JSON text, parsed when a value is looked up."""
    if isinstance(values, UnparsedMapping):
        return values
    return UnparsedMapping(_compact_json(dict(values.items())))


class Ledger(dict):
    """The records by product, and as they are on the disk; bases and data are parsed late.

    Attributes
    ----------
    saved_records : dict of str to ccdflow.run.job_records.Record
        The records as they are on the disk, by product.
    has_late_notes : bool
        Whether some of the records are in the late notes.
    n_lost_by_file : dict of str to int
        Number of lost lines of each damaged file of notes, by its path in the results folder.
    """

    def __init__(self, records=()):
        super().__init__()
        self.n_lost_by_file = {}
        self.saved_records = {}
        self.has_late_notes = False
        self._shared_texts = {}
        for product, record in dict(records).items():
            self[product] = record

    def __setitem__(self, product, record):
        super().__setitem__(product, self._pack(record))

    def _pack(self, record):
        """Return a record whose mappings are texts; equal texts of two records are one object."""
        if isinstance(record.basis, UnparsedMapping):
            return record
        former = self.get(record.product)
        record = replace(
            record,
            product=former.product if former else record.product,
            kind=sys.intern(record.kind),
            status=sys.intern(record.status),
        )
        unshared = {name: value for name, value in record.basis.items() if name not in _SHARED_KEYS}
        shared = {name: value for name, value in record.basis.items() if name in _SHARED_KEYS}
        basis = UnparsedMapping(_compact_json(unshared), self.text_of_shared(shared))
        data = _as_unparsed(record.data)
        return replace(record, basis=basis, data=data)

    def sort(self):
        """Put the records into the order of their products."""
        for product in sorted(self):
            super().__setitem__(product, super().pop(product))

    def text_of_shared(self, values):
        """Return the JSON of the values that records share: one object for all equal values."""
        text = canonical_json(values)
        return self._shared_texts.setdefault(text, text)

    @property
    def is_saved(self):
        """Whether the file on the disk equals this ledger."""
        return (
            not self.has_late_notes
            and len(self) == len(self.saved_records)
            and all(self.saved_records.get(product) is record for product, record in self.items())
        )


def load_ledger(results):
    """Return the `Ledger` of a results folder; an absent or unreadable one counts as empty.

    Records that another version of ccdflow has written may lack some fields: these are empty.
    """
    return late_notes.read_settled(results, lambda: _load_ledger(results))


def _load_ledger(results):
    """Return the ledger of the notes as they are now."""
    file_lines = checked_lines.read_lines(
        Path(results) / paths.LEDGER, Path(results) / paths.COPIES_OF_FIRST_LINES[paths.LEDGER]
    )
    head = file_lines.head
    if not {"fields", "bases"} <= head.keys() or not {*head["fields"]} >= _REQUIRED_FIELDS:
        return Ledger()
    try:
        return _read_ledger(results, file_lines)
    except (ValueError, TypeError, IndexError):
        # The lines are no records: another version wrote them in a form that is unknown here.
        return Ledger()


def has_unreadable_records(results, ledger):
    """Return whether a results folder has notes on products of which none could be read.

    Parameters
    ----------
    results : path-like
    ledger : Ledger
        As `load_ledger` returns it.

    Returns
    -------
    bool
        False for notes that hold no record. An empty ledger does not distinguish these from
        unreadable ones, so their lines are looked for.
    """
    path = Path(results) / paths.LEDGER
    if ledger or not path.is_file():
        return False
    head, lines = notes.read_headed(path)
    return not head or next(lines, None) is not None


def _read_ledger(results, file_lines):
    """Return the `Ledger` of the `CheckedLines` of notes, with the late notes."""
    ledger, late, head = Ledger(), late_notes.read_late_notes(results), file_lines.head
    late_head = late.heads.get("records", {})
    reader = late_reader = RecordReader(head, ledger)
    if late_head.get("fields", head["fields"]) != head["fields"]:
        late_reader = RecordReader(head | late_head, ledger)
    n_damaged = 0
    for line in file_lines.lines:
        record = reader.record(line) if file_lines.is_whole or reader.is_sound(line) else None
        if record is None:
            n_damaged += 1
        else:
            ledger[record.product] = record
    n_lost_by_file = {
        paths.LEDGER: file_lines.n_lost(len(ledger), n_damaged),
        paths.LATE_NOTES: late.n_lost,
    }
    ledger.n_lost_by_file = {file: n_lost for file, n_lost in n_lost_by_file.items() if n_lost}
    for product in late_head.get("removed", ()):
        ledger.pop(product, None)
    for _, record in map(late_reader.late_record, late.records):
        ledger[record.product] = record
    if late.records or not file_lines.is_whole:
        # The order of the records must not depend on the late notes: lines of a run follow it.
        ledger.sort()
    was_written_by_another = reader.is_of_another_version or late_reader.is_of_another_version
    # Damaged notes count as not saved: they are written anew.
    if file_lines.is_whole and not was_written_by_another:
        ledger.saved_records = dict(ledger)
    ledger.has_late_notes = late_notes.has_late_notes(results)
    return ledger


def is_of_another_version(head):
    """Return whether the first line of notes names other fields of records than this version."""
    return head["fields"] != list(SHORT_FIELDS)


class RecordReader:
    """Reads the records in lines of notes.

    Parameters
    ----------
    head : dict of str to object
        The first line of the notes.
    ledger : Ledger, optional
        Keeps the texts that records share.

    Attributes
    ----------
    is_of_another_version : bool
        Whether another version of ccdflow wrote the notes.
    has_checksums : bool
        Whether each line has a checksum.
    """

    def __init__(self, head, ledger=None):
        self._ledger = Ledger() if ledger is None else ledger
        self._fields = head["fields"]
        self.is_of_another_version = is_of_another_version(head)
        self._basis_texts = [self._ledger.text_of_shared(basis) for basis in head["bases"]]
        self.has_checksums = checked_lines.CHECKSUM in head
        self._texts = {}

    @cached_property
    def _seeds(self):
        """The seed of the checksums of lines with each basis."""
        return [_seed_of_lines(self._fields, text) for text in self._basis_texts]

    def is_sound(self, line):
        """Return whether the line of a record, which has a checksum, is as it was written."""
        try:
            *_, basis_index = decode(line)[0]
            seed = self._seeds[basis_index]
        except (ValueError, TypeError, IndexError):
            return False
        return checked_lines.remove_checksum(line, seed) is not None

    def record(self, line):
        """Return the record of a line."""
        short, unshared, data = line.split(_SEPARATOR)
        *short_values, basis_index = decode(short)[0]
        return self._record(short_values, unshared, data, self._basis_texts[basis_index])

    def late_record(self, line):
        """Return (night, record) of a line of `late_line`."""
        short, unshared, data, shared = line.split(_SEPARATOR)
        *short_values, night = decode(short)[0]
        shared_text = self._ledger.text_of_shared(json.loads(shared)) if shared else ""
        return night, self._record(short_values, unshared, data, shared_text)

    def _record(self, short_values, unshared, data, shared_text):
        """Return the record of values that were read, with the texts that records share.

        Parameters
        ----------
        short_values : list of object
            Values of the short fields, as their line has them.
        unshared, data, shared_text : str
            JSON of the record's own basis, of its data, and of the basis that it shares.
        """
        # Thousands of equal texts become one object.
        texts = self._texts
        short_values = [
            texts.setdefault(v, v) if type(v) is str else tuple(v) for v in short_values
        ]
        if self.is_of_another_version:
            value_of = _EMPTY_FIELDS | dict(zip(self._fields, short_values, strict=True))
            short_values = [value_of[name] for name in SHORT_FIELDS]
        basis = UnparsedMapping(unshared, shared_text)
        return Record.of_short_values(
            short_values, basis, UnparsedMapping(texts.setdefault(data, data))
        )


def _seed_of_lines(fields, shared_text):
    """Return the seed of the checksums of some lines: a line is valid only with these values.

    Parameters
    ----------
    fields : sequence of str
        The names of the short fields.
    shared_text : str
        The basis that the records of the lines share, as JSON; '' for none.

    Returns
    -------
    int
    """
    return checked_lines.text_checksum(shared_text or "{}", _seed_of_fields(tuple(fields)))


@cache
def _seed_of_fields(fields):
    """Return the CRC-32 of the names of the short fields."""
    return checked_lines.text_checksum(_compact_json(fields))


def late_line(record, night):
    """Return the line of a record in the late notes, with the whole basis of the record.

    Parameters
    ----------
    record : Record
        Record of a `Ledger`.
    night : str
        The night to which the record belongs, '' for none.

    Returns
    -------
    str
    """
    short = _compact_json([*(getattr(record, name) for name in SHORT_FIELDS), night])
    return _SEPARATOR.join((short, record.basis.text, record.data.text, record.basis.shared_text))


def line_of_late_line(line, basis_index_of, *, has_checksums=True):
    """Return the line of the ledger's file for a line of the late notes.

    Parameters
    ----------
    line : str
        As `late_line` returns it.
    basis_index_of : callable
        Called with the JSON of the part of the basis that records share. Returns the index of this
        text in the first line of the ledger's file.
    has_checksums : bool, optional
        Whether the lines of the ledger's file have checksums.

    Returns
    -------
    product, line, night : str
    """
    short, unshared, data, shared_text = line.split(_SEPARATOR)
    *short_values, night = decode(short)[0]
    short = _compact_json([*short_values, basis_index_of(shared_text or "{}")])
    new_line = _SEPARATOR.join((short, unshared, data))
    if has_checksums:
        seed = _seed_of_lines(SHORT_FIELDS, shared_text)
        new_line = checked_lines.add_checksum(new_line, seed)
    return short_values[0], new_line, night


def save_ledger(results, ledger):
    """Write the ledger if it changed; return whether it was written.

    Parameters
    ----------
    results : path-like
        The results folder.
    ledger : Ledger

    Returns
    -------
    bool
    """
    if ledger.is_saved:
        return False
    basis_texts = dict.fromkeys(record.basis.shared_text for record in ledger.values())
    index_and_seed_by_text = {
        text: (index, _seed_of_lines(SHORT_FIELDS, text)) for index, text in enumerate(basis_texts)
    }
    head = {"fields": SHORT_FIELDS, "bases": [json.loads(text or "{}") for text in basis_texts]}
    lines = (_line_of_record(ledger[product], index_and_seed_by_text) for product in sorted(ledger))
    was_written = checked_lines.write_lines(
        Path(results) / paths.LEDGER,
        checked_lines.first_line_of(head),
        lines,
        copy_path=Path(results) / paths.COPIES_OF_FIRST_LINES[paths.LEDGER],
    )
    ledger.saved_records = dict(ledger)
    ledger.has_late_notes = False
    return was_written


def _line_of_record(record, index_and_seed_by_text):
    """Return the line of a record in the ledger's file.

    Parameters
    ----------
    record : Record
        Record of a `Ledger`.
    index_and_seed_by_text : dict of str to (int, int)
        The index, in the first line of the file, of each basis that records share, by its JSON; and
        the seed of the checksums of its lines.

    Returns
    -------
    str
    """
    values = [getattr(record, name) for name in SHORT_FIELDS]
    basis_index, seed = index_and_seed_by_text[record.basis.shared_text]
    short = _compact_json([*values, basis_index])
    line = _SEPARATOR.join((short, record.basis.text, record.data.text))
    return checked_lines.add_checksum(line, seed)


def fold(results, ledger, *, checks_files, noted_records=None, jobs=None, provisional_records=None):
    """Take the records left by jobs into the ledger.

    Parameters
    ----------
    results : path-like
    ledger : Ledger
        Changed in place.
    checks_files : bool
        Whether to compare the products' checksums. An interrupted run may have left the records.
    noted_records : dict of str to Record, optional
        Records that this process has taken in and the ledger does not have, by product.
    jobs : dict of str to ccdflow.run.job.Job, optional
        Jobs of this run by product, if jobs of an earlier run were at work when it began. Once a
        job of this run has left its record, other records of its product do not count.
    provisional_records : list of Record, optional
        Products that were made although one of their sources could not be made: their records are
        appended to this list.

    Returns
    -------
    files : list of str
        The record files, to be removed once the ledger is written.
    unmade_records : list of Record
        Records of jobs that have made no product: of every status but ``made``.
    """
    files, unmade_records = [], {}
    noted_records, jobs = noted_records or {}, jobs or {}
    for path, record in job_records.unfolded_records(results):
        files.append(path)
        if record is None or record.kind in _BATCH_KINDS:
            continue
        if record.product in jobs and _is_superseded(results, path, jobs[record.product]):
            continue
        # The last attempt of a job counts.
        unmade_records.pop(record.product, None)
        if record.status != job_records.MADE:
            unmade_records[record.product] = record
        if record.status not in (job_records.MADE, job_records.REFUSED):
            continue
        if record.status == job_records.MADE and checks_files:
            record = _checked_record(results, record, (noted_records, ledger))
        if record is not None:
            if provisional_records is not None and record.is_made_without:
                provisional_records.append(record)
            ledger[record.product] = record.ledger_record()
    return files, list(unmade_records.values())


def _checked_record(results, record, known_records):
    """Return the record of a product with the present stamp of its file.

    Parameters
    ----------
    results : path-like
    record : Record
        Record of a job that made its product.
    known_records : sequence of dict of str to Record
        By product. A file that is unchanged since one of these records was noted is not read.

    Returns
    -------
    Record or None
        None if the content of the file is not that of the record.
    """
    if any(_is_noted(results, records.get(record.product), record) for records in known_records):
        return record
    if not job_records.is_as_made(results, record):
        return None
    return replace(record, stamp=file_access.stamp_of(Path(results) / record.product))


def _is_superseded(results, path, job):
    """Return whether a record is of an earlier run, and a job of this run has left a later one."""
    own_path = os.path.join(results, job.record_path)  # noqa: PTH118 - as `unfolded_records` gives paths
    return path != own_path and os.path.exists(own_path)  # noqa: PTH110


def _is_noted(results, noted_record, record):
    """Return whether a noted record is the same, and its product's file is unchanged since."""
    return (
        noted_record is not None
        and (noted_record.key, noted_record.content, noted_record.stamp)
        == (record.key, record.content, record.stamp)
        and noted_record.stamp == file_access.stamp_of(Path(results) / record.product)
    )


def remove_records(results, files):
    """Remove records that are now in the ledger, then empty logs and empty folders.

    Parameters
    ----------
    results : path-like
        The results folder.
    files : iterable of path-like
        The files of the records.
    """
    for path in files:
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108
    # Snakemake makes an empty log file for a job that writes no log.
    logs = [
        Path(folder) / name
        for folder, _, names in os.walk(Path(results) / paths.LOGS)
        for name in names
    ]
    for log in logs:
        with suppress(OSError):
            if not log.stat().st_size:
                log.unlink()
    for top in (paths.DONE_FOLDER, paths.LOGS):
        for folder, _, _ in os.walk(Path(results) / top, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()


def noted_fits_products(results):
    """Return {product: (kind, key, content, basis)} of the FITS products that runs have noted.

    Products of the ledger are among them, and products of a run that was killed. No kind is left
    out: a new kind cannot stay unverified unnoticed.

    Parameters
    ----------
    results : path-like

    Returns
    -------
    dict of str to (str, str, str, mapping)
    """
    # The records are read before the ledger, because a run that ends meanwhile takes them into the
    # ledger before it removes them.
    unfolded_records = [
        record for _, record in job_records.unfolded_records(results) if record is not None
    ]
    return {
        record.product: (record.kind, record.key, record.content, record.basis)
        for record in (*load_ledger(results).values(), *unfolded_records)
        if record.status == job_records.MADE and paths.is_fits(record.product)
    }


def mark_settled_products(ledger, *, now=None):
    """Mark the products that are safe on the disk; return those that a stop may have damaged.

    A product is safe if it was made since the start of the machine and more than
    `ccdflow.run.job_records.SETTLED_SECONDS` ago: its file is on the disk by now.

    Parameters
    ----------
    ledger : Ledger
        The records of safe products get an empty ``boot``.
    now : float, optional
        Seconds since the epoch; the default is the present time.

    Returns
    -------
    list of str
        Products that were made before the start of the machine, and were not yet marked as safe.
    """
    now = time.time() if now is None else now
    doubtful_products = []
    for product, record in list(ledger.items()):
        if not record.boot or not record.stamp:
            continue
        if record.boot != job_records.boot_id():
            doubtful_products.append(product)
        elif abs(now - record.stamp[2] / 1e9) > job_records.SETTLED_SECONDS:
            ledger[product] = replace(record, boot="")
    return doubtful_products
