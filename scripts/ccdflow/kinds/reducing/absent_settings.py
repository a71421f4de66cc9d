"""Warnings on frames whose headers lack a setting that others of their night have."""

from __future__ import annotations

from collections import defaultdict

from ccdflow.calibrate.applied_masters import MASTER_KINDS
from ccdflow.run.rawframes.rows import OK

# The settings by their names in a row: the words for each, and the remedy if all frames were taken
# with one.
_SETTINGS = {
    "gain": (
        "gain",
        "if all have that gain, write it as `gain:` of each amplifier into the camera's profile,"
        " and leave gain out of `group_by:` of bias, dark and flat in config/config.yaml",
    ),
    "readmode": (
        "readout mode",
        "if all were read like that, leave readmode out of `group_by:` of bias, dark and flat in"
        " config/config.yaml",
    ),
}
# Types of frames that are made into masters or take them.
_CONCERNED_TYPES = (*MASTER_KINDS, "science", "arc")


def warnings_on_absent_settings(rows, group_by):
    """Return warnings on frames without a setting that others of their night and size have.

    Frames with the setting have no masters in common with frames without it, because nobody knows
    whether the setting was the same.

    Parameters
    ----------
    rows : iterable of ccdflow.run.rawframes.rows.Row
        All frames of a night.
    group_by : collection of str
        The settings by which masters are distinguished.

    Returns
    -------
    dict of str to list of (str, str)
        Topic and text of the warnings, by raw file.
    """
    rows_by_size = defaultdict(list)
    for row in rows:
        if row.facts["type"] in _CONCERNED_TYPES and row.status == OK:
            size = row.facts["naxis1"], row.facts["naxis2"], row.facts["ccdsum"]
            rows_by_size[row.night, row.camera, size].append(row)
    warnings = defaultdict(list)
    for frames in rows_by_size.values():
        if not any(row.facts["type"] in MASTER_KINDS for row in frames):
            continue
        for name in filter(group_by.__contains__, _SETTINGS):
            frames_without = [row for row in frames if row.facts[name] in (None, "")]
            values = sorted({str(row.facts[name]) for row in frames} - {"None", ""})
            if not frames_without or not values:
                continue
            few_frames, text = _few_and_text(name, frames, frames_without, values)
            for row in few_frames:
                warnings[row.file].append((f"absent {name}", text))
    return dict(warnings)


def _few_and_text(name, frames, frames_without, values):
    """Return the fewer frames, those with a setting or those without it, and their warning.

    Parameters
    ----------
    name : str
        Name of the setting.
    frames, frames_without : list of ccdflow.run.rawframes.rows.Row
        All frames of the night, and those without the setting.
    values : list of str
        Values of the setting in the other frames.
    """
    setting, remedy = _SETTINGS[name]
    number, frames_words = len(frames_without), f"of the {len(frames)} frames of its night"
    if 2 * number <= len(frames):
        few_frames = frames_without
        text = f"no {setting} in its header, as in {number} {frames_words}; the others have "
        text += " or ".join(values)
    else:
        files_without = {row.file for row in frames_without}
        few_frames = [row for row in frames if row.file not in files_without]
        text = f"a {setting} in its header, which {number} {frames_words} lack"
    text += (
        f": frames with and without it share no masters; allowed: the card in all of them; {remedy}"
    )
    return few_frames, text
