"""The bad pixels of earlier nights, counted once: a new night reads few tables besides its own.

A map of bad pixels has the nights in which each pixel was seen bad, of all nights of its epoch:
thousands in twenty years, a file each. Nights that have settled are counted into a note, and the
next map goes on from there. The note only saves time: where it is lost, or a measurement that it
counts was made again, all tables are read.
"""

from __future__ import annotations

import io
import json
from contextlib import suppress
from pathlib import Path

import numpy as np

from ccdflow import paths
from ccdflow.detector.pixels.history import SOURCES, NightCounts, count_nights
from ccdflow.files.text_files import notes

# Raise it when a change alters the meaning of a value of the note: nights are counted anew.
_FORM_VERSION = 1
# Number of the newest measurements that are not counted, so that a late frame of the last weeks
# leaves the note as it is. New measurements are counted once there are this many, so that few runs
# write the note. Chosen.
_UNCOUNTED_MEASUREMENTS = 30


def count_settled(results, product, sources, n_settled, read):
    """Return the counts of earlier measurements of a map, and how many of them are counted.

    Parameters
    ----------
    results : pathlib.Path
    product : str
        The map.
    sources : list of list of str
        Product, key and content of each measurement, in the order of their nights.
    n_settled : int
        Number of measurements, from the first on, that may be counted.
    read : callable
        Called with two indices of ``sources``: the first measurement, and the one behind the last.
        Returns for each image of the map its `NightBadPixels`, in a list.

    Returns
    -------
    counts : list of ccdflow.detector.pixels.history.NightCounts or None
        One for each image; None where none are counted.
    n_counted : int
    """
    path = Path(results) / paths.counted_pixels(product)
    n_counted, counts = _read_counts(path, sources)
    n_settled = min(n_settled, len(sources) - _UNCOUNTED_MEASUREMENTS)
    if n_counted > max(n_settled, 0):
        # The note has nights that are not settled now: it is not used, as the newest nights decide
        # by more than their counts.
        n_counted, counts = 0, None
    if n_settled - n_counted >= _UNCOUNTED_MEASUREMENTS:
        nights_of_images = read(n_counted, n_settled)
        earlier_counts = counts or [None] * len(nights_of_images)
        counts = [
            count_nights(nights, earlier)
            for nights, earlier in zip(nights_of_images, earlier_counts, strict=True)
        ]
        n_counted = n_settled
        with suppress(OSError):
            # Without the note the next map reads all tables, which costs time and nothing else.
            _write_counts(path, sources[:n_counted], counts)
    return counts, n_counted


def _read_counts(path, sources):
    """Return (number of measurements, `NightCounts` of each image) of a note; (0, None) for none.

    Parameters
    ----------
    path : pathlib.Path
    sources : list of list of str
        As `count_settled` takes them: the note counts the first of them, or is not read.
    """
    try:
        with path.open("rb") as file:
            return _counts_in(file, sources)
    except (OSError, ValueError, KeyError):
        # The note is lost, or of another version in a form that is unknown here.
        return 0, None


def _counts_in(file, sources):
    """Return the same as `_read_counts`, of an open file.

    Parameters
    ----------
    file : file object
    sources : list of list of str

    Raises
    ------
    ValueError, KeyError
        If a part of the note is missing, or is in another form.
    """
    if not notes.is_as_written(file):
        return 0, None
    file.seek(notes.START)
    head = json.loads(file.readline())
    if not isinstance(head, dict) or head["form"] != _FORM_VERSION:
        return 0, None
    counted = head["measurements"]
    if sources[: len(counted)] != counted:
        return 0, None
    nights, n_images = tuple(head["nights"]), head["images"]
    with np.load(io.BytesIO(file.read()), allow_pickle=False) as arrays:
        counts = [_counts_of_image(arrays, number, nights) for number in range(n_images)]
    return len(counted), counts


def _counts_of_image(arrays, number, nights):
    """Return the `NightCounts` of an image from the arrays of a note."""
    entries = {
        source: {
            name: arrays[f"{number} {source} {name}"]
            for name in ("first", "last", "bits", "seen", "looked")
        }
        for source in SOURCES
    }
    return NightCounts(arrays[f"{number} index"], entries, nights)


def _write_counts(path, sources, counts):
    """Write the counts of some measurements, behind their checksum.

    Parameters
    ----------
    path : pathlib.Path
        Path of the note.
    sources : list of list of str
        Product, key and content of each measurement.
    counts : list of ccdflow.detector.pixels.history.NightCounts
        Counts of each image.
    """
    arrays = {}
    for number, each in enumerate(counts):
        arrays[f"{number} index"] = each.index
        for source, entries in each.entries.items():
            arrays |= {f"{number} {source} {name}": values for name, values in entries.items()}
    content = io.BytesIO()
    np.savez(content, **arrays)
    head = {
        "form": _FORM_VERSION, "measurements": sources, "nights": counts[0].nights,
        "images": len(counts),
    }  # fmt: skip
    text = json.dumps(head, separators=(",", ":"))
    notes.write_checked_bytes(path, [text.encode() + b"\n", content.getvalue()])
