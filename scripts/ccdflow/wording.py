"""Parts of English sentences that lines, pages and tables share."""

SET_ASIDE = "set aside"
"""The words for a raw frame that cannot be reduced: in its row, in its record and on pages."""

LEFT_FOR_NEXT_RUN = "left for the next run"
"""The words for a frame or product that this run could not make, and that the next run tries."""


def count(number, one, many=None):
    """Return a number with its noun.

    Parameters
    ----------
    number : int
    one : str
        The noun in the singular.
    many : str, optional
        The noun in the plural; the singular with an s if absent.

    Returns
    -------
    str

    Examples
    --------
    >>> count(1, "frame"), count(2, "frame"), count(0, "bias", "biases")
    ('1 frame', '2 frames', '0 biases')
    """
    return f"{number} {one if number == 1 else many or one + 's'}"


def amplifier_prefix(name, *, has_others):
    """Return the beginning of a sentence on an amplifier; '' for a detector with one amplifier.

    Parameters
    ----------
    name : str
        Name of the amplifier.
    has_others : bool
        Whether the detector has several amplifiers.

    Returns
    -------
    str

    Examples
    --------
    >>> amplifier_prefix("left", has_others=True), amplifier_prefix("all", has_others=False)
    ('amplifier left: ', '')
    """
    return f"amplifier {name}: " if has_others else ""


def listing(names):
    """Return names in one text, with commas and an "and" before the last.

    Examples
    --------
    >>> listing(["a"]), listing(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    *first_names, last = names
    return f"{', '.join(first_names)} and {last}" if first_names else last


def first_named(names, most):
    """Return the first names of a list with commas, and the number of all further names.

    Parameters
    ----------
    names : list of str
    most : int
        Number of names that are written.

    Returns
    -------
    str

    Examples
    --------
    >>> first_named(["a", "b"], 2), first_named(["a", "b", "c"], 2)
    ('a, b', 'a, b and 1 more')
    """
    further = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + further


def first_lines(lines, most, rest="more"):
    """Return the first lines of a list, and a line with the number of all further lines.

    Parameters
    ----------
    lines : list of str
    most : int
        Number of lines that are returned as they are.
    rest : str, optional
        The words after that number: ``... and 3 more``.

    Returns
    -------
    list of str
    """
    return lines[:most] + more_line(len(lines) - most, rest)


def more_line(number, rest="more"):
    """Return [the line on the lines that are left out], [] where there are none.

    Parameters
    ----------
    number : int
        Lines that are left out; 0 or less for none.
    rest : str, optional
        The words after the number.

    Returns
    -------
    list of str

    Examples
    --------
    >>> more_line(3, "more lines"), more_line(0)
    (['... and 3 more lines'], [])
    """
    return [f"... and {number} {rest}"] if number > 0 else []
