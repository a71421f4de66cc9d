"""Checks of raw files' names: names that no product can have, and several names for one product."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath

from ccdflow import paths
from ccdflow.errors import FrameError
from ccdflow.run.raw_frames.rows import (
    ARRIVING_STATUS,
    DELETED_OR_MOVED,
    OK,
    SET_ASIDE,
    RowMark,
    unreadable_row,
)

# A record's path below the results folder has at most this many bytes. Linux allows 4095 bytes for
# a whole path, and Snakemake makes a path longer by a third.
_PATH_MAX = 2000


def check_name(file):
    """Check that products and notes can be kept under the name of a raw file.

    Raises
    ------
    FrameError
        If the name has characters that cannot be printed, or is too long.
    """
    if not file.isprintable():
        raise FrameError(
            "the file's name has a line break, a control character or is not valid UTF-8",
            file=shown_name(file),
            keyword="name",
            value=file.encode("unicode_escape").decode("ascii"),
            remedy="rename it",
        )
    # In the record's path a letter of ASCII takes three bytes at most, and the parts that are added
    # take fewer than a hundred.
    if file.isascii() and 3 * len(file) + 100 < paths.NAME_MAX:
        return
    longest = max(map(len, paths.names_of_record(file)))
    length = len("/".join(paths.names_of_record(file)))
    if longest > paths.NAME_MAX or length > _PATH_MAX:
        raise FrameError(
            "the file's name is too long for the notes that are kept under it",
            file=file,
            keyword="name",
            value=f"{longest} bytes, {length} with its folders; letters beyond ASCII count thrice",
            allowed=f"{paths.NAME_MAX} bytes, {_PATH_MAX} with its folders and with what is added",
            remedy="rename it",
        )


def shown_name(file):
    """Return a file's name as it can stand in a table: escapes where it is not UTF-8."""
    return file.encode("utf-8", "backslashreplace").decode()


_TWIN_REASON = "would become the same product as"
_TWIN_FOLDER = f"{_TWIN_REASON} one in the folder of"


def refuse_twins(store, new_files):
    """Set aside raw files whose products would have the same path.

    A product would also be in the way where the folder of another product has to be.

    Parameters
    ----------
    store : ccdflow.run.raw_frames.header_store.HeaderStore
        Its rows are changed.
    new_files : iterable of str
        Raw files of this run.
    """
    files_by_product = {}
    for file in new_files:
        files_by_product.setdefault(paths.reduced_frame(file), []).append(file)
    file_by_folder = _first_file_by_folder(new_files)
    for product, files in files_by_product.items():
        for file in files:
            twins = [twin for twin in files if twin != file]
            if product in file_by_folder:
                twins.append(f"the folder of {file_by_folder[product]}")
            row = store.rows[file]
            if twins and row.status != ARRIVING_STATUS:
                reason = (
                    f"{_TWIN_REASON} {', '.join(twins)}; move one of them out of the raw folder"
                )
                store.rows[file] = _row_set_aside(row, reason)


def refuse_spellings(store, new_files):
    """Set aside raw files whose products differ from others in capital letters alone.

    Of two folders that differ in this way, the frames of the first one are reduced. Of two files,
    neither is.

    Parameters
    ----------
    store : ccdflow.run.raw_frames.header_store.HeaderStore
        Its rows are changed.
    new_files : iterable of str
        Raw files of this run.
    """
    spelling_by_folded_path, file_by_folded_path = {}, {}
    for file in sorted(new_files):
        product = PurePosixPath(paths.reduced_frame(file))
        for path in (*reversed(product.parents[:-1]), product):
            first_spelling = spelling_by_folded_path.setdefault(_fold_case(path), str(path))
            file_by_folded_path.setdefault(_fold_case(path), file)
            if first_spelling != str(path):
                _refuse_spelling(
                    store, file, file_by_folded_path[_fold_case(path)], is_file=path == product
                )
                break


def _refuse_spelling(store, file, twin, *, is_file):
    """Set aside a file whose product differs from that of a twin in capitals alone.

    Parameters
    ----------
    store : ccdflow.run.raw_frames.header_store.HeaderStore
    file, twin : str
        Paths relative to the raw folder.
    is_file : bool
        Whether the names of the files differ, and not those of their folders. Both files are then
        set aside, because nobody knows which one came first.
    """
    for name, other_file in ((file, twin), (twin, file)) if is_file else ((file, twin),):
        row = store.rows[name]
        if row.status != ARRIVING_STATUS:
            reason = (
                f"{_TWIN_REASON if is_file else _TWIN_FOLDER} {other_file},"
                " as the disk of the results does not distinguish capitals: rename one of them,"
                " or keep the results on another disk"
            )
            store.rows[name] = _row_set_aside(row, reason)


def _row_set_aside(row, reason):
    """Return the row of a file that is set aside for the name of its product."""
    row = unreadable_row(row) if row.gone else row
    return row.with_verdict(SET_ASIDE, reason, mark=RowMark.TWIN)


def _fold_case(path):
    """Return a path as a disk sees it that does not distinguish capitals or forms of letters."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def is_case_insensitive(results):
    """Return whether the file system of a results folder does not distinguish capitals.

    False if the folder has no lock file yet.
    """
    lock, capitals = Path(results) / paths.LOCK, Path(results) / paths.LOCK.upper()
    try:
        return capitals.samefile(lock)
    except OSError:
        return False


def _first_file_by_folder(files):
    """Return {folder of products: the first file whose product is below it}."""
    file_by_raw_folder, file_by_folder = {}, {}
    for file in files:
        file_by_raw_folder.setdefault(file.rpartition("/")[0], file)
    for file in file_by_raw_folder.values():
        for folder in PurePosixPath(paths.reduced_frame(file)).parents:
            file_by_folder.setdefault(str(folder), file)
    return file_by_folder


def moved_files(rows):
    """Return {missing file: present file} of the raw files that have another path now.

    The present file has the content of the missing one: the same CRC-32 and length, and the same
    time of exposure. A file may be missing because its disk is not mounted, so that this proof
    alone shows that nothing is lost.

    Parameters
    ----------
    rows : iterable of ccdflow.run.raw_frames.rows.Row

    Returns
    -------
    dict of str to str
    """
    rows = list(rows)
    missing_rows = [row for row in rows if row.gone == DELETED_OR_MOVED and row.fingerprint]
    if not missing_rows:
        return {}
    present_files = files_by_content(rows)
    return {
        row.file: present_files[content_of(row)]
        for row in missing_rows
        if content_of(row) in present_files
    }


def content_of(row):
    """Return fingerprint and time of exposure of a raw file, which two of one content share."""
    return row.fingerprint, row.facts["date_obs"]


def files_by_content(rows):
    """Return the first good file of each content, by its `content_of`.

    Parameters
    ----------
    rows : iterable of ccdflow.run.raw_frames.rows.Row

    Returns
    -------
    dict of (str, str) to str
    """
    files = {}
    for row in sorted(rows, key=lambda row: row.file):
        if row.status == OK and not row.gone:
            files.setdefault(content_of(row), row.file)
    return files


def copied_files(rows):
    """Return {copy: original} of the raw files with the same content as another one.

    The original is the first good frame by name. A frame whose raw file is missing is neither.

    Parameters
    ----------
    rows : iterable of ccdflow.run.raw_frames.rows.Row
        Frames of one image type.

    Returns
    -------
    dict of str to str
    """
    file_by_fingerprint, original_by_copy = {}, {}
    rows_of_files = [row for row in sorted(rows, key=lambda row: row.file) if not row.gone]
    for row in rows_of_files:
        if row.status == OK:
            file_by_fingerprint.setdefault(row.fingerprint, row.file)
    for row in rows_of_files:
        first_file = file_by_fingerprint.get(row.fingerprint, row.file)
        if first_file != row.file:
            original_by_copy[row.file] = first_file
    return original_by_copy
