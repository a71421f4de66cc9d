"""The gains in the table of the detectors' measurements."""

from __future__ import annotations

import csv


def measured_gains(table, amplifier, *, camera=None, night=None):
    """Return the gains of an amplifier in a table of measurements.

    Parameters
    ----------
    table : pathlib.Path
        The file ``detector.csv`` of some results.
    amplifier : str
        Name of the amplifier; "" for all amplifiers.
    camera : str, optional
        Default: all cameras.
    night : str, optional
        YYYY-MM-DD. Default: all nights.

    Returns
    -------
    list of float
        In electrons per adu, in the order of the rows; [] without a table.
    """
    if not table.is_file():
        return []
    with table.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return [
            float(row["gain"])
            for row in csv.DictReader(file)
            if row["gain"]
            and amplifier in ("", row["amplifier"])
            and camera in (None, row["camera"])
            and night in (None, row["night"])
        ]
