"""Warnings on frames whose headers lack a setting, where other headers of the night have it."""

from __future__ import annotations

from collections import defaultdict

from ccdflow.calibrate.applied_masters import MASTER_KINDS
from ccdflow.run.raw_frames.rows import OK

# The words for each setting, and the remedy if all frames in truth have one value of it.
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
# Types of frames that are combined into masters, or are calibrated with them.
_CONCERNED_TYPES = (*MASTER_KINDS, "science", "arc")


def warnings_on_absent_settings(rows, group_by):
    """Return warnings on frames of a night and size of which only some have a setting.

    Frames with and without the setting share no masters, because nobody knows whether the setting
    was the same.

    Parameters
    ----------
    rows : iterable of ccdflow.run.raw_frames.rows.Row
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
    for rows_of_size in rows_by_size.values():
        if not any(row.facts["type"] in MASTER_KINDS for row in rows_of_size):
            continue
        for name in filter(group_by.__contains__, _SETTINGS):
            minority, text = _minority_and_warning(name, rows_of_size)
            for row in minority:
                warnings[row.file].append((f"absent {name}", text))
    return dict(warnings)


def _minority_and_warning(name, rows):
    """Return the fewer frames, those with a setting or those without it, and their warning.

    Parameters
    ----------
    name : str
        Name of the setting.
    rows : list of ccdflow.run.raw_frames.rows.Row
        Frames of one night and size.

    Returns
    -------
    minority : list of ccdflow.run.raw_frames.rows.Row
        Empty where all frames have the setting, or all lack it.
    warning : str
    """
    rows_without = [row for row in rows if row.facts[name] in (None, "")]
    values = sorted({str(row.facts[name]) for row in rows} - {"None", ""})
    if not rows_without or not values:
        return [], ""
    setting, remedy = _SETTINGS[name]
    n_without, words_on_all = len(rows_without), f"of the {len(rows)} frames of its night"
    if 2 * n_without <= len(rows):
        minority = rows_without
        text = f"no {setting} in its header, as in {n_without} {words_on_all}; the others have "
        text += " or ".join(values)
    else:
        files_without = {row.file for row in rows_without}
        minority = [row for row in rows if row.file not in files_without]
        text = f"a {setting} in its header, which {n_without} {words_on_all} lack"
    text += (
        f": frames with and without it share no masters; allowed: the card in all of them; {remedy}"
    )
    return minority, text
