"""The frames of a night as pages show them."""

from __future__ import annotations

from ccdflow import paths
from ccdflow.files.values import number_or_nan
from ccdflow.kinds.bias import BIAS
from ccdflow.pages import contents
from ccdflow.run import ledger
from ccdflow.run.rawframes.rows import ARRIVING, OK, RAW_MISSING, SET_ASIDE

_STATUS = {RAW_MISSING: "raw file missing", SET_ASIDE: contents.SET_ASIDE}
NOT_NOW = {ledger.FAILED: "failed", ledger.GONE: "left for the next run"}


def page_frames(context, night, prefix):
    """Return the frames of a night as pages show them, products relative to ``prefix``.

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
    left_out = _left_out(BIAS.night_groups(context, night), context)
    for row in context.rows_of(night):
        product = paths.reduced(row.file)
        record = context.outcome(product) if row.status in (OK, RAW_MISSING) else None
        status, reason = _STATUS.get(row.status, ""), row.reason
        made = record is not None and record.status == ledger.MADE
        if record is not None and record.status == ledger.SET_ASIDE:
            status, reason = contents.SET_ASIDE, record.reason
        elif record is not None and record.status in NOT_NOW:
            status, reason = NOT_NOW[record.status], record.reason
        elif made and not status:
            status = contents.REDUCED
        if row.status == ARRIVING:
            continue
        frames.append(
            contents.ShownFrame(
                file=row.file,
                camera=row.camera,
                kind=row.facts["type"],
                status=status or "not asked for",
                reason=reason,
                remark=left_out.get(row.file, ""),
                object=row.facts["object"],
                filter=row.facts["filter"],
                exptime=number_or_nan(row.facts["exptime"]),
                time=row.facts["date_obs"],
                levels=tuple(record.data["levels"].values()) if made else (),
                noises=tuple(record.data["noises"].values()) if made else (),
                product=f"{prefix}/{product}" if made else "",
            )
        )
    return frames


def _left_out(groups, context):
    """Return {raw file: why it is not in the combined bias of its group}."""
    records = filter(None, (context.outcome(group.product) for group in groups))
    outs = [out for record in records for out in record.data.get("left_out", ())]
    return {file: f"not in the combined bias: {text}" for file, text, *_ in outs}
