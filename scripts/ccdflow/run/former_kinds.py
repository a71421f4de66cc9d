"""The present names of kinds of products for those in records of earlier commits."""

from __future__ import annotations

# Older results: three kinds had these names, which did not describe their content.
_PRESENT_NAMES = {
    "picture": "frames picture",
    "quality": "bias picture",
    "table": "bias table",
}


def present_name(kind):
    """Return the present name of a kind, by its name in a record or in the file of a batch.

    Parameters
    ----------
    kind : str

    Returns
    -------
    str

    Examples
    --------
    >>> present_name("table"), present_name("bias")
    ('bias table', 'bias')
    """
    return _PRESENT_NAMES.get(kind, kind)
