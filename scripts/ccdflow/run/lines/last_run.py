"""The result of the last run and the disk space of products: a script that the overview loads.

The overview itself contains no times: the same values give the same bytes. A page that a browser
opens from a file may load a script beside it, but no file of another sort.
"""

from __future__ import annotations

import json
import time
from collections import Counter

from ccdflow import paths
from ccdflow.files import atomic_write
from ccdflow.run.nights import archive_counts


def write_last_run(session):
    """Write the script with the values of a run that has ended.

    Parameters
    ----------
    session : ccdflow.run.session.Session

    Raises
    ------
    OSError
        If the script cannot be written.
    """
    context = session.context
    text = json.dumps(values_of_run(session), separators=(",", ":"), ensure_ascii=True)
    path = context.results / paths.LAST_RUN
    atomic_write.write_whole(path, [f"window.ccdflowLastRun={text};\n".encode("ascii")])


def values_of_run(session):
    """Return the time of a run's end, its products by kind and reason, its failures, the disk used.

    Returns
    -------
    dict of str to object
        Values that JSON can hold.
    """
    context = session.context
    job_counts = Counter((job.kind, job.reason) for job in session.plan.jobs.values())
    nouns = {kind.name: kind.counted_nouns or kind.nouns for kind in context.chain}
    return {
        "ended": time.strftime("%Y-%m-%d %H:%M"),
        "made": [
            [nouns[kind][0 if number == 1 else 1], number, reason]
            for (kind, reason), number in job_counts.items()
        ],
        "failed": [[record.product, record.reason] for record in session.failed_records],
        "disk": archive_counts.disk_used(context),
    }
