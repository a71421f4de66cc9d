"""What a run tells the program that started it and asked for that (scripts/daily.py).

It asks by naming a folder in the environment. There the run leaves where its results are, and in
the end what it came to.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from ccdflow import paths

FOLDER = "CCDFLOW_SUMMARY"
_RESULTS, _END = "results", "end.json"


@dataclass(frozen=True)
class Summary:
    """What a run told.

    Attributes
    ----------
    results : Path or None
        Its results folder; None if it did not come so far.
    end : dict
        Frames done, set aside, other products made; ``error`` and ``busy`` if it could not begin.
        Empty if it did not come to its end.
    """

    results: Path | None
    end: dict = field(default_factory=dict)

    @property
    def inventory(self):
        """The inventory after the run, or None."""
        return self.results and self.results / paths.INVENTORY


def begin(results):
    """Tell where the results are."""
    if folder := os.environ.get(FOLDER):
        (Path(folder) / _RESULTS).write_text(str(Path(results).resolve()), "utf-8")


def end(count, **problem):
    """Tell what the run came to.

    Parameters
    ----------
    count : ccdflow.run.claims.Count
    **problem
        ``error``, the line that says why it could not begin, and ``busy``.
    """
    if folder := os.environ.get(FOLDER):
        (Path(folder) / _END).write_text(json.dumps({**vars(count), **problem}))


def read(folder):
    """Return the `Summary` that a run left in a folder."""
    results, last = Path(folder) / _RESULTS, Path(folder) / _END
    return Summary(
        Path(results.read_text("utf-8")) if results.is_file() else None,
        json.loads(last.read_text()) if last.is_file() else {},
    )
