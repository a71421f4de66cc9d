"""Figures, image types, nights and units as pages and pictures write them."""

from __future__ import annotations

import math

from ccdflow.wording import count

TYPE_ORDER = ("bias", "dark", "flat", "arc", "science", "other")
"""The types of frames in the order in which pages list them."""

EMPTY_CELL = "–"
"""A cell of a table without a value: pages and the terminal have no empty cells."""

_PLURALS = {"bias": "biases", "dark": "darks", "flat": "flats", "arc": "arcs"}


def figure_text(value, digits=4):
    """Return a figure as text with some significant digits, and all digits before the point.

    Parameters
    ----------
    value : float
        A dash is written for NaN and infinities.
    digits : int, optional
        Number of significant digits; by default that of most figures on pages.

    Returns
    -------
    str
        Values below 0.0001 have an exponent.
    """
    if not math.isfinite(value):
        return EMPTY_CELL
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size < -4:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    return f"{value:.{max(0, digits - 1 - size)}f}".replace("-", "−")


def value_with_error(value, error):
    """Return a value with its error as text, to two digits of the error.

    Parameters
    ----------
    value : float
    error : float
        Standard error. The value is written without an error that is NaN, 0 or below a millionth of
        the value.

    Returns
    -------
    str

    Examples
    --------
    >>> value_with_error(3.41234, 0.00123), value_with_error(1.5, float("nan"))
    ('3.4123 ± 0.0012', '1.500')
    """
    # An error of nearly 0 is a coincidence, as of three levels that lie on a line.
    if not (math.isfinite(value) and math.isfinite(error) and error > 1e-6 * abs(value)):
        return figure_text(value)
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}".replace("-", "−")


def span_text(values, digits=3):
    """Return the least and the largest of some figures as text; '' without figures.

    Parameters
    ----------
    values : sequence of float
        NaN values are left out.
    digits : int, optional
        Number of significant digits; by default one less than `figure_text` has, to keep it short.

    Returns
    -------
    str
        '2.7 to 2.9', or '2.9' where both are written alike.
    """
    finite_values = [value for value in values if math.isfinite(value)]
    ends = [figure_text(end(finite_values), digits) for end in (min, max)] if finite_values else []
    return " to ".join(dict.fromkeys(ends))


def group_by_type(frames):
    """Return [(image type, its frames)], the known types in the order of work first."""
    frames_by_type = {}
    for frame in frames:
        frames_by_type.setdefault(frame.image_type, []).append(frame)
    return sort_by_type(frames_by_type.items())


def type_rank(image_type):
    """Return the index of an image type in `TYPE_ORDER`; its length for another type."""
    return TYPE_ORDER.index(image_type) if image_type in TYPE_ORDER else len(TYPE_ORDER)


def sort_by_type(pairs):
    """Return pairs (image type, value) sorted: known types in the order of work, then others."""
    return sorted(pairs, key=lambda pair: (type_rank(pair[0]), pair[0]))


def type_words(image_type):
    """Return an image type in words, also where it is unknown."""
    return image_type or "of unknown type"


def plural(image_type):
    """Return the plural noun for the frames of a type: biases, science frames."""
    return _PLURALS.get(image_type, f"{image_type} frames")


def number_in_words(image_type, number):
    """Return the number of frames of a type in words: 6 biases, 1 science frame.

    Parameters
    ----------
    image_type : str
        Image type; '' where unknown.
    number : int

    Returns
    -------
    str
    """
    if image_type in _PLURALS:
        return count(number, image_type, _PLURALS[image_type])
    return count(number, f"{image_type} frame") if image_type else f"{number} of unknown type"


UNDATED = "undated"
"""The night of frames without a date that lie in the raw folder itself."""


def night_title(night):
    """Return the headline of the page of a night.

    Examples
    --------
    >>> night_title("2016-01-15"), night_title("undated")
    ('Night 2016-01-15', 'Frames without a date')
    """
    return "Frames without a date" if night == UNDATED else f"Night {night}"


def light_words(names):
    """Return filter and grism in words: each name once, without empty names.

    Examples
    --------
    >>> light_words(["Free", "Gr#3"]), light_words(["600/4310", "600/4310"]), light_words(["g", ""])
    ('Free Gr#3', '600/4310', 'g')
    """
    return " ".join(unique_names(names))


def unique_names(names):
    """Return the names without empty ones, each once, in their order."""
    return list(dict.fromkeys(name for name in names if name))


def capitalised_text(text):
    """Return a text with its first letter capitalised."""
    return text[:1].upper() + text[1:]


def short_unit(unit):
    """Return the short form of a unit on pages and lines: e- for electrons."""
    return "e-" if unit == "electron" else unit
