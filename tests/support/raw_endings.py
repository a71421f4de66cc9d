"""Endings of raw frames: three spellings, each alone and with those of packed files behind it."""

import itertools

ENDINGS = [
    "".join(parts)
    for ending in ("fits", "fit", "fts")
    for parts in itertools.product((f".{ending}", f".{ending.upper()}", f".{ending.title()}"),
                                   ("", ".gz", ".GZ", ".fz", ".Fz", ".fz.gz", ".FZ.GZ"))
]  # fmt: skip
