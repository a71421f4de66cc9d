"""The bad pixels of earlier nights, counted once: a new night reads few tables besides its own.

A map of bad pixels has the nights of its epoch in which each pixel was seen bad. In twenty years
these are thousands of nights, each with a table. A note keeps the counts of settled nights, and the
next map begins with these counts. The note only saves time: all tables are read if the note is
lost, or if one of its measurements was made again.
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

# Raise it when a change alters the meaning of a value in the note: all nights are then counted
# again.
_FORM_VERSION = 1
# Number of the newest measurements that are not counted, because a late frame of the last weeks may
# change these. Further measurements are counted once there are this many of them, so that few runs
# write the note. Chosen: a month of nights.
_UNCOUNTED_MEASUREMENTS = 30
# The entries of `NightCounts` by their names in the note.
_NAMES_IN_NOTE = {
    "first": "first",
    "last": "last",
    "bits": "bits",
    "n_bad_nights": "seen",
    "n_judged_nights": "looked",
}


def count_settled(results, product, sources, n_settled, read_nights):
    """Return the counts over the earlier measurements of a map, and the number of these.

    Parameters
    ----------
    results : pathlib.Path
    product : str
        The map.
    sources : list of list of str
        Product, key and content of each measurement, in the order of their nights.
    n_settled : int
        Number of measurements, from the first on, that may be counted.
    read_nights : callable
        Called with two indices of ``sources``: the first measurement, and the one after the last.
        Returns a list for each image of the map, with its `NightBadPixels` in each night.

    Returns
    -------
    counts : list of ccdflow.detector.pixels.history.NightCounts or None
        One for each image; None where none are counted.
    n_counted : int
        Number of the measurements in the counts, from the first on.
    """
    path = Path(results) / paths.counted_pixels(product)
    n_counted, counts = _read_counts(path, sources)
    n_countable = min(n_settled, len(sources) - _UNCOUNTED_MEASUREMENTS)
    if n_counted > max(n_countable, 0):
        # The note has some of the newest nights. It is not used, because the map needs the bad
        # pixels of these nights, not only their counts.
        n_counted, counts = 0, None
    if n_countable - n_counted >= _UNCOUNTED_MEASUREMENTS:
        nights_of_images = read_nights(n_counted, n_countable)
        earlier_counts = counts or [None] * len(nights_of_images)
        counts = [
            count_nights(nights, earlier)
            for nights, earlier in zip(nights_of_images, earlier_counts, strict=True)
        ]
        n_counted = n_countable
        with suppress(OSError):
            # Without the note the next map reads all tables: that costs only time.
            _write_counts(path, sources[:n_counted], counts)
    return counts, n_counted


def _read_counts(path, sources):
    """Return (number of measurements, `NightCounts` of each image) of a note; (0, None) for none.

    Parameters
    ----------
    path : pathlib.Path
    sources : list of list of str
        As `count_settled` takes them. A note is used only if its measurements are the first of
        these.
    """
    try:
        with path.open("rb") as file:
            return _counts_in(file, sources)
    except (OSError, ValueError, KeyError):
        # There is no note, or another version of ccdflow wrote it in another form.
        return 0, None


def _counts_in(file, sources):
    """Return (number of measurements, `NightCounts` of each image) of an open note, or (0, None).

    Parameters
    ----------
    file : file object
    sources : list of list of str
        As for `_read_counts`.

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
    counted_sources = head["measurements"]
    if sources[: len(counted_sources)] != counted_sources:
        return 0, None
    nights, n_images = tuple(head["nights"]), head["images"]
    with np.load(io.BytesIO(file.read()), allow_pickle=False) as arrays:
        counts = [_counts_of_image(arrays, number, nights) for number in range(n_images)]
    return len(counted_sources), counts


def _counts_of_image(arrays, number, nights):
    """Return the `NightCounts` of an image from the arrays of a note."""
    entries = {
        source: {
            name: arrays[f"{number} {source} {name_in_note}"]
            for name, name_in_note in _NAMES_IN_NOTE.items()
        }
        for source in SOURCES
    }
    return NightCounts(arrays[f"{number} index"], entries, nights)


def _write_counts(path, sources, counts):
    """Write the note: its checksum, then the counts of some measurements.

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
    for number, image_counts in enumerate(counts):
        arrays[f"{number} index"] = image_counts.index
        for source, entries in image_counts.entries.items():
            arrays |= {
                f"{number} {source} {name_in_note}": entries[name]
                for name, name_in_note in _NAMES_IN_NOTE.items()
            }
    content = io.BytesIO()
    np.savez(content, **arrays)
    head = {
        "form": _FORM_VERSION, "measurements": sources, "nights": counts[0].nights,
        "images": len(counts),
    }  # fmt: skip
    text = json.dumps(head, separators=(",", ":"))
    notes.write_checked_bytes(path, [text.encode() + b"\n", content.getvalue()])
