"""Parts of English sentences that lines, pages and tables share."""


def count(number, one, many=None):
    """Write a number with its noun.

    Parameters
    ----------
    number : int
    one : str
        The noun in the singular.
    many : str, optional
        In the plural; with an s if absent.

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
    """Return the beginning of a sentence on an amplifier; '' where there is no other one.

    Parameters
    ----------
    name : str
        Name of the amplifier.
    has_others : bool
        Whether the detector has several.

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
    """Write names as a sentence has them.

    Examples
    --------
    >>> listing(["a"]), listing(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    *first_names, last = names
    return f"{', '.join(first_names)} and {last}" if first_names else last
