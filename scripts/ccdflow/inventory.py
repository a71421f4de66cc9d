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
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from ccdflow import cameras as cameras_module
from ccdflow import fitsio, paths
from ccdflow.errors import FrameError, UserError
from ccdflow.facts import night_of

# Raise it when a change to the reading of headers alters what the table says.
READING = 1

OK = "ok"
SET_ASIDE = "set aside"
ARRIVING = "arriving"
ORPHAN = "orphan"

COLUMNS = (
    "file", "night", "camera", "imagetyp", "type", "filter", "exptime", "naxis1", "naxis2",
    "biassec", "trimsec", "datasec", "ccdsec", "ccdsum", "gain", "rdnoise", "date_obs",
    "object", "readmode", "window", "fingerprint", "status", "reason",
)  # fmt: skip
_FACTS = (
    "imagetyp", "type", "filter", "exptime", "naxis1", "naxis2", "biassec", "trimsec", "datasec",
    "ccdsec", "ccdsum", "gain", "rdnoise", "date_obs", "object", "readmode", "window", "night",
)  # fmt: skip
_NUMBERS = {"exptime", "naxis1", "naxis2", "gain", "rdnoise"}
UNDATED = "undated"


@dataclass(frozen=True)
class Row:
    """One raw frame.

    Attributes
    ----------
    file : str
        Path relative to the raw folder.
    stamp : tuple of int
        Size, mtime and ctime in ns when it was read.
    facts : dict
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
        Hash of the profiles that the row was made with.
    """

    file: str
    stamp: tuple[int, int, int]
    facts: dict = field(compare=False)
    camera: str = ""
    geometry: str = ""
    recipe: str = ""
    fingerprint: str = ""
    status: str = OK
    reason: str = ""
    basis: str = ""

    @property
    def night(self):
        """The night, never empty."""
        return self.facts.get("night") or UNDATED


@dataclass
class HeaderStore:
    """What is remembered of the raw frames' headers.

    Attributes
    ----------
    rows : dict of str to Row
    shared : dict of str to dict
        Geometries and recipes by the hash of their canonical form: thousands of frames have few.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    shared: dict[str, dict] = field(default_factory=dict)

    def keep(self, value):
        """Remember a JSON-able value and return its name."""
        name = digest(value)
        self.shared.setdefault(name, value)
        return name


def digest(value):
    """Return 16 hexadecimal digits that stand for a JSON-able value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# -- the store on disk ---------------------------------------------------------------------------


def load_store(results):
    """Read the store of a results folder; an absent or unreadable one is an empty one.

    Losing it costs time, never a product: all headers are read again.
    """
    try:
        data = json.loads((Path(results) / paths.HEADERS).read_bytes())
    except (OSError, ValueError):
        return HeaderStore()
    if data.get("reading") != READING:
        return HeaderStore()
    names, nights = data["facts"], {}
    rows = {}
    for file, stamp, values, *rest in data["rows"]:
        facts = dict(zip(names, values, strict=True))
        facts["night"] = nights.setdefault(facts["night"], facts["night"])
        rows[file] = Row(file, tuple(stamp), facts, *rest)
    return HeaderStore(rows, data["shared"])


def save_store(results, store):
    """Write the store; only if it changed."""
    used = {name for row in store.rows.values() for name in (row.geometry, row.recipe)}
    rows = [
        [r.file, r.stamp, [r.facts.get(name, "") for name in _FACTS], r.camera, r.geometry,
         r.recipe, r.fingerprint, r.status, r.reason, r.basis]
        for r in sorted(store.rows.values(), key=lambda r: r.file)
    ]  # fmt: skip
    shared = {name: value for name, value in sorted(store.shared.items()) if name in used}
    data = {"reading": READING, "facts": _FACTS, "shared": shared, "rows": rows}
    text = json.dumps(data, separators=(",", ":"))
    return fitsio.write_atomically(Path(results) / paths.HEADERS, text)


# -- the raw folder ------------------------------------------------------------------------------


def list_raw(raw):
    """Return {relative path: stamp} of all raw frames below a folder, links followed.

    Raises
    ------
    UserError
        If the folder is missing or holds no raw frame.
    """
    raw = Path(raw)
    if not raw.is_dir():
        raise UserError(
            "there is no such folder",
            file="config/config.yaml",
            keyword="raw",
            value=str(raw),
            remedy="give your folder of raw frames: --config raw=FOLDER",
        )
    found = {}
    unreadable = []
    _list_folder(str(raw), "", found, unreadable, set())
    if unreadable:
        raise UserError(
            "a folder cannot be read",
            file=unreadable[0][0],
            value=unreadable[0][1],
            remedy="check its permissions",
        )
    return found


def _list_folder(folder, prefix, found, unreadable, seen):
    status = os.stat(folder)  # noqa: PTH116 - os.scandir's own paths, 100,000 of them
    if (status.st_dev, status.st_ino) in seen:
        return
    seen = seen | {(status.st_dev, status.st_ino)}
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        unreadable.append((folder, os.strerror(error.errno)))
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        name = prefix + entry.name
        if entry.is_dir():
            _list_folder(entry.path, name + "/", found, unreadable, seen)
        elif paths.is_raw_name(entry.name):
            found[name] = _stamp(entry)


def _stamp(entry):
    try:
        status = entry.stat()
    except OSError:
        return (-1, 0, 0)
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns)


# -- bringing it up to date ----------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """What the reading of headers depends on, from the configuration.

    Attributes
    ----------
    raw : Path
    cameras : tuple of ccdflow.cameras.Camera
    reduction : dict
        Defaults of the recipe.
    frame_memory : int
        Bytes that a frame may ask for.
    settle : float
        Seconds during which an incomplete file counts as still being written.
    """

    raw: Path
    cameras: tuple
    reduction: dict
    frame_memory: int
    settle: float


def update(store, settings, *, now=None, progress=None):
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

    Returns
    -------
    gone : list of str
        Files that were there before and are not any more; their rows are still in the store.
    """
    now = time.time() if now is None else now
    found = list_raw(settings.raw)
    basis = _Basis(settings)
    stale = [
        file for file, stamp in found.items() if not _is_current(store.rows.get(file), stamp, basis)
    ]

    def read(file):
        return read_row(file, found[file], store.rows.get(file), settings, basis, now)

    with ThreadPoolExecutor(4) as pool:
        for count, (row, geometry, recipe) in enumerate(pool.map(read, stale), start=1):
            if geometry is not None:
                row = replace(row, geometry=store.keep(geometry), recipe=store.keep(recipe))
            store.rows[row.file] = row
            if progress is not None:
                progress(count, len(stale))
    _refuse_twins(store, found)
    return sorted(set(store.rows) - set(found))


class _Basis:
    """Hashes of what a row depends on beside its file, so that editing a camera reads its own."""

    def __init__(self, settings):
        recognition = [repr(camera.recognise) for camera in settings.cameras]
        general = [READING, settings.reduction, settings.frame_memory, recognition]
        # Where the profile's file lies does not matter.
        self._of = {
            camera.name: digest([*general, repr(replace(camera, path=""))])
            for camera in settings.cameras
        }
        self._generic = digest(general)

    def of(self, camera):
        return self._of.get(camera, self._generic)


def _is_current(row, stamp, basis):
    return (
        row is not None
        and row.stamp == stamp
        and row.status in (OK, SET_ASIDE)
        and row.basis == basis.of(row.camera)
        and not row.reason.startswith(_TWIN)
    )


def read_row(file, stamp, before, settings, basis, now):
    """Read one raw frame's headers and return (row, geometry, recipe) in canonical form.

    A file that was known and has new times is inflated to its end: its fingerprint may be the old
    one though its middle is damaged.
    """
    path = settings.raw / file
    facts, camera, fingerprint = {}, "", ""
    try:
        _check_name(file)
        layout = fitsio.read_layout(path, name=file)
        fingerprint = layout.fingerprint
        fitsio.check_memory(layout.length, settings.frame_memory, file)
        if before is not None and before.stamp != stamp and before.fingerprint == fingerprint:
            fitsio.read_bytes(path, layout, memory=settings.frame_memory, name=file)
        headers = layout.headers
        found = cameras_module.identify(headers, settings.cameras, file=file)
        camera = found.name
        described = found.describe(headers, file=file)
        facts = {name: getattr(described, name) for name in _FACTS}
        cameras_module.refuse_reduced(headers, file=file)
        recipe = found.recipe(settings.reduction)
        geometry = found.geometry(headers, file=file, layout=recipe.layout)
        notes = [described.reason, *geometry.notes]
        row = Row(
            file, stamp, _tidy(facts), camera,
            fingerprint=fingerprint, reason="; ".join(note for note in notes if note),
            basis=basis.of(camera),
        )  # fmt: skip
        if not row.facts["type"]:
            row.facts["type"] = "other"
        return row, geometry.canonical(), recipe.canonical()
    except FrameError as error:
        if not facts:
            facts = {"night": night_of(None, False, None, None, file)}
        status = SET_ASIDE
        age = now - stamp[1] / 1e9
        if age < settings.settle and "truncated" in error.problem or stamp[0] == -1:
            status = ARRIVING
        row = Row(
            file, stamp, _tidy(facts), camera, fingerprint=fingerprint, status=status,
            reason=error.reason, basis=basis.of(camera),
        )  # fmt: skip
        return row, None, None


def _tidy(facts):
    return {name: "" if facts.get(name) is None else facts.get(name, "") for name in _FACTS}


def _check_name(file):
    if not file.isprintable():
        raise FrameError(
            "the file's name has a line break, a control character or is not valid UTF-8",
            file=file.encode("utf-8", "backslashreplace").decode(),
            value=file.encode("unicode_escape").decode("ascii"),
            remedy="rename it",
        )


_TWIN = "would become the same product as"


def _refuse_twins(store, found):
    """Set aside raw files that would become one product, by name, before any work."""
    by_product = {}
    for file in found:
        by_product.setdefault(paths.reduced(file), []).append(file)
    for files in by_product.values():
        if len(files) < 2:
            continue
        for file in files:
            others = ", ".join(other for other in files if other != file)
            reason = f"{_TWIN} {others}; move one of them out of the raw folder"
            row = store.rows[file]
            if row.status != ARRIVING:
                store.rows[file] = replace(row, status=SET_ASIDE, reason=reason)


# -- the table -----------------------------------------------------------------------------------


def table(store):
    """Return the inventory as a data frame with `COLUMNS`, one row a raw file, sorted by file."""
    rows = sorted(store.rows.values(), key=lambda row: row.file)
    columns = {
        name: [row.facts.get(name, "") for row in rows]
        for name in COLUMNS
        if name in _FACTS and name != "night"
    }
    columns["file"] = [row.file.encode("utf-8", "backslashreplace").decode() for row in rows]
    columns["night"] = [row.night for row in rows]
    for name in ("camera", "fingerprint", "status", "reason"):
        columns[name] = [getattr(row, name) for row in rows]
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
    return fitsio.write_atomically(Path(results) / paths.INVENTORY, text.getvalue())


def read_table(path):
    """Read an inventory: text cells as text, numbers as numbers."""
    types = {name: str for name in COLUMNS if name not in _NUMBERS}
    return pd.read_csv(
        path, dtype=types, keep_default_na=False, na_values={n: [""] for n in _NUMBERS}
    )
