"""Values as JSON text: an encoder that is made once, for thousands of notes and hashes."""

from __future__ import annotations

import json
from json.encoder import c_make_encoder, encode_basestring_ascii


def compact_encoder(*, sort_keys=False):
    """Return a function that gives the compact JSON text of a value, in ASCII.

    The text is that of ``json.dumps(value, separators=(",", ":"), sort_keys=sort_keys)``. That
    function makes its encoder anew for each value, which takes twice as long as to write a short
    value.

    Parameters
    ----------
    sort_keys : bool, optional
        Whether the names in objects are sorted.

    Returns
    -------
    callable
        Takes a value that does not contain itself, and returns str.
    """
    encoder = json.JSONEncoder(separators=(",", ":"), sort_keys=sort_keys, check_circular=False)
    if c_make_encoder is None:
        # The json of this Python has no part in C.
        return encoder.encode
    # The arguments of `json.JSONEncoder.iterencode`. The first one is None: nothing looks for a
    # value that contains itself.
    chunks_of = c_make_encoder(
        None, encoder.default, encode_basestring_ascii, encoder.indent, encoder.key_separator,
        encoder.item_separator, encoder.sort_keys, encoder.skipkeys, encoder.allow_nan,
    )  # fmt: skip
    return lambda value: "".join(chunks_of(value, 0))
