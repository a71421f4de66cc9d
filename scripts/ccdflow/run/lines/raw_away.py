"""The line on a raw folder that went away while the run went on, as an unmounted disk does."""

from __future__ import annotations

from collections import Counter

from ccdflow.errors import RUN_AGAIN
from ccdflow.run import job_records
from ccdflow.run.raw_frames import raw_folders
from ccdflow.wording import count, listing

_BRING_BACK = "mount its disk or move it back"


def line_on_raw_away(session, after_remedy=RUN_AGAIN):
    """Return the line on a raw folder that went away during the run.

    Parameters
    ----------
    session : ccdflow.run.session.Session
        A session that has ended, with `unread_records`.
    after_remedy : str, optional
        The words after the remedy, which end the line: another run, or the same watch, makes the
        missing products.

    Returns
    -------
    str
    """
    context = session.context
    numbers = Counter(record.kind for record in session.unread_records)
    n_frames = numbers.pop(context.chain.first.name, 0)
    products = [
        count(numbers[kind.name], *kind.nouns) for kind in context.chain if numbers[kind.name]
    ]
    losses = [f"{count(n_frames, 'frame')} could not be read"] if n_frames else []
    losses += [f"{listing(products)} could not be made"] if products else []
    reason = session.unread_records[0].data[job_records.RAW_AWAY]
    remedy = _BRING_BACK
    if not raw_folders.why_away(context.raw, context.results):
        remedy = "it is there now: leave it there"
    return (
        f"{context.raw}: the raw folder went away while the run went on ({reason}):"
        f" {listing(losses)}; earlier products are kept;"
        f" {remedy}{after_remedy}"
    )
