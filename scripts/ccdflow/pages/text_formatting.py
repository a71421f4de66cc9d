"""Figures as pages and pictures write them."""

from __future__ import annotations

import math

from ccdflow.wording import count

TYPE_ORDER = ("bias", "dark", "flat", "arc", "science", "other")
"""The types of frames in the order in which pages list them."""

_PLURALS = {"bias": "biases", "dark": "darks", "flat": "flats", "arc": "arcs"}


def figure_text(value, digits=4):
    """Write a figure with ``digits`` significant digits, all digits before the point kept.

    Parameters
    ----------
    value : float
        NaN and infinities are written as a dash.
    digits : int, optional
        Significant digits wanted; by default those of most figures on pages.

    Returns
    -------
    str
        Without exponent from 0.0001 on.
    """
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size < -4:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    return f"{value:.{max(0, digits - 1 - size)}f}".replace("-", "−")


def with_error(value, error):
    """Write a value with its error, to two digits of the error.

    Parameters
    ----------
    value : float
    error : float
        Standard error; NaN or 0 where it is not known.

    Returns
    -------
    str

    Examples
    --------
    >>> with_error(3.41234, 0.00123), with_error(1.5, float("nan"))
    ('3.4123 ± 0.0012', '1.500')
    """
    # An error of 0 is a coincidence: three levels that lie on a line.
    if not (math.isfinite(value) and math.isfinite(error) and error > 1e-6 * abs(value)):
        return figure_text(value)
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{decimals}f} ± {error:.{decimals}f}".replace("-", "−")


def span_text(values, digits=3):
    """Write figures in short: a single one as it is, several as least and largest; '' for none.

    Parameters
    ----------
    values : sequence of float
        NaN is left out.
    digits : int, optional
        Significant digits wanted; by default one less than of a single figure, as there are two.

    Returns
    -------
    str
        '2.9' or '2.7 to 2.9'.
    """
    finite_values = [value for value in values if math.isfinite(value)]
    ends = [figure_text(end(finite_values), digits) for end in (min, max)] if finite_values else []
    return " to ".join(dict.fromkeys(ends))


def group_by_type(frames):
    """Group frames by image type: [(type, frames)], the known types in the order of work first."""
    grouped = {}
    for frame in frames:
        grouped.setdefault(frame.image_type, []).append(frame)
    return sort_by_type(grouped.items())


def type_rank(image_type):
    """Return the place of an image type in `TYPE_ORDER`; behind all of them for another type."""
    return TYPE_ORDER.index(image_type) if image_type in TYPE_ORDER else len(TYPE_ORDER)


def sort_by_type(pairs):
    """Sort pairs of image type and something: the known types in the order of work, then others."""
    return sorted(pairs, key=lambda pair: (type_rank(pair[0]), pair[0]))


def type_words(image_type):
    """Return an image type in words."""
    return image_type or "of unknown type"


def plural(image_type):
    """Return the frames of a type in words: biases, science frames."""
    return _PLURALS.get(image_type, f"{image_type} frames")


def number_of(image_type, number):
    """Write the number of frames of a type: 6 biases, 1 science frame, 3 of unknown type.

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
"""The night of frames in the raw folder itself whose headers give no date."""


def night_title(night):
    """Return the headline of the page of a night.

    Examples
    --------
    >>> night_title("2016-01-15"), night_title("undated")
    ('Night 2016-01-15', 'Frames without a date')
    """
    return "Frames without a date" if night == UNDATED else f"Night {night}"


def light_words(names):
    """Return filter and grism in words: each once, empty ones left out.

    Examples
    --------
    >>> light_words(["Free", "Gr#3"]), light_words(["600/4310", "600/4310"]), light_words(["g", ""])
    ('Free Gr#3', '600/4310', 'g')
    """
    return " ".join(unique_names(names))


def unique_names(names):
    """Return the names that are not empty, each once, in their order."""
    return list(dict.fromkeys(name for name in names if name))


def capitalised_text(text):
    """Capitalise the first letter of a text."""
    return text[:1].upper() + text[1:]


def short_unit(unit):
    """Return a unit as pages and lines write it: e- for electrons."""
    return "e-" if unit == "electron" else unit
