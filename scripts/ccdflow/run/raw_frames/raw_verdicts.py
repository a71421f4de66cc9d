"""The findings of a run on raw frames, noted in their rows: bad ones, missing ones, flags."""

from __future__ import annotations

import stat
from dataclasses import replace

from ccdflow import paths
from ccdflow.files import file_errors
from ccdflow.run import job_records
from ccdflow.run.raw_frames import folder_identities, raw_folders
from ccdflow.run.raw_frames.raw_names import content_of, files_by_content
from ccdflow.run.raw_frames.rows import (
    ARRIVING_STATUS,
    DELETED_OR_MOVED,
    OK,
    SET_ASIDE,
    RowMark,
    unreadable_row,
)

# The stamp of a file that was removed before it could be read again. A file that is there, and
# counts as missing because it cannot be read, has ().
_NO_STAMP = (0, 0, 0)


def data_of_raw_away(context, error, file):
    """Return the entries of a record's data on a raw folder that is away; {} if it is there.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
    error : ccdflow.errors.FrameError
        Raised while a raw file was read. A file that is missing, or is another one, may be so
        because another folder is in the place of the raw folder, or of one below it.
    file : str
        The raw file, relative to the raw folder.

    Returns
    -------
    dict of str to str
    """
    if not isinstance(error, (file_errors.UnreadableRawFile, file_errors.ChangedRawFile)):
        return {}
    if reason := raw_folders.why_away(context.raw, context.results):
        return {job_records.RAW_AWAY: reason}
    exchange = folder_identities.exchange_of(context, file)
    if exchange is None:
        return {}
    return {job_records.RAW_AWAY: exchange.reason, job_records.RAW_FOLDER: exchange.folder}


def mark_bad_frames(store, unmade_records):
    """Mark raw frames in the store that jobs found to be bad or changing.

    Parameters
    ----------
    store : ccdflow.run.raw_frames.header_store.HeaderStore
        Changed in place.
    unmade_records : list of ccdflow.run.job_records.Record
        Records of products that were not made.
    """
    rows_by_product = (
        {paths.reduced_frame(file): row for file, row in store.rows.items()}
        if unmade_records
        else {}
    )
    for record in unmade_records:
        row = rows_by_product.get(record.product)
        if row is not None and record.status == job_records.FAILED:
            # The next run reads the frame's header again, and so tries the frame again.
            reason = f"failed: {record.reason}"
            store.rows[row.file] = row.with_verdict(ARRIVING_STATUS, reason)
            continue
        if row is None or row.fingerprint != record.basis.get("fingerprint"):
            continue
        if record.status == job_records.GONE:
            # The next run reads the file again, whatever its times.
            row = row.with_verdict(ARRIVING_STATUS, record.reason, stamp=())
        elif record.status == job_records.SET_ASIDE:
            # A reading error may not happen again, and one verdict proves nothing: the next run
            # reads the file to its end.
            is_first_verdict = store.reason_by_file.get(row.file) != record.reason
            needs_rereading = record.data.get("misread") or is_first_verdict
            store.reason_by_file[row.file] = record.reason
            stamp = () if needs_rereading else row.stamp
            mark = RowMark.LIT_OVERSCAN if record.data.get("lit_overscan") else ""
            row = row.with_verdict(SET_ASIDE, record.reason, mark=mark, stamp=stamp)
        store.rows[row.file] = row


def mark_gone(store, records, gone, results):
    """Keep the rows of missing raw files as long as a product of theirs exists.

    The row of a file whose content has another path now stays until the plan has retired the
    products of the former path.

    Parameters
    ----------
    store : ccdflow.run.raw_frames.header_store.HeaderStore
        Changed in place.
    records : ccdflow.run.ledger.Ledger
        Changed in place.
    gone : list of str
        Files that are missing; files that cannot be read are marked in the store.
    results : pathlib.Path
    """
    unreadable_files = {file for file, row in store.rows.items() if row.gone} - set(gone)
    missing_files = {*gone, *unreadable_files}
    present_files = [file for file in store.rows if file not in missing_files]
    products_of_files = set(map(paths.reduced_frame, present_files))
    unreadable_folders = [file for file in present_files if file.endswith("/")]
    is_in_the_way = _blocking_test(store, missing_files) if missing_files else None
    is_elsewhere = _presence_test(store, present_files, gone)
    for file in sorted(missing_files):
        row, product = store.rows[file], paths.reduced_frame(file)
        is_of_other_file = product in products_of_files
        if not is_of_other_file and (is_elsewhere(row) or _may_be_there(results / product)):
            if file not in unreadable_files:
                missing_row = _row_of_missing_file(
                    row, unreadable_folders, is_in_the_way=is_in_the_way(product)
                )
                _put_missing_row(store, missing_row)
            continue
        if file in unreadable_files:
            store.rows[file] = unreadable_row(row)
        else:
            del store.rows[file]
        if not is_of_other_file:
            records.pop(product, None)


def _put_missing_row(store, missing_row):
    """Put the row of a missing file into the store where it differs from the present one."""
    row = store.rows[missing_row.file]
    if row.gone != missing_row.gone or not row.stamp:
        store.rows[missing_row.file] = missing_row


def _presence_test(store, files, missing_files):
    """Return a function of a row: whether one of some files has the content of its raw file.

    Parameters
    ----------
    store : ccdflow.run.raw_frames.header_store.HeaderStore
    files : list of str
        Present files.
    missing_files : list of str
        Without missing files no content is looked up.
    """
    contents = files_by_content(store.rows[file] for file in files) if missing_files else {}
    return lambda row: bool(row.fingerprint) and content_of(row) in contents


def _blocking_test(store, missing_files):
    """Return a function of a product: whether another frame's product needs its path.

    A file cannot stand where a folder has to be. For example, a frame `x.fits` is gone, and there
    is now a folder of this name with frames in it, or the reverse.
    """
    rows = (
        row for row in store.rows.values() if row.status == OK and row.file not in missing_files
    )
    files = {paths.reduced_frame(row.file) for row in rows}
    parents = {parent for file in files for parent in _folders_of(file)}
    return lambda product: product in parents or not files.isdisjoint(_folders_of(product))


def _folders_of(product):
    """Return the folders above a product, the uppermost first."""
    parts = product.split("/")[:-1]
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _row_of_missing_file(row, unreadable_folders, *, is_in_the_way):
    """Return the row of a raw file that is missing.

    Parameters
    ----------
    row : ccdflow.run.raw_frames.rows.Row
    unreadable_folders : list of str
        Raw folders whose files cannot be listed.
    is_in_the_way : bool
        Whether its product stands in the place of another frame's file or folder.
    """
    marks = [mark for mark in row.marks.split() if mark != RowMark.PRODUCT_IN_THE_WAY]
    unreadable_folder = next(
        (name for name in unreadable_folders if row.file.startswith(name)), None
    )
    reason = (
        DELETED_OR_MOVED if unreadable_folder is None else f"{unreadable_folder} cannot be read"
    )
    if is_in_the_way:
        reason = "it was deleted, and its product is in the way of another"
        marks.append(RowMark.PRODUCT_IN_THE_WAY)
    return replace(row, gone=reason, stamp=row.stamp or _NO_STAMP, marks=" ".join(marks))


def _may_be_there(path):
    """Return whether there is a file, or its absence is not certain.

    A folder is no product, even if it has the name of a row: an unreadable raw folder has a row.
    """
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def note_flags(context):
    """Mark frames for defects in their pixels, or for differences from other frames.

    Each kind reports its flags: an amplifier that is saturated throughout or dead; a frame that is
    a copy of another, or that is left out of its group's master.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
        Its store is changed in place.
    """
    store, records, texts_by_product = context.store, records_by_kind(context.ledger), {}
    for kind in reversed(context.chain):
        for product, text in kind.flags(context, records.get(kind.name, [])):
            texts_by_product.setdefault(product, []).append(text)
    if context.unreadable_folders:
        for product in context.products:
            if problem := context.problem_of(product):
                text = f"its product was not looked at: {problem}"
                texts_by_product.setdefault(product, []).append(text)
    if not texts_by_product and not any(row.flags for row in store.rows.values()):
        return
    for file, row in list(store.rows.items()):
        flags = "; ".join(texts_by_product.get(paths.reduced_frame(file), ()))
        if flags != row.flags:
            store.rows[file] = replace(row, flags=flags)


def records_by_kind(records):
    """Return {kind: records, sorted by product} of a ledger."""
    records_of_kinds = {}
    for product in sorted(records.keys()):
        record = records[product]
        records_of_kinds.setdefault(record.kind, []).append(record)
    return records_of_kinds
