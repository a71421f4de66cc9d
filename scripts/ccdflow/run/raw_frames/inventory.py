"""The rows of all raw frames, brought up to date by reading only new and changed files.

The store from run to run (`header_store.HeaderStore`) holds a file's size and times beside the
values of its header, so that a file that looks untouched is not opened. `inventory.csv` is written
from the store. It holds no times, so that it changes only if a value changes.
"""

from __future__ import annotations

import sys
import time

from ccdflow import paths
from ccdflow.camera import cameras as cameras_module
from ccdflow.errors import UserError
from ccdflow.run.raw_frames import folder_identities, header_reading
from ccdflow.run.raw_frames.header_store import STAMP_OF_OTHER_VERSION
from ccdflow.run.raw_frames.raw_folders import check_presence, find_frames
from ccdflow.run.raw_frames.raw_names import refuse_spellings, refuse_twins
from ccdflow.run.raw_frames.reading_settings import ReadingHashes
from ccdflow.run.raw_frames.row_reader import RawRowReader
from ccdflow.run.raw_frames.rows import OK, SET_ASIDE, RowMark, unread_row


def update(
    store, settings, *, now=None, progress=None, products_to_reread=frozenset(), cores=1,
    stamps_of_files=None,
):  # fmt: skip
    """Bring the store up to date with the raw folder.

    Parameters
    ----------
    store : ccdflow.run.raw_frames.header_store.HeaderStore
        Changed in place.
    settings : ccdflow.run.raw_frames.reading_settings.ReadingSettings
    now : float, optional
        Seconds since the epoch.
    progress : callable, optional
        Called with (read so far, to read).
    products_to_reread : set of str, optional
        Products whose raw files are read again if they are set aside; None for all.
    cores : int, optional
        Number of processes that may read headers.
    stamps_of_files : dict of str to tuple, optional
        Size and times of each raw file of the folder, which is then not searched.

    Returns
    -------
    gone : list of str
        Files with rows in the store that are no longer in the folder.

    Raises
    ------
    UserError
        If the folder is away, or goes away while headers are read, or if names cannot be read.
    """
    now = time.time() if now is None else now
    store.rewritten_files.clear()
    stamps, problems = (
        find_frames(settings.raw, settings.results)
        if stamps_of_files is None
        else (stamps_of_files, {})
    )
    _check_encoding([*stamps, *store.rows])
    hashes = ReadingHashes(settings)
    stale_files = [
        file
        for file, stamp in stamps.items()
        if not _is_current(store.rows.get(file), stamp, hashes)
        or _is_to_be_reread(store.rows[file], products_to_reread)
    ]
    read_rows = RawRowReader(settings, hashes, now)
    files = [(file, stamps[file], _known_row(store, file)) for file in stale_files]
    identities = folder_identities.identities_of_folders(settings.raw, stale_files)
    _read_headers(store, read_rows, files, cores=cores, progress=progress)
    if any(store.rows[file].stamp == () for file in stale_files):
        # Some files may not have been read because their folder went away meanwhile.
        check_presence(settings.raw, settings.results, identities)
    for file, problem in problems.items():
        store.add(unread_row(file).with_verdict(SET_ASIDE, problem.text_with_remedy))
    refuse_twins(store, stamps)
    if settings.is_case_insensitive:
        refuse_spellings(store, stamps)
    return sorted(set(store.rows) - set(stamps) - set(problems))


def _check_encoding(files):
    """Raise `UserError` unless names of files are read as UTF-8, or all of them are ASCII.

    With ASCII or Latin-1, as some locales have it, the letters of a name become others: its frame
    would be a new one, and the earlier name could not be written.

    Parameters
    ----------
    files : list of str
        Paths of the raw files on the disk and in the notes.
    """
    encoding = sys.getfilesystemencoding()
    if encoding == "utf-8":
        return
    name = next((file for file in files if not file.isascii()), None)
    if name is not None:
        raise UserError(
            f"names of files are read as {encoding}, and this one has letters beyond ASCII",
            file=ascii(name)[1:-1],
            allowed="utf-8",
            remedy="set PYTHONUTF8=1",
            needs_run=True,
        )


def _known_row(store, file):
    """Return the earlier row of a file; None if there is none.

    A row of another version counts only if its file is missing.
    """
    row = store.rows.get(file)
    is_of_another_version = row is not None and row.stamp == STAMP_OF_OTHER_VERSION and not row.gone
    return None if is_of_another_version else row


def _read_headers(store, read_rows, files, *, cores, progress):
    """Read the headers of some files, and put their rows into the store.

    Parameters
    ----------
    store : ccdflow.run.raw_frames.header_store.HeaderStore
    read_rows : ccdflow.run.raw_frames.row_reader.RawRowReader
    files : list of (str, tuple, ccdflow.run.raw_frames.rows.Row or None)
        Each file, its size and times, and its earlier row.
    cores : int
    progress : callable or None
        Called after each file with the number of files read so far, and of all.
    """
    results = header_reading.read_all(read_rows, files, cores=cores)
    for count, (values, geometry, recipe, traceback) in enumerate(results, start=1):
        store.add_read_row(values, geometry, recipe)
        if traceback:
            file, *_ = files[count - 1]
            store.tracebacks[file] = traceback
        if progress is not None:
            progress(count, len(files))


def _is_to_be_reread(row, products_to_reread):
    """Return whether a frame is set aside and its file is to be read once more."""
    return row.status == SET_ASIDE and (
        products_to_reread is None or paths.reduced_frame(row.file) in products_to_reread
    )


def outdated_files(store, settings):
    """Return the missing raw files whose camera was edited since: they cannot be reduced again.

    Parameters
    ----------
    store : ccdflow.run.raw_frames.header_store.HeaderStore
    settings : ccdflow.run.raw_frames.reading_settings.ReadingSettings

    Returns
    -------
    set of str
    """
    rows_of_missing_files = [row for row in store.rows.values() if row.gone]
    if not rows_of_missing_files:
        return set()
    hashes = ReadingHashes(settings)
    cameras = {camera.name: camera for camera in settings.cameras}

    def is_outdated(row):
        """Return whether the present settings would reduce the frame of a row in another way."""
        if not hashes.has_same_pixels(row.basis, row.camera):
            return True
        camera = cameras.get(row.camera) or cameras_module.generic_camera([])
        recipe = camera.recipe(settings.reduction).for_geometry(store.geometry(row.geometry))
        return recipe.canonical() != store.shared[row.recipe]

    return {row.file for row in rows_of_missing_files if is_outdated(row)}


def _is_current(row, stamp, hashes):
    """Return whether a row is that of the present file, with the present settings and profile."""
    return (
        row is not None
        and row.stamp == stamp
        and stamp != ()
        and row.status in (OK, SET_ASIDE)
        and not row.gone
        and row.basis == hashes.hash_of(row.camera)
        and not row.has(RowMark.TWIN)
    )
