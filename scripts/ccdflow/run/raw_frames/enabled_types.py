"""The image types whose frames the configuration asks for."""

from __future__ import annotations


def is_of_enabled_type(row, settings):
    """Return whether the configuration asks for frames of this row's type.

    Parameters
    ----------
    row : ccdflow.run.raw_frames.rows.Row
        Row of a raw frame.
    settings : dict of str to object
        The checked configuration.

    Returns
    -------
    bool
    """
    return settings["types"] == "all" or is_type_enabled(settings, row.facts["type"])


def is_type_enabled(settings, frame_type):
    """Return whether the configuration asks for frames of a type.

    Parameters
    ----------
    settings : dict of str to object
        The checked configuration.
    frame_type : str
        Image type.

    Returns
    -------
    bool
    """
    return settings["types"] == "all" or frame_type in settings["types"]
