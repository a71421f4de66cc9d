"""The row of a raw frame: the facts of its header, whether it can be reduced, and why not."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from operator import attrgetter, itemgetter

from ccdflow import wording
from ccdflow.camera import geometry
from ccdflow.camera.times.nights import undated_night
from ccdflow.files.text_files import json_text

OK = "ok"
"""The frame can be reduced."""

SET_ASIDE = wording.SET_ASIDE
"""The frame cannot be reduced, for the reason in its row."""

ARRIVING_STATUS = "arriving"
"""The file is still being written."""

RAW_MISSING = "raw file missing"
"""The raw file is no longer there, or cannot be read any more; it has a product."""

DELETED_OR_MOVED = "it was deleted or moved"
"""`Row.gone` of a raw file that is missing; for a file that cannot be read it is the error."""

FACTS = (
    "imagetyp", "type", "filter", "exptime", "naxis1", "naxis2", "biassec", "trimsec", "datasec",
    "ccdsec", "ccdsum", "gain", "rdnoise", "date_obs", "object", "readmode", "window", "night",
    "part", "setting", "grism", "set_temperature", "temperature", "optics",
)  # fmt: skip
"""The names of the facts that the header of a frame gives."""

# Facts that pages do not show: they distinguish groups and choose masters.
_HIDDEN_FACTS = {"setting", "set_temperature", "temperature", "optics"}
# Older results: pages made of them lack these facts. A page shows one only where it has a value, so
# that such pages stay as they are.
_LATER_FACTS = ("grism",)

UNDATED_NIGHT = "undated"
"""The night of frames without a date."""

# Matches "2016-01-28".
_DATED_NIGHT = re.compile(r"\d{4}-\d\d-\d\d")


_INDEX_OF_FACT = {name: index for index, name in enumerate(FACTS)}
_shown_facts_of = itemgetter(
    *(_INDEX_OF_FACT[n] for n in FACTS if n not in _HIDDEN_FACTS and n not in _LATER_FACTS)
)


class Facts(Mapping):
    """The facts of a frame's header: a mapping that takes a third of the memory of a dict.

    Parameters
    ----------
    values : sequence of object
        A value for each of ``FACTS``; '' where there is none.
    """

    __slots__ = ("_values",)

    def __init__(self, values):
        self._values = tuple(values)

    @classmethod
    def of(cls, values):
        """Return the facts of a mapping; missing ones and None become ''."""
        facts = map(values.get, FACTS)
        return cls("" if value is None else value for value in facts)

    def __getitem__(self, name):
        return self._values[_INDEX_OF_FACT[name]]

    def __iter__(self):
        return iter(FACTS)

    def __len__(self):
        return len(FACTS)

    def values(self):
        """Return the values as a tuple, in the order of ``FACTS``."""
        return self._values

    def shown_values(self):
        """Return the values that pages show: they are made again when one of these changes."""
        later_facts = [[name, self[name]] for name in _LATER_FACTS if self[name] != ""]
        return (*_shown_facts_of(self._values), *later_facts)


def picker_of_facts(*names):
    """Return a function that takes `Facts` and returns the values of these names as a tuple."""
    pick_values = value_picker(*names)
    return lambda facts: pick_values(facts.values())


def value_picker(*names):
    """Return a function that takes the ``values()`` of `Facts` and returns those of these names.

    They are a tuple; for one name, the value itself. A loop over all frames that uses several such
    functions asks each frame for its ``values()`` once.
    """
    return itemgetter(*(_INDEX_OF_FACT[name] for name in names))


def is_dated(night):
    """Return whether the name of a night is a date."""
    return bool(_DATED_NIGHT.fullmatch(night))


class RowMark(StrEnum):
    """A finding on a raw frame that other code asks for; ``reason`` and ``gone`` word it."""

    NO_OVERSCAN = geometry.NO_OVERSCAN
    LIT_STRIP_BY_CARD = geometry.LIT_STRIP_BY_CARD
    UNKNOWN_TYPE = "unknown_type"
    NAMED_BY_OBJECT = "named_by_object"
    # Set aside: another file would become the same product; the overscan of a flat holds data.
    TWIN = "twin"
    LIT_OVERSCAN = "lit_overscan"
    # Gone, and its product is in the place of another frame's file or folder.
    PRODUCT_IN_THE_WAY = "product_in_the_way"


@dataclass(frozen=True, slots=True)
class Row:
    """One raw frame.

    Attributes
    ----------
    file : str
        Path relative to the raw folder.
    stamp : tuple of int
        Size, mtime and ctime in ns when it was read; () for a file that is to be read again.
    facts : Facts
        Values of the header; most are cells of the table, see
        `ccdflow.run.raw_frames.inventory_table.COLUMNS`.
    camera : str
        The camera's name; '' where none could be found.
    geometry : str
        Name of its geometry in the store; '' for a frame that is set aside.
    recipe : str
        Name of its recipe in the store.
    fingerprint : str
        CRC-32 and length of the FITS file, see `ccdflow.files.fits_structure.RawLayout`.
    status, reason : str
    basis : str
        Hash of the settings and the camera's profile that the file was read by; after a hyphen,
        hash of those among them that change the pixels of its product.
    gone : str
        The reason why the file, which was read once, cannot be read any more; '' while it can.
    flags : str
        Findings in its pixels, or beside other frames: a saturated or dead amplifier, a copy, a
        frame unlike the others of its group.
    warnings : str
        Cards that cannot be read, and values that had to be guessed: a line each.
    packed : str
        CRC-32 of the file's bytes as they are, of a file that the next run reads again because it
        is young; else ''.
    amplifier_warnings : str
        The warnings on amplifiers in ``reason``, a line each: topic, tab, text.
    marks : str
        The `RowMark` of its findings, with blanks between.
    """

    file: str
    stamp: tuple[int, int, int]
    facts: Mapping[str, object] = field(compare=False)
    camera: str = ""
    geometry: str = ""
    recipe: str = ""
    fingerprint: str = ""
    status: str = OK
    reason: str = ""
    basis: str = ""
    gone: str = ""
    flags: str = ""
    warnings: str = ""
    packed: str = ""
    amplifier_warnings: str = ""
    marks: str = ""

    @property
    def night(self):
        """The night, never empty."""
        return self.facts["night"] or UNDATED_NIGHT

    @property
    def is_undated(self):
        """Whether neither a card nor a folder's name gives the date."""
        return not self.facts["date_obs"] and not is_dated(self.facts["night"])

    @property
    def is_unreadable(self):
        """Whether a file that was read before cannot be read now, although it is there."""
        return bool(self.gone) and self.stamp == ()

    def has(self, mark):
        """Return whether the row has a `RowMark`."""
        return mark in self.marks.split()

    @property
    def topics_and_warnings(self):
        """The topic and the text of each warning in ``reason``: a list of tuples."""
        return [tuple(line.split("\t")) for line in self.amplifier_warnings.splitlines()]

    def with_verdict(self, status, reason, *, mark="", **changed):
        """Return the row with another status and reason, and no finding of the former reason.

        Parameters
        ----------
        status, reason : str
        mark : RowMark, optional
        **changed : str or tuple
            Further fields of the row.

        Returns
        -------
        Row
        """
        return replace(
            self, status=status, reason=reason, amplifier_warnings="", marks=str(mark), **changed
        )

    @property
    def status_and_reason(self):
        """Status and reason as they stand in the table."""
        if self.gone:
            return RAW_MISSING, f"{self.gone}; its product is kept"
        if not self.warnings:
            # Most frames have no remark, or one.
            has_both = bool(self.reason and self.flags)
            return (
                self.status,
                f"{self.reason}; {self.flags}" if has_both else self.reason or self.flags,
            )
        warnings = (f"warning: {text}" for text in self.warnings.splitlines())
        remarks = (self.reason, *warnings, self.flags)
        return self.status, "; ".join(text for text in remarks if text)

    def as_dict(self):
        """Return the row as a dict that JSON can hold."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**values, "facts": dict(self.facts)}

    @classmethod
    def from_dict(cls, values):
        """Return a row from its `as_dict`."""
        stamp, facts = tuple(values["stamp"]), Facts.of(values["facts"])
        return cls(**{**values, "stamp": stamp, "facts": facts})


OWN_TEXTS = tuple(each.name for each in fields(Row))[3:]
"""The names of the fields of a row that are short texts."""

# Returns these texts of a row.
own_texts_of = attrgetter(*OWN_TEXTS)


def plain_row(row):
    """Return a row as plain values."""
    return [row.file, row.stamp, row.facts.values(), *own_texts_of(row)]


def row_of_plain_values(values):
    """Return the row of the plain values that `plain_row` returned."""
    file, stamp, facts, *further_fields = values
    return Row(file, tuple(stamp), Facts(facts), *further_fields)


def row_with_shared_texts(values, texts):
    """Return the row of plain values; texts that other rows have as well are the same objects.

    Parameters
    ----------
    values : list of object
        As `plain_row` returns them.
    texts : dict of str to str
        Texts of other rows; it gets those of this one.

    Returns
    -------
    Row
    """
    shared, (file, stamp, facts, *further_fields) = texts.setdefault, values
    facts = [shared(value, value) if type(value) is str else value for value in facts]
    return Row(file, tuple(stamp), Facts(facts), *map(shared, further_fields, further_fields))


def unread_row(file, stamp=(), basis=""):
    """Return the row of a file of unknown content.

    Parameters
    ----------
    file : str
        Path of the raw file relative to the raw folder.
    stamp : tuple of int, optional
        Size, mtime and ctime in ns; () for a file that is to be read again.
    basis : str, optional
        Hash of profiles and settings.

    Returns
    -------
    Row
    """
    return Row(file, stamp, Facts.of({"night": undated_night(file)}), basis=basis)


def unreadable_row(row):
    """Return the row that a first run gives to a file that cannot be read.

    Parameters
    ----------
    row : Row
        The row of a file that could be read before; ``gone`` has the reason why it cannot be read
        now.

    Returns
    -------
    Row
        Set aside, with header values as unknown as those of a file that never was read.
    """
    return unread_row(row.file).with_verdict(SET_ASIDE, row.gone)


def digest(value):
    """Return a hash of a JSON-able value: 16 hexadecimal digits."""
    return digest_of(canonical_text(value))


# Writes a value as the text whose hash is taken.
canonical_text = json_text.compact_encoder(sort_keys=True)


def digest_of(text):
    """Return a hash of a text: 16 hexadecimal digits."""
    return short_digest(hashlib.sha256(text.encode()))


def short_digest(hashed):
    """Return the first 16 hexadecimal digits of a SHA-256."""
    return hashed.hexdigest()[:16]
