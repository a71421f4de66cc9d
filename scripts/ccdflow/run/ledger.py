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
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import cache
from itertools import chain
from pathlib import Path

from isal import isal_zlib

from ccdflow import paths
from ccdflow.files import checksum, notes, whole

MADE = "made"
REFUSED = "refused"
SET_ASIDE = "set aside"
GONE = "gone"
FAILED = "failed"

# Records of whole batches, now and before: no products.
_BATCHES = ("batch", "order")

# The kernel has written out what is older than this, unless the machine stopped before.
_SETTLED = 3600


class Kept(Mapping):
    """A mapping that stays its JSON text until it is looked into; an archive has a million of them.

    Parameters
    ----------
    text : str
        A JSON object.
    common : dict, optional
        What many have in common; it stands for what the text does not name.
    """

    __slots__ = ("common", "text")

    def __init__(self, text, common=None):
        self.text = text
        self.common = common

    def _mapping(self):
        own = json.loads(self.text)
        return {**self.common, **own} if self.common else own

    def __getitem__(self, name):
        return self._mapping()[name]

    def __iter__(self):
        return iter(self._mapping())

    def __len__(self):
        return len(self._mapping())


def _compact(value):
    return json.dumps(value, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
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
        set aside (the raw frame is bad); gone (the raw file changed while it was read);
        failed (the job raised an error; the next run tries again).
    reason : str
    stamp : tuple of int
        Size, mtime and ctime in ns of the product's file.
    content : str
        DATASUM of a FITS product's first image, CRC-32 of another file.
    basis : mapping
        What the key was made of, to say why a product is made again.
    data : mapping
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
    basis: Mapping = field(default_factory=dict)
    data: Mapping = field(default_factory=dict)
    boot: str = ""

    def as_dict(self):
        """Return a JSON-able form."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**values, "basis": dict(self.basis), "data": dict(self.data)}

    @classmethod
    def from_dict(cls, values):
        """Return a record from what `as_dict` made of it."""
        return cls(**{**values, "stamp": tuple(values["stamp"])})


@cache
def boot_id():
    """Return a text that is another one after each start of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


stamp_of = whole.stamp_of


def content_of(path):
    """Return what stands for a product's content: '' if it is not whole.

    For FITS the DATASUM of the first HDU that has data, after all checksums were found right;
    else the CRC-32 of the file.
    """
    path = Path(path)
    if paths.is_fits(path.name):
        return checksum.whole_datasum(path)
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
    if paths.is_fits(path.name):
        return checksum.signature(path) == (record.content, record.key)
    return content_of(path) == record.content != ""


def write_record(results, record, path):
    """Write a record where Snakemake looks for it."""
    whole.write_hdus(Path(results) / path, [_compact(record.as_dict()).encode()])


def read_record(path):
    """Return the record in a file, or None if there is none that can be read."""
    try:
        return Record.from_dict(json.loads(Path(path).read_bytes()))
    except (OSError, ValueError, TypeError, KeyError):
        return None


# -- the ledger on disk ----------------------------------------------------------------------------

# What no two products have in common.
_OWN = ("file", "fingerprint", "members")
# The parts of a line: the record's short values, what is its own of its basis, and its data.
_SHORT = ("product", "kind", "key", "status", "reason", "stamp", "content", "boot")
_BETWEEN = "\t"


def common(record):
    """Return what of a record's basis many have in common, without looking into its text."""
    is_kept = isinstance(record.basis, Kept)
    return (record.basis.common or {}) if is_kept else record.basis


class Ledger(dict):
    """{product: Record}, and what of it is on the disk; bases and data are texts (`Kept`)."""

    def __init__(self, values=()):
        super().__init__()
        self.saved = {}
        self._common = {}
        for product, record in dict(values).items():
            self[product] = record

    def __setitem__(self, product, record):
        super().__setitem__(product, self._packed(record))

    def _packed(self, record):
        if isinstance(record.basis, Kept):
            return record
        own = {name: record.basis[name] for name in _OWN if name in record.basis}
        common = {name: value for name, value in record.basis.items() if name not in own}
        basis, data = Kept(_compact(own), self.shared(common)), Kept(_compact(dict(record.data)))
        return replace(record, basis=basis, data=data)

    def shared(self, common):
        """Return the one dict that stands for all that say the same."""
        return self._common.setdefault(json.dumps(common, sort_keys=True), common)

    @property
    def is_saved(self):
        """Whether the disk has it as it is."""
        return len(self) == len(self.saved) and all(
            self.saved.get(product) is record for product, record in self.items()
        )


def load(results):
    """Return the `Ledger` of a results folder; an absent or damaged one is an empty one."""
    ledger = Ledger()
    lines = notes.read_checked(Path(results) / paths.LEDGER)
    first = {} if lines is None else json.loads(next(lines))
    if first.get("fields") != list(_SHORT):
        return ledger
    bases, texts = [ledger.shared(basis) for basis in first["bases"]], {}
    for line in lines:
        short, own, data = line.split(_BETWEEN)
        *values, index = json.loads(short)
        # Thousands say the same: one text for all of them.
        values = [texts.setdefault(v, v) if type(v) is str else tuple(v) for v in values]
        product, kind, key, status, reason, stamp, content, boot = values
        basis, data = Kept(own, bases[index]), Kept(texts.setdefault(data, data))
        ledger[product] = Record(
            product, kind, key, status, reason, stamp, content, basis, data, boot
        )
    ledger.saved = dict(ledger)
    return ledger


def save(results, ledger):
    """Write the ledger; only if it changed. Returns whether it was written."""
    if ledger.is_saved:
        return False
    bases = {id(record.basis.common): record.basis.common for record in ledger.values()}
    places = {name: place for place, name in enumerate(bases)}
    first = {"fields": _SHORT, "bases": list(bases.values())}
    lines = (_line(ledger[product], places) for product in sorted(ledger))
    written = notes.write_checked(Path(results) / paths.LEDGER, chain([_compact(first)], lines))
    ledger.saved = dict(ledger)
    return written


def _line(record, places):
    values = [getattr(record, name) for name in _SHORT]
    short = _compact([*values, places[id(record.basis.common)]])
    return _BETWEEN.join((short, record.basis.text, record.data.text))


def unfolded(results):
    """Yield (path, Record) of all records that jobs have left; None for an unreadable one.

    A machine that stopped may leave a file that is empty.
    """
    top = Path(results) / paths.DONE
    for folder, _, names in os.walk(top):
        for name in sorted(names):
            if name.endswith(".json") and not name.startswith("."):
                path = os.path.join(folder, name)  # noqa: PTH118 - 100,000 of them
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
    paths : list of str
        The records' files, to be removed once the ledger is written.
    unmade : list of Record
        Those that are no product: refused, or of a frame that was found to be bad or to change
        while it was read.
    """
    files, unmade = [], []
    for path, record in unfolded(results):
        files.append(path)
        if record is None or record.kind in _BATCHES:
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
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108
    # Snakemake makes an empty log file for a job that has written none.
    logs = (
        Path(folder) / n for folder, _, names in os.walk(Path(results) / paths.LOGS) for n in names
    )
    for log in list(logs):
        with suppress(OSError):
            if not log.stat().st_size:
                log.unlink()
    for top in (paths.DONE, paths.LOGS):
        for folder, _, _ in os.walk(Path(results) / top, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()


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
