"""The record that a job leaves: its product, the key of the product, and the identity of the file.

A record is a small file of its own until the run ends; then `ccdflow.run.ledger` takes it in.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

from ccdflow import paths, wording
from ccdflow.files import atomic_write, checksum, file_access
from ccdflow.files.text_files import json_text, notes
from ccdflow.run.former_kinds import present_name

MADE = "made"
"""The product was made."""

REFUSED = "refused"
"""There is no product, for a reason that the record has."""

SET_ASIDE = wording.SET_ASIDE
"""The raw frame was set aside."""

GONE = "gone"
"""The raw file was gone or changing; the next run tries again."""

FAILED = "failed"
"""The job ended with an error; the next run tries again."""

WAITING = "waiting"
"""A source of the product could not be made: the earlier version stays (`kept_products`)."""

SYSTEM_ERROR = "of the system"
"""Entry of the data of a failed job: whether an error of the system was the cause."""

FAILURE = "failure"
"""Entry of the data of a failed job whose remedy needs another run: its problem, and the remedy."""

RAW_AWAY = "raw folder away"
"""Entry of the data of a job whose raw file could not be read: why the raw folder was away then."""

RAW_FOLDER = "raw folder"
"""Entry beside `RAW_AWAY`: the folder below the raw folder that was away, with ``/`` at its end."""

MISSING_SOURCE = "missing source"
"""Entry of the data of a product that waits for another one, or was made without it: its path."""

SETTLED_SECONDS = 3600
"""Seconds after which a new file is on the disk, unless the machine stopped before. Chosen: Linux
writes it within a minute or so."""

_compact_json = json_text.compact_encoder()
# The basis and the data of a record that is foreseen: one object for all of them.
_EMPTY_MAPPING = MappingProxyType({})
# Seconds between two looks for a record of another process. Chosen: a network file system shows a
# record seconds late.
_POLL_SECONDS = 0.5


# Not frozen, as jobs are not (`ccdflow.run.job`): a plan has one for each product.
@dataclass(slots=True)
class Record:
    """The result of a job.

    Attributes
    ----------
    product : str
        Path relative to the results folder.
    kind : str
        The name of its kind.
    key : str
        Key of the product's sources and settings.
    status : str
        `MADE`, `REFUSED`, `SET_ASIDE`, `GONE`, `FAILED` or `WAITING`. A refusal holds as long as
        the key is the same; after the last three the next run tries again.
    reason : str
    stamp : tuple of int
        Size, mtime and ctime in ns of the product's file.
    content : str
        DATASUM of a FITS product's first image and CRC-32 of its headers, see
        `ccdflow.files.checksum.product_checksum`; CRC-32 of any other file.
    basis : mapping of str to object
        The input of the key: a difference in it shows why a product is made again.
    data : mapping of str to object
        Figures for later jobs: levels, noise, statistics, members.
    boot : str
        `boot_id` of the machine when the ledger took the record in; '' once the product is known to
        be on the disk.
    """

    product: str
    kind: str
    key: str
    status: str = MADE
    reason: str = ""
    stamp: tuple[int, ...] = ()
    content: str = ""
    basis: Mapping[str, object] = field(default_factory=dict)
    data: Mapping[str, object] = field(default_factory=dict)
    boot: str = ""

    def as_dict(self):
        """Return the record as a dict that JSON can hold."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**values, "basis": dict(self.basis.items()), "data": dict(self.data.items())}

    @property
    def is_made_without(self):
        """Whether the product was made although one of its sources could not be made."""
        return self.status == MADE and bool(self.data.get(MISSING_SOURCE))

    def ledger_record(self):
        """Return the record for the ledger: with the present `boot_id`, without a missing source.

        The missing source is not named there, because the key already differs without it.
        """
        data = self.data
        if data.get(MISSING_SOURCE):
            data = {name: value for name, value in data.items() if name != MISSING_SOURCE}
        return replace(self, data=data, boot=boot_id())

    @classmethod
    def from_dict(cls, values):
        """Return the record that `as_dict` turned into plain values."""
        kind, stamp = present_name(values["kind"]), tuple(values["stamp"])
        return cls(**{**values, "kind": kind, "stamp": stamp})

    @classmethod
    def foreseen(cls, product, kind, key):
        """Return the record that a job will leave if it makes its product; without the figures.

        Parameters
        ----------
        product, kind, key : str
            As the attributes.

        Returns
        -------
        Record
        """
        # The values are given by place, and without new dicts, because a plan makes such a record
        # for each new frame.
        return cls(product, kind, key, MADE, "", (), "", _EMPTY_MAPPING, _EMPTY_MAPPING)

    @classmethod
    def of_short_values(cls, values, basis, data):
        """Return the record with the values of `SHORT_FIELDS`, a basis and data.

        Parameters
        ----------
        values : sequence of object
            One value for each of `SHORT_FIELDS`, in their order.
        basis, data : mapping of str to object
            As the attributes.

        Returns
        -------
        Record
        """
        # Values by place are faster than by name: an archive has hundreds of thousands of records.
        product, kind, key, status, reason, stamp, content, boot = values
        return cls(
            product, present_name(kind), key, status, reason, stamp, content, basis, data, boot
        )


SHORT_FIELDS = tuple(each.name for each in fields(Record) if each.name not in ("basis", "data"))
"""The fields of a record without its two mappings."""


@cache
def boot_id():
    """Return a text that changes with each start of the machine.

    A system without such a text gives the name of the machine, which does not change.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


def file_checksum(path):
    """Return the checksum of a product's content; '' if the file is missing or damaged.

    For FITS it is the DATASUM of the first HDU with data, after all checksums were verified; for
    other files it is the CRC-32.
    """
    path = Path(path)
    if paths.is_fits(path.name):
        return checksum.datasum_of_file(path)
    try:
        with path.open("rb") as file:
            return f"{notes.crc32_of(file):08x}"
    except OSError:
        return ""


def is_as_made(results, record):
    """Return whether the content of a product's file is that of a record, by its checksum.

    The header of a FITS product must also have the record's key: other settings can give equal
    pixels.

    Parameters
    ----------
    results : path-like
        The results folder.
    record : Record

    Returns
    -------
    bool
    """
    path = Path(results) / record.product
    if paths.is_fits(path.name):
        return checksum.datasum_and_key(path) == (checksum.datasum_of(record.content), record.key)
    return file_checksum(path) == record.content and record.content != ""


def write_record(results, record, path):
    """Write a record at the path that Snakemake expects.

    Parameters
    ----------
    results : path-like
        The results folder.
    record : Record
    path : str
        Relative to the results folder.
    """
    atomic_write.write_whole(Path(results) / path, [_compact_json(record.as_dict()).encode()])


def read_record(path):
    """Return the record in a file; None if the file is missing or not whole.

    Raises
    ------
    OSError
        If the system does not allow the file to be read.
    """
    try:
        return Record.from_dict(json.loads(file_access.read_bytes(path)))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
        return None


def readable_record(path):
    """Return the record in a file; None if it is missing or cannot be read: the job is not done."""
    try:
        return read_record(path)
    except OSError:
        return None


def await_records(files, seconds):
    """Wait for the records of other processes; return the first record that has not appeared.

    A network file system may show a file of another machine late.

    Parameters
    ----------
    files : iterable of path-like
    seconds : float
        The longest wait for all of them.

    Returns
    -------
    path-like or None
        The path of that record; None if all are there.
    """
    end = time.monotonic() + seconds
    for file in files:
        while not os.path.exists(file):  # noqa: PTH110
            if time.monotonic() > end:
                return file
            time.sleep(_POLL_SECONDS)
    return None


def unfolded_records(results):
    """Yield (path, record) of each record that is not in the ledger; the record is None if damaged.

    A stop of the machine may leave an empty file.
    """
    top = Path(results) / paths.DONE_FOLDER
    for folder, _, names in os.walk(top, onerror=file_access.raise_unless_missing):
        # The first attempt of a job, whose name has no number, comes before the second attempt.
        for name in sorted(names, key=lambda name: name.removesuffix(".json")):
            if name.endswith(".json") and not name.startswith("."):
                path = os.path.join(folder, name)  # noqa: PTH118 - 100,000 of them
                yield path, readable_record(path)


def paths_of_records(results):
    """Return the paths, relative to the results folder, of all files among the records."""
    return {
        os.path.relpath(os.path.join(folder, name), results)  # noqa: PTH118
        for folder, _, names in os.walk(Path(results) / paths.DONE_FOLDER)
        for name in names
    }
