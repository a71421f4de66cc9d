"""The frames of a night for the pages, with their status."""

from __future__ import annotations

from ccdflow import paths
from ccdflow.files.values import number_or_nan
from ccdflow.kinds.masters.bias import BIAS_KIND
from ccdflow.kinds.masters.dark import DARK_KIND
from ccdflow.kinds.masters.flat import FLAT_KIND
from ccdflow.pages import contents
from ccdflow.pages.text_formatting import light_words
from ccdflow.run import job_records
from ccdflow.run.raw_frames.rows import ARRIVING_STATUS, OK, RAW_MISSING, SET_ASIDE
from ccdflow.wording import LEFT_FOR_NEXT_RUN

UNMADE_STATUS_WORDS = {
    job_records.FAILED: "failed",
    job_records.GONE: LEFT_FOR_NEXT_RUN,
    job_records.WAITING: LEFT_FOR_NEXT_RUN,
}
"""The word on pages for a frame that this run did not reduce, by the status of its record."""


def page_frames(context, night, prefix):
    """Return the frames of a night for a page, without those that still arrive.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    night : str
        YYYY-MM-DD, or the folder of undated frames.
    prefix : str
        The path from the page to the results folder.

    Returns
    -------
    list of ccdflow.pages.contents.ShownFrame
    """
    frames = []
    reason_by_file = {file: text for _, file, text in members_left_out(context, night)}
    for row in context.rows_of(night):
        if row.status == ARRIVING_STATUS:
            continue
        product = paths.reduced_frame(row.file)
        record = context.outcome(product) if row.status in (OK, RAW_MISSING) else None
        is_made = record is not None and record.status == job_records.MADE
        status, reason = _status_and_reason(row, record)
        frames.append(
            contents.ShownFrame(
                file=row.file,
                camera=row.camera,
                image_type=row.facts["type"],
                status=status,
                reason=reason,
                remark=reason_by_file.get(row.file, ""),
                object=row.facts["object"],
                filter=light_words((row.facts["filter"], row.facts["grism"])),
                exptime=number_or_nan(row.facts["exptime"]),
                time=row.facts["date_obs"],
                levels=tuple(record.data["levels"].values()) if is_made else (),
                noises=tuple(record.data["noises"].values()) if is_made else (),
                product=f"{prefix}/{product}" if is_made else "",
            )
        )
    return frames


def _status_and_reason(row, record):
    """Return the status of a frame for a page, and the reason for it.

    Parameters
    ----------
    row : ccdflow.run.raw_frames.rows.Row
    record : ccdflow.run.job_records.Record or None
        Record of the reduced frame.

    Returns
    -------
    status, reason : str
    """
    if record is not None and record.status == job_records.SET_ASIDE:
        return contents.SET_ASIDE, record.reason
    if record is not None and record.status in UNMADE_STATUS_WORDS:
        return UNMADE_STATUS_WORDS[record.status], record.reason
    if row.status in (RAW_MISSING, SET_ASIDE):
        return row.status, row.reason
    is_made = record is not None and record.status == job_records.MADE
    return contents.REDUCED if is_made else "not asked for", row.reason


def members_left_out(context, night):
    """Yield the frames of a night that were left out of the combined bias, dark or flat.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    night : str
        YYYY-MM-DD, or the folder of undated frames.

    Yields
    ------
    (str, str, str)
        The camera, the raw file, and the reason in words.
    """
    for kind in (BIAS_KIND, DARK_KIND, FLAT_KIND):
        for group in kind.night_groups(context, night):
            record = context.outcome(group.product)
            for file, text, *_ in () if record is None else record.data.get("left_out", ()):
                yield group.camera, file, f"not in the {kind.nouns[0]}: {text}"
