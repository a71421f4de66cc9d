"""The summary of a run for the program that started it (scripts/daily.py).

That program gives the path of a folder in an environment variable. The run writes two files into
this folder: at its start the path of its results folder, at its end its counts.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from ccdflow import paths
from ccdflow.files import atomic_write

FOLDER_VARIABLE = "CCDFLOW_SUMMARY"
"""The environment variable with the path of the folder for the summary of a run."""

_RESULTS_FILE, _END_FILE = "results", "end.json"


@dataclass(frozen=True)
class Summary:
    """The result of a run.

    Attributes
    ----------
    results : Path or None
        The results folder of the run; None if the run ended before it was known.
    end : dict of str to object
        The values of `write_end`: numbers of frames done, set aside and of other products, the
        nouns of these (``what``); ``error`` and ``busy`` if the run could not begin. Empty if the
        run was interrupted.
    """

    results: Path | None
    end: dict[str, object] = field(default_factory=dict)

    @property
    def inventory(self):
        """The path of the inventory, or None."""
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
        ``what``: the nouns of the other products. For a run that could not begin also ``error``,
        the line of its error, and ``busy``, whether another run was at work.
    """
    if folder := os.environ.get(FOLDER_VARIABLE):
        atomic_write.write_text(Path(folder) / _END_FILE, json.dumps({**vars(count), **words}))


def read_summary(folder):
    """Return the `Summary` that a run left in a folder."""
    results_file, end_file = Path(folder) / _RESULTS_FILE, Path(folder) / _END_FILE
    return Summary(
        Path(results_file.read_text("utf-8")) if results_file.is_file() else None,
        json.loads(end_file.read_text()) if end_file.is_file() else {},
    )
