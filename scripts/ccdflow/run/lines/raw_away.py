"""The line on a raw folder that went away while the run went on, as an unmounted disk does."""

from __future__ import annotations

from collections import Counter

from ccdflow.errors import RUN_AGAIN
from ccdflow.run import job_records
from ccdflow.run.raw_frames import folder_identities, raw_folders
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
    folders = sorted(
        {record.data.get(job_records.RAW_FOLDER, "") for record in session.unread_records}
    )
    remedy = _BRING_BACK
    if not _is_away(context, folders):
        remedy = f"{'it is' if len(folders) == 1 else 'they are'} there now: leave it there"
    place, subject = context.raw, "the raw folder"
    if all(folders):
        place /= folders[0].removesuffix("/")
        subject = "this part of the raw folder"
        if len(folders) > 1:
            subject = f"this part of the raw folder, and {len(folders) - 1} more,"
    return (
        f"{place}: {subject} went away while the run went on ({reason}):"
        f" {listing(losses)}; earlier products are kept;"
        f" {remedy}{after_remedy}"
    )


def _is_away(context, folders):
    """Return whether the raw folder, or one of some folders below it, is away or another one.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    folders : list of str
        Relative to the raw folder, with ``/`` at their ends; '' is the raw folder.
    """
    identities = context.raw_identities
    noted_identities = {name: identities[name] for name in folders if name in identities}
    return bool(
        raw_folders.why_away(context.raw, context.results)
        or folder_identities.first_changed_folder(context.raw, noted_identities)
    )
