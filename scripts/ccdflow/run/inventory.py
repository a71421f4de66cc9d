"""The table of all raw frames, brought up to date by reading only what is new or has changed.

What is remembered from run to run (`HeaderStore`) holds a file's size and times beside what its
header said, so that a file that looks untouched is not opened. `inventory.csv` is made of it and
holds no times, so it changes only when what it says changes.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import time
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from operator import itemgetter
from pathlib import Path, PurePosixPath

import pandas as pd

from ccdflow import paths
from ccdflow.camera import cameras as cameras_module
from ccdflow.camera.geometry import Cards, Geometry
from ccdflow.camera.marks import refuse_reduced
from ccdflow.camera.nights import undated_night
from ccdflow.camera.recipe import AUTO, ReductionRecipe
from ccdflow.errors import CcdflowError, FrameError
from ccdflow.files import notes, rawfile, whole
from ccdflow.files.scaling import scaling_of
from ccdflow.run import reading
from ccdflow.run.rawfolder import look_through
from ccdflow.run.tracebacks import text_of

# Raise it when a change to the reading of headers alters what the table says.
READING = 6

OK = "ok"
SET_ASIDE = "set aside"
ARRIVING = "arriving"
RAW_MISSING = "raw file missing"
# `Row.gone` of such a file. A file that is there but cannot be read has the reason in its place.
GONE = "it was deleted or moved"

COLUMNS = (
    "file", "night", "camera", "imagetyp", "type", "filter", "grism", "exptime", "naxis1", "naxis2",
    "biassec", "trimsec", "datasec", "ccdsec", "ccdsum", "gain", "rdnoise", "date_obs",
    "object", "readmode", "window", "fingerprint", "status", "reason",
)  # fmt: skip
_FACTS = (
    "imagetyp", "type", "filter", "exptime", "naxis1", "naxis2", "biassec", "trimsec", "datasec",
    "ccdsec", "ccdsum", "gain", "rdnoise", "date_obs", "object", "readmode", "window", "night",
    "part", "setting", "grism", "set_temperature", "temperature", "optics",
)  # fmt: skip
# What only groups are told apart by, and masters chosen by.
_NOT_SHOWN = {"setting", "set_temperature", "temperature", "optics"}
# What pages show where there is something: pages of before know of none.
_LATER = ("grism",)
_NUMBERS = {"exptime", "naxis1", "naxis2", "gain", "rdnoise"}
UNDATED = "undated"
_DATED = re.compile(r"\d{4}-\d\d-\d\d")


_PLACES = {name: place for place, name in enumerate(_FACTS)}
_SHOWN = itemgetter(*(_PLACES[n] for n in _FACTS if n not in _NOT_SHOWN and n not in _LATER))


class Facts(Mapping):
    """What a frame's header says: a mapping that takes a third of the room of a dict.

    Parameters
    ----------
    values : sequence
        A value for each of ``_FACTS``; '' where there is none.
    """

    __slots__ = ("_values",)

    def __init__(self, values):
        self._values = tuple(values)

    @classmethod
    def of(cls, values):
        """Return the facts of a mapping; what it lacks or has as None is ''."""
        found = map(values.get, _FACTS)
        return cls("" if value is None else value for value in found)

    def __getitem__(self, name):
        return self._values[_PLACES[name]]

    def __iter__(self):
        return iter(_FACTS)

    def __len__(self):
        return len(_FACTS)

    def values(self):
        """Return the values as a tuple, in the order of ``_FACTS``."""
        return self._values

    def shown(self):
        """Return the values that pages show: they are made again when one of these changes."""
        later = [[name, self[name]] for name in _LATER if self[name] != ""]
        return (*_SHOWN(self._values), *later)


def picker(*names):
    """Return a function that gives the values of some `Facts` under these names as a tuple."""
    pick = itemgetter(*(_PLACES[name] for name in names))
    return lambda facts: pick(facts.values())


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
        Cells of the table, see `COLUMNS`.
    camera : str
        The camera's name; '' where none could be found.
    geometry : str
        Name of its geometry in the store; '' for a frame that is set aside.
    recipe : str
        Name of its recipe in the store.
    fingerprint : str
    status, reason : str
    basis : str
        Hash of what the row was made with, of the profiles and settings; and behind a hyphen, of
        what of it the pixels of the product depend on.
    gone : str
        Why there is nothing to be read any more, though there was; '' as long as there is.
    flags : str
        What was found in its pixels or beside other frames: an amplifier that is saturated
        throughout or dead; that it is a copy; that it does not look like the other biases.
    warnings : str
        What of its header is there and cannot be read, and what had to be guessed: a line each.
    packed : str
        CRC-32 of the file's bytes as they are, of a file that the next run reads again because it
        is young; else ''.
    """

    file: str
    stamp: tuple[int, int, int]
    facts: Mapping = field(compare=False)
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

    @property
    def night(self):
        """The night, never empty."""
        return self.facts["night"] or UNDATED

    @property
    def is_undated(self):
        """Whether neither a card nor a folder's name tells the date."""
        return not self.facts["date_obs"] and not _DATED.fullmatch(self.facts["night"])

    @property
    def shown(self):
        """Status and reason as they stand in the table."""
        if self.gone:
            return RAW_MISSING, f"{self.gone}; its product is kept"
        warnings = (f"warning: {text}" for text in self.warnings.splitlines())
        said = (self.reason, *warnings, self.flags)
        return self.status, "; ".join(text for text in said if text)

    def as_dict(self):
        """Return a JSON-able form."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**values, "facts": dict(self.facts)}

    @classmethod
    def from_dict(cls, values):
        """Return a row from what `as_dict` made of it."""
        stamp, facts = tuple(values["stamp"]), Facts.of(values["facts"])
        return cls(**{**values, "stamp": stamp, "facts": facts})


# The short texts of a row.
_OWN = tuple(field.name for field in fields(Row))[3:]


@dataclass
class HeaderStore:
    """What is remembered of the raw frames' headers.

    Attributes
    ----------
    rows : dict of str to Row
    shared : dict of str to dict
        Geometries and recipes by the hash of their canonical form: thousands of frames have few.
    table : tuple of int
        Size and times of ``inventory.csv`` when it was last known to say what the rows say.
    saved : dict of str to Row
        The rows as they are on the disk.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    shared: dict[str, dict] = field(default_factory=dict)
    table: tuple = ()
    saved: dict[str, Row] = field(default_factory=dict, compare=False)

    # What was raised, and not foreseen, while a file was read.
    tracebacks: dict[str, str] = field(default_factory=dict, compare=False)

    # One text for all that say the same, as thousands of rows do.
    texts: dict[str, str] = field(default_factory=dict, compare=False)
    _geometries: dict = field(default_factory=dict, compare=False, repr=False)

    def geometry(self, name):
        """Return the `ccdflow.camera.geometry.Geometry` of a name, as in ``Row.geometry``."""
        if name not in self._geometries:
            self._geometries[name] = Geometry.from_canonical(self.shared[name])
        return self._geometries[name]

    def recipe(self, name):
        """Return the `ccdflow.camera.recipe.ReductionRecipe` of a name, as in ``Row.recipe``."""
        return ReductionRecipe(**self.shared[name])

    def keep(self, value):
        """Remember a JSON-able value and return its name."""
        name = digest(value)
        self.shared.setdefault(name, value)
        return name

    def add(self, row):
        """Put a row in its place."""
        same = self.texts.setdefault
        facts = [
            same(value, value) if type(value) is str else value for value in row.facts.values()
        ]
        own = [getattr(row, name) for name in _OWN]
        self.rows[row.file] = Row(row.file, row.stamp, Facts(facts), *(same(t, t) for t in own))


def digest(value):
    """Return 16 hexadecimal digits that stand for a JSON-able value."""
    return digest_of(canonical_text(value))


# How a value is written before its hash is taken.
canonical_text = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


def digest_of(text):
    """Return 16 hexadecimal digits that stand for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# -- the store on disk ---------------------------------------------------------------------------


def load_store(results):
    """Read the store of a results folder; an absent or unreadable one is an empty one.

    Losing it costs time, never a product: all headers are read again. So they are where an older
    version read them; what it knew is kept for those whose raw file is gone.
    """
    lines = notes.read_checked(Path(results) / paths.HEADERS)
    data = {} if lines is None else json.loads(next(lines))
    if "facts" not in data:
        return HeaderStore()
    is_older = data.get("reading") != READING or data["facts"] != list(_FACTS)
    store = HeaderStore(shared=data["shared"], table=tuple(data["table"]))
    decode, is_same = json.JSONDecoder().raw_decode, data["facts"] == list(_FACTS)
    for line in lines:
        file, stamp, values, *rest = decode(line)[0]
        facts = (
            Facts(values) if is_same else Facts.of(dict(zip(data["facts"], values, strict=True)))
        )
        store.add(Row(file, _OLDER if is_older else tuple(stamp), facts, *rest))
    store.saved = {} if is_older else dict(store.rows)
    return store


# The stamp of a row that an older version read.
_OLDER = (-1,)


def save(results, store):
    """Write ``inventory.csv`` and the store, each only if it changed."""
    before = store.table
    path = Path(results) / paths.INVENTORY
    unchanged = _same(store.rows, store.saved)
    if not unchanged or whole.stamp_of(path) != before or not before:
        write_table(results, store)
        store.table = whole.stamp_of(path)
    if unchanged and store.table == before:
        return
    used = {name for row in store.rows.values() for name in (row.geometry, row.recipe)}
    rows = (
        [row.file, row.stamp, row.facts.values(), *(getattr(row, name) for name in _OWN)]
        for row in sorted(store.rows.values(), key=lambda row: row.file)
    )
    shared = {name: value for name, value in sorted(store.shared.items()) if name in used}
    encode = json.JSONEncoder(separators=(",", ":")).encode
    first = {"reading": READING, "table": store.table, "facts": _FACTS, "shared": shared}
    notes.write_checked(Path(results) / paths.HEADERS, map(encode, chain([first], rows)))
    store.saved = dict(store.rows)


def _same(rows, others):
    return len(rows) == len(others) and all(others.get(name) is row for name, row in rows.items())


# -- bringing it up to date ----------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """What the reading of headers depends on, from the configuration.

    Attributes
    ----------
    raw : Path
    cameras : tuple of ccdflow.camera.cameras.Camera
    reduction : dict
        Defaults of the recipe.
    frame_memory : int
        Bytes that a frame may ask for.
    settle : float
        Seconds during which an incomplete file counts as still being written.
    is_folding : bool
        Whether the results lie in a file system to which capitals are small letters.
    """

    raw: Path
    cameras: tuple
    reduction: dict
    frame_memory: int
    settle: float
    is_folding: bool = False


def update(
    store, settings, *, now=None, progress=None, again=frozenset(), cores=1, only=None,
):  # fmt: skip
    """Bring the store up to date with the raw folder.

    Parameters
    ----------
    store : HeaderStore
        Changed in place.
    settings : Settings
    now : float, optional
        Seconds since the epoch.
    progress : callable, optional
        Called with (read so far, to read).
    again : set of str, optional
        Products whose raw files are read again where they are set aside; None for all.
    cores : int
        How many processes may read headers.
    only : dict of str to tuple, optional
        The files to read, with their stamps; the folder is not looked through then.

    Returns
    -------
    gone : list of str
        Files that were there before and are not any more; their rows are still in the store.
    """
    now = time.time() if now is None else now
    found, problems = look_through(settings.raw) if only is None else (only, {})
    basis = _Basis(settings)
    stale = [
        file
        for file, stamp in found.items()
        if not _is_current(store.rows.get(file), stamp, basis)
        or _is_asked_for_again(store.rows[file], again)
    ]

    def known(file):
        before = store.rows.get(file)
        is_read_anew = before is not None and before.stamp == _OLDER and not before.gone
        return None if is_read_anew else before

    files = [(file, found[file], known(file)) for file in stale]
    rows = reading.read_all(_Reader(settings, basis, now), files, cores=cores)
    for count, (row, geometry, recipe, traceback) in enumerate(rows, start=1):
        if geometry is not None:
            row = replace(row, geometry=store.keep(geometry), recipe=store.keep(recipe))
        store.add(row)
        store.tracebacks.update(traceback)
        if progress is not None:
            progress(count, len(stale))
    for file, problem in problems.items():
        store.add(replace(unread_row(file), status=SET_ASIDE, reason=problem))
    _refuse_twins(store, found)
    if settings.is_folding:
        _refuse_spellings(store, found)
    return sorted(set(store.rows) - set(found) - set(problems))


@dataclass(frozen=True)
class _Reader:
    """Reads the rows of files; other processes can be given it."""

    settings: Settings
    basis: _Basis
    now: float

    def __call__(self, known):
        """Return (row, geometry, recipe, tracebacks) of (file, stamp, the row before or None)."""
        tracebacks = {}
        file, stamp, before = known
        found = read_row(file, stamp, before, self.settings, self.basis, self.now, tracebacks)
        return *found, tracebacks


def _is_asked_for_again(row, again):
    """Tell whether a frame that is set aside is to be looked at once more."""
    return row.status == SET_ASIDE and (again is None or paths.reduced(row.file) in again)


class _Basis:
    """Hashes of what a row depends on beside its file, so that editing a camera reads its own."""

    def __init__(self, settings):
        recognition = [repr((camera.recognise, camera.size)) for camera in settings.cameras]
        general = [READING, settings.reduction, settings.frame_memory, recognition]
        self._reduction = settings.reduction
        # Where the profile's file lies does not matter.
        self._of = {
            camera.name: digest([*general, repr(replace(camera, path=""))])
            + "-"
            + self._pixels(camera)
            for camera in settings.cameras
        }
        generic = cameras_module.generic_camera([], taken=frozenset())
        self._generic = f"{digest(general)}-{self._pixels(generic)}"

    def _pixels(self, camera):
        sections = {field.name for field in fields(Cards)}
        cards = [(name, repr(specs)) for name, specs in camera.cards if name in sections]
        pixels = [camera.amplifiers, camera.overscan, camera.layout, camera.size]
        pixels += [each for each in (camera.gain, camera.read_noise) if each is not None]
        recipe = camera.recipe(self._reduction)
        # What the width of the strip decides, `outdated` asks of each row.
        recipe = replace(recipe, model=None) if recipe.model == AUTO else recipe
        return digest([repr(pixels), cards, recipe.canonical()])

    def of(self, camera):
        return self._of.get(camera, self._generic)


def outdated(store, settings):
    """Return the files that are gone and whose camera was edited since: nothing can be redone.

    Parameters
    ----------
    store : HeaderStore
    settings : Settings

    Returns
    -------
    set of str
    """
    basis = _Basis(settings)
    cameras = {camera.name: camera for camera in settings.cameras}

    def is_outdated(row):
        if row.basis.split("-")[1:] != basis.of(row.camera).split("-")[1:]:
            return True
        camera = cameras.get(row.camera) or cameras_module.generic_camera([])
        recipe = camera.recipe(settings.reduction).for_geometry(store.geometry(row.geometry))
        return recipe.canonical() != store.shared[row.recipe]

    return {row.file for row in store.rows.values() if row.gone and is_outdated(row)}


def _is_current(row, stamp, basis):
    return (
        row is not None
        and row.stamp == stamp != ()
        and row.status in (OK, SET_ASIDE)
        and not row.gone
        and row.basis == basis.of(row.camera)
        and not row.reason.startswith(_TWIN)
    )


def read_row(file, stamp, before, settings, basis, now, tracebacks):
    """Read one raw frame's headers and return (row, geometry, recipe) in canonical form.

    A file that was known and has new times is inflated to its end: its fingerprint may be the old
    one though its middle is damaged. Whatever its reading raises, the file is set aside;
    ``tracebacks`` gets what nobody foresaw.
    """
    row = unread_row(file, stamp, basis.of(""))
    geometry = recipe = None
    try:
        _check_name(file)
        with rawfile.reading(file):
            raw = rawfile.open_raw(settings.raw / file, file)
        with raw:
            row = replace(row, stamp=raw.stamp)
            layout = raw.layout(memory=settings.frame_memory)
            row = replace(row, fingerprint=layout.fingerprint)
            headers = layout.headers
            camera = cameras_module.identify(headers, settings.cameras, file=file)
            row = replace(row, camera=camera.name, basis=basis.of(camera.name))
            row = _described(row, camera, headers)
            where, how = _arranged(file, camera, headers, settings)
            geometry, recipe = where.canonical(), how.for_geometry(where).canonical()
            notes = [row.reason, *where.notes]
            row = replace(row, reason="; ".join(note for note in notes if note))
            if not layout.checked:
                row = _checked(raw, layout, before, row, now, settings)
    except rawfile.Unreadable as error:
        return _unreadable(row, before, error, settings.raw / file), None, None
    except (rawfile.Incomplete, rawfile.Changed) as error:
        # A clock may be wrong either way.
        new = isinstance(error, rawfile.Changed) or _is_young(row.stamp[:2], now, settings)
        if new and before is not None and before.status == OK and before.geometry:
            # It is written once more: until that is done it is what it was.
            return replace(before, stamp=()), None, None
        reason = f"still being written: {error.reason}" if new else error.reason
        row = replace(row, status=ARRIVING if new else SET_ASIDE, reason=reason)
    except CcdflowError as error:
        # A frame that two profiles recognise is no reason to reduce no other.
        row = replace(row, status=SET_ASIDE, reason=error.reason)
    except Exception as error:
        tracebacks[file] = text_of(file, error)
        row = replace(row, status=SET_ASIDE, reason=rawfile.unforeseen(file, error).reason)
    if _is_young(row.stamp, now, settings) or _is_first_verdict(before, row):
        # What is still written to it may leave its times as they are, and what was misread once
        # is no verdict: it is read once more.
        row = replace(row, stamp=())
    return row, geometry, recipe


def _checked(raw, layout, before, row, now, settings):
    """Return the row once the file's pixels are known to be what its headers promise, or new.

    A young file is read again by the next run. If its bytes are then the same as now, they need not
    be inflated once more.
    """
    is_young = _is_young(row.stamp, now, settings)
    was_young = before is not None and before.stamp == () and before.packed != ""
    if is_young or was_young:
        row = replace(row, packed=raw.bytes_checksum())
    is_as_it_was = was_young and before.status == OK and before.packed == row.packed
    if _is_doubtful(before, row) and not is_as_it_was:
        raw.read_all(layout, memory=settings.frame_memory)
    return row if is_young else replace(row, packed="")


def _is_first_verdict(before, row):
    """Tell whether a file is set aside for what no reading before has said."""
    if row.status != SET_ASIDE:
        return False
    return (
        before is None
        or (before.status, before.reason) != (row.status, row.reason)
        or before.stamp not in ((), row.stamp)
    )


def _described(row, camera, headers):
    """Return the row with what its headers say, and what of them cannot be read."""
    described = camera.describe(headers, file=row.file)
    facts = {name: getattr(described, name) for name in _FACTS}
    facts |= {"type": facts["type"] or "other"}
    return replace(
        row,
        facts=Facts.of(facts),
        reason=described.reason,
        warnings="\n".join(described.warnings),
    )


def _arranged(file, camera, headers, settings):
    """Return the geometry and the recipe of a raw frame, or raise `FrameError`."""
    if not camera.raw:
        refuse_reduced(headers, file=file)
    how = camera.recipe(settings.reduction)
    where = camera.geometry(headers, file=file, layout=how.layout)
    for hdu, _ in where.raw_shapes:
        scaling_of(headers[hdu], file)
    return where, how


def unread_row(file, stamp=(), basis=""):
    """Return the row of a file of which nothing but its name is known."""
    return Row(file, stamp, Facts.of({"night": undated_night(file)}), basis=basis)


def _unreadable(row, before, error, path):
    """Return the row of a file that cannot be read."""
    if not os.path.lexists(path):
        # It was there when the folder was looked through.
        row = before or replace(row, status=ARRIVING, reason=_WENT_AWAY)
        return replace(row, stamp=())
    if before is not None and before.geometry:
        return replace(before, gone=error.reason, stamp=())
    return replace(row, status=SET_ASIDE, reason=error.reason, stamp=())


def _is_young(stamp, now, settings):
    """Tell whether a file was written to, or got its name, a short while ago, by its times."""
    return any(abs(now - time_ns / 1e9) < settings.settle for time_ns in stamp[1:])


_WENT_AWAY = "it went away while its header was read"


def _is_doubtful(before, row):
    """Tell whether a file that looks as it did may be damaged where headers do not show it."""
    if before is None or before.fingerprint != row.fingerprint:
        return False
    return before.stamp != row.stamp or before.status == SET_ASIDE


def _check_name(file):
    if not file.isprintable():
        raise FrameError(
            "the file's name has a line break, a control character or is not valid UTF-8",
            file=shown_name(file),
            value=file.encode("unicode_escape").decode("ascii"),
            remedy="rename it",
        )
    longest = max(map(len, paths.names_of_record(file)))
    length = len("/".join(paths.names_of_record(file)))
    if longest > paths.NAME_MAX or length > _PATH_MAX:
        raise FrameError(
            "the file's name is too long for the notes that are kept under it",
            file=file,
            value=f"{longest} bytes, {length} with its folders; letters beyond ASCII count thrice",
            allowed=f"{paths.NAME_MAX} bytes, {_PATH_MAX} with its folders and with what is added",
            remedy="rename it",
        )


def shown_name(file):
    """Return a file's name as it can stand in a table: escapes where it is not UTF-8."""
    return file.encode("utf-8", "backslashreplace").decode()


# Bytes of a record's path below the results folder. Linux takes 4095 of the whole path, of which
# Snakemake makes a third more.
_PATH_MAX = 2000
_TWIN = "would become the same product as"
_TWIN_FOLDER = f"{_TWIN} one in the folder of"


def _refuse_twins(store, found):
    """Set aside raw files that would become one product, by name, before any work.

    A product may also stand where the folder of another one has to be.
    """
    by_product = {}
    for file in found:
        by_product.setdefault(paths.reduced(file), []).append(file)
    inside = _folders(store.rows)
    for product, files in by_product.items():
        for file in files:
            others = [other for other in files if other != file]
            if product in inside:
                others.append(f"the folder of {inside[product]}")
            row = store.rows[file]
            if others and row.status != ARRIVING and not row.gone:
                reason = f"{_TWIN} {', '.join(others)}; move one of them out of the raw folder"
                store.rows[file] = replace(row, status=SET_ASIDE, reason=reason)


def _refuse_spellings(store, found):
    """Set aside raw files whose products would be in the place of others, but for capitals.

    Of two spellings of a folder the frames of the first one are reduced; of two files none is.
    """
    spelled, owner = {}, {}
    for file in sorted(found):
        product = PurePosixPath(paths.reduced(file))
        for path in (*reversed(product.parents[:-1]), product):
            first = spelled.setdefault(_folded(path), str(path))
            owner.setdefault(_folded(path), file)
            if first != str(path):
                _refuse_spelling(store, file, owner[_folded(path)], is_file=path == product)
                break


def _refuse_spelling(store, file, other, *, is_file):
    for name, beside in ((file, other), (other, file)) if is_file else ((file, other),):
        row = store.rows[name]
        if row.status != ARRIVING and not row.gone:
            reason = (
                f"{_TWIN if is_file else _TWIN_FOLDER} {beside}, as the disk of the results does"
                " not tell capitals: rename one of them, or keep the results on another disk"
            )
            store.rows[name] = replace(row, status=SET_ASIDE, reason=reason)


def _folded(path):
    return unicodedata.normalize("NFC", str(path)).casefold()


def is_folding(results):
    """Tell whether capitals are small letters to the file system of a results folder.

    False where the folder holds nothing yet.
    """
    lock, capitals = Path(results) / paths.LOCK, Path(results) / paths.LOCK.upper()
    try:
        return capitals.samefile(lock)
    except OSError:
        return False


def _folders(files):
    """Return {folder of products: the first file whose product is below it}."""
    first, inside = {}, {}
    for file in files:
        first.setdefault(file.rpartition("/")[0], file)
    for file in first.values():
        for folder in PurePosixPath(paths.reduced(file)).parents:
            inside.setdefault(str(folder), file)
    return inside


def copies(rows):
    """Return {file: the file it is a copy of} of frames that hold the same as one before them.

    The first good frame by name is the one that counts; a frame whose raw file is gone is neither.

    Parameters
    ----------
    rows : iterable of Row
        Frames of one image type.
    """
    first, found = {}, {}
    here = [row for row in sorted(rows, key=lambda row: row.file) if not row.gone]
    for row in here:
        if row.status == OK:
            first.setdefault(row.fingerprint, row.file)
    for row in here:
        other = first.get(row.fingerprint, row.file)
        if other != row.file:
            found[row.file] = other
    return found


# -- the table -----------------------------------------------------------------------------------


def table(store):
    """Return the inventory as a data frame with `COLUMNS`, one row a raw file, sorted by file."""
    rows = sorted(store.rows.values(), key=lambda row: row.file)
    columns = {
        name: [row.facts[name] for row in rows]
        for name in COLUMNS
        if name in _FACTS and name != "night"
    }
    columns["file"] = [shown_name(row.file) for row in rows]
    columns["night"] = [shown_name(row.night) for row in rows]
    for name in ("camera", "fingerprint"):
        columns[name] = [getattr(row, name) for row in rows]
    columns["status"], columns["reason"] = zip(*(row.shown for row in rows), strict=True)
    return pd.DataFrame(columns, columns=list(COLUMNS))


def write_table(results, store):
    """Write ``inventory.csv``, only if its content changed.

    Returns
    -------
    bool
        Whether it was written.
    """
    text = io.StringIO()
    table(store).to_csv(text, index=False, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    return notes.write_atomically(Path(results) / paths.INVENTORY, text.getvalue())


def read_table(path):
    """Read an inventory: text cells as text, numbers as numbers."""
    types = {name: str for name in COLUMNS if name not in _NUMBERS}
    return pd.read_csv(
        path, dtype=types, keep_default_na=False, na_values={n: [""] for n in _NUMBERS}
    )
