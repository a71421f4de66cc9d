"""The rows of all raw frames, brought up to date by reading only new and changed files.

The store from run to run (`header_store.HeaderStore`) holds a file's size and times beside the
values of its header, so that a file that looks untouched is not opened. `inventory.csv` is made of
it and holds no times, so it changes only with its values.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from pathlib import Path

from ccdflow import paths
from ccdflow.camera import cameras as cameras_module
from ccdflow.camera.geometry import Cards
from ccdflow.camera.reduction_marks import is_called_master, refuse_reduced
from ccdflow.camera.reduction_recipe import AUTO
from ccdflow.errors import CcdflowError
from ccdflow.files import file_errors, rawfile
from ccdflow.files.rawheader import Remembered
from ccdflow.files.scaling import scaling_of
from ccdflow.run.rawframes import header_reading
from ccdflow.run.rawframes.header_store import OLDER_VERSIONS, READING_VERSION
from ccdflow.run.rawframes.rawfolder import look_through
from ccdflow.run.rawframes.rawnames import check_name, refuse_spellings, refuse_twins
from ccdflow.run.rawframes.rows import (
    ARRIVING_STATUS,
    FACTS,
    OK,
    SET_ASIDE,
    Facts,
    Row,
    RowMark,
    digest,
    plain_row,
    unread_row,
)  # fmt: skip
from ccdflow.run.tracebacks import text_of

_LOG = logging.getLogger(__name__)

_WENT_AWAY = "it went away while its header was read"

_facts_of = attrgetter(*FACTS)
_TYPE = FACTS.index("type")


@dataclass(frozen=True)
class ReadingSettings:
    """The part of the configuration that the reading of headers depends on.

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
    results : pathlib.Path, optional
        Products are no raw frames, wherever a link leads.
    """

    raw: Path
    cameras: tuple[cameras_module.Camera, ...]
    reduction: dict[str, object]
    frame_memory: int
    settle: float
    is_folding: bool = False
    results: Path | None = None


def update(
    store, settings, *, now=None, progress=None, again=frozenset(), cores=1, only=None,
):  # fmt: skip
    """Bring the store up to date with the raw folder.

    Parameters
    ----------
    store : HeaderStore
        Changed in place.
    settings : ReadingSettings
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
    store.rewritten.clear()
    stamps, problems = look_through(settings.raw, settings.results) if only is None else (only, {})
    hashes = _ReadingHashes(settings)
    stale = [
        file
        for file, stamp in stamps.items()
        if not _is_current(store.rows.get(file), stamp, hashes)
        or _is_asked_for_again(store.rows[file], again)
    ]

    def known(file):
        before = store.rows.get(file)
        is_read_anew = before is not None and before.stamp == OLDER_VERSIONS and not before.gone
        return None if is_read_anew else before

    files = [(file, stamps[file], known(file)) for file in stale]
    answers = header_reading.read_all(_Reader(settings, hashes, now), files, cores=cores)
    for count, (values, geometry, recipe, traceback) in enumerate(answers, start=1):
        store.add_read(values, geometry, recipe)
        store.tracebacks.update(traceback)
        if progress is not None:
            progress(count, len(stale))
    for file, problem in problems.items():
        store.add(unread_row(file).with_verdict(SET_ASIDE, problem))
    refuse_twins(store, stamps)
    if settings.is_folding:
        refuse_spellings(store, stamps)
    return sorted(set(store.rows) - set(stamps) - set(problems))


@dataclass(frozen=True)
class _Reader:
    """Reads the rows of files; other processes can be given it."""

    settings: ReadingSettings
    hashes: _ReadingHashes
    now: float

    def __call__(self, known):
        """Return (row, geometry, recipe, tracebacks) of (file, stamp, row before or None).

        The row is as `plain_row` has it: plain values are sent to another process in half the time.
        """
        tracebacks = {}
        file, stamp, before = known
        row, *shared = read_row(
            file, stamp, before, self.settings, self.hashes, self.now, tracebacks
        )
        return plain_row(row), *shared, tracebacks


def _is_asked_for_again(row, again):
    """Return whether a frame that is set aside is to be looked at once more."""
    return row.status == SET_ASIDE and (again is None or paths.reduced_frame(row.file) in again)


class _ReadingHashes:
    """The hash of the settings and the profile that the rows of each camera were read by.

    A camera whose profile is edited has another hash: only its own frames are read again.
    """

    def __init__(self, settings):
        recognition = [repr((camera.recognise, camera.size)) for camera in settings.cameras]
        general = [READING_VERSION, settings.reduction, settings.frame_memory, recognition]
        self._reduction = settings.reduction
        # Where the profile's file lies does not matter.
        self._by_camera = {
            camera.name: digest([*general, camera.text_without_path]) + "-" + self._pixels(camera)
            for camera in settings.cameras
        }
        generic = cameras_module.generic_camera([], taken=frozenset())
        self._generic = f"{digest(general)}-{self._pixels(generic)}"
        self._remembered_cameras, self._remembered_values = Remembered(), {}

    def identify(self, headers, cameras, file):
        """Return the camera of a frame, see `ccdflow.camera.cameras.identify`."""
        return self._remembered_cameras(
            "camera",
            lambda headers: cameras_module.identify(headers, cameras, file=file),
            headers,
        )

    def remembered(self, camera):
        """Return the remembered values of the frames of a camera, by its name."""
        return self._remembered_values.setdefault(camera, Remembered())

    def _pixels(self, camera):
        """Return the hash of all by which a camera's pixels are read and reduced."""
        sections = {field.name for field in fields(Cards)}
        cards = [(name, repr(specs)) for name, specs in camera.cards if name in sections]
        pixels = [camera.amplifiers, camera.overscan, camera.layout, camera.size]
        pixels += [each for each in (camera.gain, camera.read_noise) if each is not None]
        recipe = camera.recipe(self._reduction)
        # `outdated_files` asks each row for the model that the width of its strip decides.
        recipe = replace(recipe, model=None) if recipe.model == AUTO else recipe
        return digest([repr(pixels), cards, recipe.canonical()])

    def hash_of(self, camera):
        """Return the hash of all that the reading of a camera's frames depends on."""
        return self._by_camera.get(camera, self._generic)


def outdated_files(store, settings):
    """Return the files that are gone and whose camera was edited since: nothing can be redone.

    Parameters
    ----------
    store : HeaderStore
    settings : ReadingSettings

    Returns
    -------
    set of str
    """
    gone = [row for row in store.rows.values() if row.gone]
    if not gone:
        return set()
    hashes = _ReadingHashes(settings)
    cameras = {camera.name: camera for camera in settings.cameras}

    def is_outdated(row):
        if row.basis.split("-")[1:] != hashes.hash_of(row.camera).split("-")[1:]:
            return True
        camera = cameras.get(row.camera) or cameras_module.generic_camera([])
        recipe = camera.recipe(settings.reduction).for_geometry(store.geometry(row.geometry))
        return recipe.canonical() != store.shared[row.recipe]

    return {row.file for row in gone if is_outdated(row)}


def _is_current(row, stamp, hashes):
    """Return whether a row holds for a file as it is now, and for settings and profile."""
    return (
        row is not None
        and row.stamp == stamp != ()
        and row.status in (OK, SET_ASIDE)
        and not row.gone
        and row.basis == hashes.hash_of(row.camera)
        and not row.has(RowMark.TWIN)
    )


def read_row(file, stamp, before, settings, hashes, now, tracebacks):
    """Read one raw frame's headers and return (row, geometry, recipe) in canonical form.

    A file that was known and has new times is inflated to its end: its fingerprint may be the old
    one though its middle is damaged. Any error sets the file aside; ``tracebacks`` gets unforeseen
    ones.

    Parameters
    ----------
    file : str
        Path of the raw file relative to the raw folder; named in errors.
    stamp : tuple of int
        Size, mtime and ctime in ns.
    before : Row or None
        The row of the last run.
    settings : ReadingSettings
    hashes : _ReadingHashes
    now : float
        Seconds since the epoch.
    tracebacks : dict of str to str
        By file; changed in place.

    Returns
    -------
    (Row, str, str)
        Geometry and recipe are None if the file is set aside.
    """
    row, values, raw = None, {}, None
    try:
        try:
            check_name(file)
            with file_errors.raw_file_errors(file):
                raw = rawfile.open_raw(f"{settings.raw}/{file}", file)
            _read(raw, file, before, settings, hashes, now, values)
        finally:
            # After an error the row has the values that were read before it.
            geometry, recipe = values.pop("geometry", None), values.pop("recipe", None)
            row = _row_of(file, stamp, values, hashes)
    except file_errors.UnreadableRawFile as error:
        return _unreadable(row, before, error, settings.raw / file), None, None
    except (file_errors.IncompleteRawFile, file_errors.ChangedRawFile) as error:
        # A clock may be fast or slow.
        is_arriving = isinstance(error, file_errors.ChangedRawFile) or _is_young(
            row.stamp[:2], now, settings
        )
        if is_arriving and before is not None and before.status == OK and before.geometry:
            # The file is written once more: until that is done its row stays.
            return replace(before, stamp=()), None, None
        reason = f"still being written: {error.reason}" if is_arriving else error.reason
        row = row.with_verdict(ARRIVING_STATUS if is_arriving else SET_ASIDE, reason)
        row = row if is_arriving else _as_far_as_read(row, raw, settings, hashes)
    except CcdflowError as error:
        # A frame that two profiles recognise must not stop the others.
        row = row.with_verdict(SET_ASIDE, error.reason)
        row = _as_far_as_read(row, raw, settings, hashes)
    except MemoryError:
        # Not the frame's fault: the next run reads it again.
        short = file_errors.memory_error(file)
        return _unreadable(row, before, short, settings.raw / file), None, None
    except Exception as error:
        tracebacks[file] = text_of(file, error)
        row = row.with_verdict(SET_ASIDE, file_errors.unforeseen_error(file, error).reason)
    if _is_young(row.stamp, now, settings) or _is_first_verdict(before, row):
        # A file that is still being written may keep its times, and one failed reading proves
        # nothing: the next run reads it again.
        row = replace(row, stamp=())
    return row, geometry, recipe


def _row_of(file, stamp, values, hashes):
    """Return the row of a file with the values that could be read."""
    if "facts" not in values:
        return replace(unread_row(file, stamp, hashes.hash_of("")), **values)
    return Row(file, **{"stamp": stamp, "basis": hashes.hash_of(""), **values})


def _read(raw, file, before, settings, hashes, now, values):
    """Read the headers of an open file.

    Parameters
    ----------
    raw : ccdflow.files.rawfile.RawFile
        Closed at the end.
    file, before, settings, hashes, now
        See `read_row`.
    values : dict of str to object
        Gets the values of the row, as far as they could be read; geometry and recipe in canonical
        form.

    Raises
    ------
    CcdflowError
        If the frame cannot be read or reduced.
    """
    with raw:
        values["stamp"] = raw.stamp
        layout = raw.layout(memory=settings.frame_memory)
        values["fingerprint"] = layout.fingerprint
        headers = layout.headers
        camera = hashes.identify(headers, settings.cameras, file)
        values |= {"camera": camera.name, "basis": hashes.hash_of(camera.name)}
        remembered = hashes.remembered(camera.name)
        values |= _row_values(file, camera, headers, remembered)
        if not camera.raw and is_called_master(headers):
            refuse_reduced(headers, file=file)
        values["geometry"], values["recipe"], notes = remembered(
            "arranged",
            lambda headers: _geometry_and_recipe(file, camera, headers, settings),
            headers,
        )
        values |= _noted(values, notes)
        if not layout.checked:
            values["packed"] = _check_pixels(raw, layout, before, now, settings)


def _noted(values, notes):
    """Return the values of a row that has some `Note`, beside those of its cards."""
    texts, marks = (note.table_text for note in notes), (note.mark for note in notes)
    return {
        "reason": "; ".join(filter(None, (values["reason"], *texts))),
        "doubts": "\n".join(f"{note.topic}\t{note.text}" for note in notes if note.topic),
        "marks": " ".join(dict.fromkeys(filter(None, (values["marks"], *marks)))),
    }


def _as_far_as_read(row, raw, settings, hashes):
    """Return the row of a frame that is set aside, with the facts of the headers before the fault.

    So a file that was cut off stands on the page of its night. Its reason stays.

    Parameters
    ----------
    row : Row
    raw : ccdflow.files.rawfile.RawFile or None
        None where the file could not be opened.
    settings : ReadingSettings
    hashes : _ReadingHashes
    """
    if raw is None or not raw.headers or row.camera:
        return row
    try:
        camera = hashes.identify(raw.headers, settings.cameras, row.file)
        known = _row_values(row.file, camera, raw.headers, hashes.remembered(camera.name))
    except MemoryError:
        return replace(row, stamp=())
    except Exception as error:
        # Two profiles recognise it, or its cards cannot be read, in whatever way: it has one reason
        # already.
        _LOG.debug("%s: no camera for a frame that is set aside: %s", row.file, error)
        return row
    return replace(row, camera=camera.name, basis=hashes.hash_of(camera.name), facts=known["facts"])


def _check_pixels(raw, layout, before, now, settings):
    """Return ``Row.packed`` once the file's pixels are known to be as its headers promise, or new.

    A young file is read again by the next run. If its bytes are then the same as now, they need not
    be inflated once more.

    Parameters
    ----------
    raw : ccdflow.files.rawfile.RawFile
    layout : ccdflow.files.fits_structure.RawLayout
    before : Row or None
        The row of the last run.
    now : float
        Seconds since 1970.
    settings : ReadingSettings
    """
    is_young, packed = _is_young(raw.stamp, now, settings), ""
    was_young = before is not None and before.stamp == () and before.packed != ""
    if is_young or was_young:
        packed = raw.bytes_checksum()
    is_as_it_was = was_young and before.status == OK and before.packed == packed
    if not is_as_it_was and _is_doubtful(before, raw.stamp, layout.fingerprint):
        raw.read_all(layout, memory=settings.frame_memory)
    return packed if is_young else ""


def _is_first_verdict(before, row):
    """Return whether this is the first reading that sets the file aside for this reason."""
    if row.status != SET_ASIDE:
        return False
    return (
        before is None
        or (before.status, before.reason) != (row.status, row.reason)
        or before.stamp not in ((), row.stamp)
    )


def _row_values(file, camera, headers, remembered):
    """Return the values of a row that its headers give, with warnings on unreadable cards."""
    described = camera.describe(headers, file=file, remembered=remembered)
    facts = ["" if value is None else value for value in _facts_of(described)]
    facts[_TYPE] = facts[_TYPE] or "other"
    warnings = "\n".join(described.warnings)
    # The cards leave nothing but the image type open.
    marks = RowMark.UNKNOWN_TYPE if described.reason else ""
    return {
        "facts": Facts(facts),
        "reason": described.reason,
        "marks": str(marks),
        "warnings": warnings,
    }


def _geometry_and_recipe(file, camera, headers, settings):
    """Return geometry and recipe of a raw frame in canonical form, and notes; or `FrameError`."""
    if not camera.raw:
        refuse_reduced(headers, file=file, is_master_sought=False)
    how = camera.recipe(settings.reduction)
    where = camera.geometry(headers, file=file, layout=how.layout)
    for hdu, _ in where.raw_shapes:
        scaling_of(headers[hdu], file)
    return where.canonical(), how.for_geometry(where).canonical(), where.notes


def _unreadable(row, before, error, path):
    """Return the row of a file that cannot be read."""
    if not os.path.lexists(path):
        # The file was there when the folder was looked through.
        row = before or row.with_verdict(ARRIVING_STATUS, _WENT_AWAY)
        return replace(row, stamp=())
    if before is not None and before.geometry:
        return replace(before, gone=error.reason, stamp=())
    return row.with_verdict(SET_ASIDE, error.reason, stamp=())


def _is_young(stamp, now, settings):
    """Return whether a file was written to, or got its name, a short while ago, by its times."""
    return any(abs(now - time_ns / 1e9) < settings.settle for time_ns in stamp[1:])


def _is_doubtful(before, stamp, fingerprint):
    """Return whether a file of the same fingerprint may be damaged where headers do not show it."""
    if before is None or before.fingerprint != fingerprint:
        return False
    return before.stamp != stamp or before.status == SET_ASIDE
