"""The warnings of many rows in the last lines of a run: one line for each kind."""

from __future__ import annotations

import os
import re
from collections import Counter

from ccdflow import paths
from ccdflow.camera.profile_lines import type_rule_text
from ccdflow.run.raw_frames.rows import ARRIVING_STATUS, OK, RowMark
from ccdflow.wording import count, first_lines

MOST_LINES = 12
"""The end of a run names at most this many kinds of warnings; the table has all."""

# Matches the parts of a warning that differ from frame to frame: (found 1.2), (3.5 degrees off).
_MEASURED_VALUE = re.compile(r"\(found .*?\)(?=$|:|;)|\(\d+\.\d degrees off\)")


def warning_lines(store, *, most_lines=MOST_LINES):
    """Return a line for each kind of warning, with the first frame and the number of frames.

    Further lines name the folders with several undated biases.

    Parameters
    ----------
    store : ccdflow.run.raw_frames.header_store.HeaderStore
    most_lines : int, optional
        Kinds that are named; one line counts all others.

    Returns
    -------
    list of str
    """
    entries_by_text = {}
    texts = [
        (file, row.warnings)
        for file, row in store.rows.items()
        if row.warnings and not row.gone and row.status != ARRIVING_STATUS
    ]
    for file, warnings in sorted(texts):
        for text in warnings.splitlines():
            entries_by_text.setdefault(_MEASURED_VALUE.sub("", text), []).append((file, text))
    ranked_entries = sorted(entries_by_text.values(), key=lambda entries: -len(entries))
    lines = list(map(_warning_line, ranked_entries))
    line_on_others = "more kinds of warnings, see the table"
    return [*first_lines(lines, most_lines, line_on_others), *_lines_on_undated_biases(store)]


def _warning_line(entries):
    """Return the line on (file, text) of frames with one warning: the first, and their number."""
    file, text = entries[0]
    number_text = f" (the first of {len(entries)} frames)" if len(entries) > 1 else ""
    return f"warning: {file}{number_text}: {text}"


def _lines_on_undated_biases(store):
    """Return a line for each folder with several undated biases."""
    folders = Counter(
        row.night
        for row in store.rows.values()
        if row.status == OK and not row.gone and row.is_undated and row.facts["type"] == "bias"
    )
    return [
        f"warning: {number} biases of the folder {folder!r} have no date: they may be of several "
        "nights, and are combined as one"
        for folder, number in sorted(folders.items())
        if number > 1
    ]


def no_overscan_lines(store):
    """Return a line for each camera with frames in which no card names an overscan.

    A camera whose profile has `overscan: none` gets no line: somebody has thought of its overscan.

    Parameters
    ----------
    store : ccdflow.run.raw_frames.header_store.HeaderStore

    Returns
    -------
    list of str
    """
    files_by_camera = {}
    for file, row in store.rows.items():
        if row.status == OK and not row.gone and row.has(RowMark.NO_OVERSCAN):
            files_by_camera.setdefault(row.camera, []).append(file)
    return [
        f"no overscan subtracted: {camera}: {min(files_of_camera)}"
        + (f" (the first of {len(files_of_camera)} frames)" if len(files_of_camera) > 1 else "")
        + ": no card names one. If the camera has one, `make new-camera FRAME=BIAS FLAT=FLAT` finds"
        " it; if not, `overscan: none` in a profile ends this line"
        for camera, files_of_camera in sorted(files_by_camera.items())
    ]


def files_passed_over(raw):
    """Return the files that look like raw frames and are not read; links are not followed.

    Parameters
    ----------
    raw : path-like
        The raw folder.

    Returns
    -------
    list of str
        Relative to the raw folder.
    """
    return [
        os.path.normpath(os.path.join(os.path.relpath(folder, raw), name))  # noqa: PTH118
        for folder, _, names in os.walk(raw)
        for name in filter(paths.is_passed_over, names)
    ]


def passed_over_lines(files):
    """Return the lines on files that look like raw frames and are not read, by the reason.

    Parameters
    ----------
    files : iterable of str
        Relative to the raw folder; those in hidden folders are not reported.

    Returns
    -------
    list of str
    """
    hidden_files, packed_files, unnamed_files = [], [], []
    for file in files:
        *folders, name = file.split("/")
        if not any(folder.startswith(".") for folder in folders):
            files_of_reason = unnamed_files if paths.lacks_ending(name) else packed_files
            (hidden_files if name.startswith(".") else files_of_reason).append(file)
    return [
        f"passed over: {count(len(names), 'file')} {reason} (the first: {min(names)!a})"
        for names, reason in (
            (hidden_files, "with a leading dot in the name"),
            (packed_files, "packed in a way that is not read: unpack them, or pack them with gzip"),
            (unnamed_files, "without .fits in the name: rename a001.fz to a001.fits.fz"),
        )
        if names
    ]


def lines_on_absent_biases(store, types):
    """Return the line on the absence of biases as a list, [] if there are some.

    Parameters
    ----------
    store : ccdflow.run.raw_frames.header_store.HeaderStore
    types : collections.Counter
        The number of good frames of each image type.

    Returns
    -------
    list of str
    """
    rows = [row for row in store.rows.values() if row.status == OK and not row.gone]
    if not rows or types["bias"]:
        return []
    counts_in_words = ", ".join(
        f"{number} {frame_type}" for frame_type, number in sorted(types.items())
    )
    imagetyps_of_zero_darks = Counter(
        row.facts["imagetyp"]
        for row in rows
        if row.facts["type"] == "dark" and row.facts["exptime"] in (0, "")
    )
    remedy = "take some, or write under `types:` in a profile which frames are biases"
    if imagetyps_of_zero_darks:
        name = imagetyps_of_zero_darks.most_common(1)[0][0]
        rule = type_rule_text("bias", imagetyp=[name], exptime=[("max", 0)])
        remedy = f"in a profile, types: [{rule}]"
    return [f"no combined bias: no frame is of type bias ({counts_in_words}); {remedy}"]
