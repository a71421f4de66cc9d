"""The result of a run, left for the program that started it (scripts/daily.py).

That program names a folder in the environment. The run writes there its results folder at the
start and its counts at the end.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from ccdflow import paths
from ccdflow.files import atomic_write

FOLDER_VARIABLE = "CCDFLOW_SUMMARY"
"""The environment variable with the folder for the summary of a run."""

_RESULTS_FILE, _END_FILE = "results", "end.json"


@dataclass(frozen=True)
class Summary:
    """The result of a run.

    Attributes
    ----------
    results : Path or None
        Its results folder; None if the run ended before it was known.
    end : dict of str to object
        Frames done, set aside, other products made and the words for these (``what``); ``error``
        and ``busy`` if the run could not begin. Empty if the run was interrupted.
    """

    results: Path | None
    end: dict[str, object] = field(default_factory=dict)

    @property
    def inventory(self):
        """The inventory after the run, or None."""
        return self.results and self.results / paths.INVENTORY


def announce_results(results):
    """Write the results folder for the program that started the run."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        atomic_write.write_text(Path(folder) / _RESULTS_FILE, str(Path(results).resolve()))


def write_end(count, **words):
    """Write the counts of a run that has ended, for the program that started it.

    Parameters
    ----------
    count : ccdflow.run.lines.progress.BatchCount
    **words : str or bool
        ``what``, the noun of the other products; of a run that could not begin also ``error``, its
        line, and ``busy``, whether another run was at work.
    """
    if folder := os.environ.get(FOLDER_VARIABLE):
        atomic_write.write_text(Path(folder) / _END_FILE, json.dumps({**vars(count), **words}))


def read_summary(folder):
    """Return the `Summary` that a run left in a folder."""
    results, last = Path(folder) / _RESULTS_FILE, Path(folder) / _END_FILE
    return Summary(
        Path(results.read_text("utf-8")) if results.is_file() else None,
        json.loads(last.read_text()) if last.is_file() else {},
    )
