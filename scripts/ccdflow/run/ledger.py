"""What was made, with which key, and whether it is still as it was made.

Each job leaves a record; the main process folds the records into the ledger, which remembers for
every product its key and the size and times of its file. A file with other times is asked for its
own checksum, so that copying an archive or touching it makes nothing again, and damage is found.
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from isal import isal_zlib

from ccdflow import paths
from ccdflow.files import fitsio

MADE = "made"
REFUSED = "refused"
SET_ASIDE = "set aside"
GONE = "gone"

# The kernel has written out what is older than this, unless the machine stopped before.
_SETTLED = 3600


@dataclass(frozen=True)
class Record:
    """What became of a product.

    Attributes
    ----------
    product : str
        Path relative to the results folder.
    kind : str
        frame, bias, picture, page or table.
    key : str
        Of what it was made from.
    status : str
        made; refused (nothing was made, for a reason that holds as long as the key);
        set aside (the raw frame is bad); gone (the raw file changed while it was read).
    reason : str
    stamp : tuple of int
        Size, mtime and ctime in ns of the product's file.
    content : str
        DATASUM of a FITS product's first image, CRC-32 of another file.
    basis : dict
        What the key was made of, to say why a product is made again.
    data : dict
        Figures that others need: levels, noise, statistics, members.
    boot : str
        Which start of the machine it was made in; '' once it is known to be on the disk.
    """

    product: str
    kind: str
    key: str
    status: str = MADE
    reason: str = ""
    stamp: tuple = ()
    content: str = ""
    basis: dict = field(default_factory=dict)
    data: dict = field(default_factory=dict)
    boot: str = ""

    @classmethod
    def from_dict(cls, values):
        """Return a record from what `dataclasses.asdict` made of it."""
        return cls(**{**values, "stamp": tuple(values["stamp"])})


@cache
def boot_id():
    """Return a text that is another one after each start of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


stamp_of = fitsio.stamp_of


def content_of(path):
    """Return what stands for a product's content: '' if it is not whole.

    For FITS the DATASUM of the first HDU that has data, after all checksums were found right;
    else the CRC-32 of the file.
    """
    path = Path(path)
    if path.suffix.lower() in paths.RAW_ENDINGS:
        return fitsio.whole_datasum(path)
    try:
        return f"{isal_zlib.crc32(path.read_bytes()):08x}"
    except OSError:
        return ""


def is_as_made(results, record):
    """Tell whether a product's file is, by its own checksum, the one that a record is about.

    A reduced frame or combined bias must name the record's key, too: pixels alone do not tell one
    that was made with another setting.
    """
    path = Path(results) / record.product
    if path.suffix.lower() in paths.RAW_ENDINGS:
        return fitsio.signature(path) == (record.content, record.key)
    return content_of(path) == record.content != ""


def write_record(results, record, path):
    """Write a record where Snakemake looks for it."""
    text = json.dumps(vars(record), separators=(",", ":"))
    fitsio.write_hdus(Path(results) / path, [text.encode()])


def read_record(path):
    """Return the record in a file, or None if there is none that can be read."""
    try:
        return Record.from_dict(json.loads(Path(path).read_bytes()))
    except (OSError, ValueError, TypeError, KeyError):
        return None


# -- the ledger on disk ----------------------------------------------------------------------------

_FIELDS = tuple(Record.__dataclass_fields__)
# What no two products have in common.
_OWN = ("file", "fingerprint", "members")


class Ledger(dict):
    """{product: Record}, and what of it is on the disk."""

    def __init__(self, *values):
        super().__init__(*values)
        self.saved = {}

    @property
    def is_saved(self):
        """Whether the disk has it as it is."""
        return len(self) == len(self.saved) and all(
            self.saved.get(product) is record for product, record in self.items()
        )


def load(results):
    """Return the `Ledger` of a results folder; an absent or damaged one is an empty one."""
    ledger = Ledger()
    lines = fitsio.read_checked(Path(results) / paths.LEDGER)
    data = {} if lines is None else next(lines)
    if data.get("fields") != list(_FIELDS):
        return ledger
    stamp, basis, texts = _FIELDS.index("stamp"), _FIELDS.index("basis"), {}
    for values in lines:
        index, own = values[basis]
        values[basis] = {**data["bases"][index], **own}
        values[stamp] = tuple(values[stamp])
        values = [texts.setdefault(v, v) if type(v) is str else v for v in values]
        ledger[values[0]] = Record(*values)
    ledger.saved = dict(ledger)
    return ledger


def save(results, ledger):
    """Write the ledger; only if it changed. Returns whether it was written."""
    if ledger.is_saved:
        return False
    bases, records = {}, []
    for product in sorted(ledger):
        record = ledger[product]
        own = {name: record.basis[name] for name in _OWN if name in record.basis}
        common = {name: value for name, value in record.basis.items() if name not in own}
        index = bases.setdefault(json.dumps(common, sort_keys=True), len(bases))
        values = [getattr(record, name) for name in _FIELDS]
        values[_FIELDS.index("basis")] = [index, own]
        records.append(values)
    first = {"fields": _FIELDS, "bases": [json.loads(basis) for basis in bases]}
    written = fitsio.write_checked(Path(results) / paths.LEDGER, [first, *records])
    ledger.saved = dict(ledger)
    return written


def unfolded(results):
    """Yield (path, Record) of all records that jobs have left; None for an unreadable one.

    A machine that stopped may leave a file that is empty.
    """
    top = Path(results) / paths.DONE
    for folder, _, names in os.walk(top):
        for name in sorted(names):
            if name.endswith(".json") and not name.startswith("."):
                path = Path(folder) / name
                yield path, read_record(path)


def fold(results, ledger, *, verify):
    """Take the records that jobs have left into the ledger.

    Parameters
    ----------
    results : path-like
    ledger : Ledger
        Changed in place.
    verify : bool
        Whether products are asked for their checksum: so for records that an earlier run left,
        which did not come to its end.

    Returns
    -------
    paths : list of Path
        The records' files, to be removed once the ledger is written.
    unmade : list of Record
        Those that are no product: refused, or of a frame that was found to be bad or to change
        while it was read.
    """
    files, unmade = [], []
    for path, record in unfolded(results):
        files.append(path)
        if record is None or record.kind == "order":
            continue
        if record.status != MADE:
            unmade.append(record)
            if record.status != REFUSED:
                continue
        elif verify:
            if not is_as_made(results, record):
                continue
            record = replace(record, stamp=stamp_of(Path(results) / record.product))
        ledger[record.product] = replace(record, boot=boot_id())
    return files, unmade


def remove_records(results, files):
    """Remove records that are in the ledger now, and the folders that this leaves empty."""
    for path in files:
        path.unlink(missing_ok=True)
        path.with_suffix(".log").unlink(missing_ok=True)
    top = Path(results) / paths.DONE
    for folder, _, _ in os.walk(top, topdown=False):
        try:
            Path(folder).rmdir()
        except OSError:
            continue


def settle(ledger, *, now=None):
    """Return the products that must show that they survived a stop of the machine.

    Products made in this start of the machine and older than an hour are on the disk by now, and
    marked so.
    """
    now = time.time() if now is None else now
    doubtful = []
    for product, record in list(ledger.items()):
        if not record.boot or not record.stamp:
            continue
        if record.boot != boot_id():
            doubtful.append(product)
        elif abs(now - record.stamp[2] / 1e9) > _SETTLED:
            ledger[product] = replace(record, boot="")
    return doubtful
