"""The endings of raw frames, in each spelling and packed in each way."""

import itertools

ENDINGS = [
    "".join(parts)
    for ending in ("fits", "fit", "fts")
    for parts in itertools.product((f".{ending}", f".{ending.upper()}", f".{ending.title()}"),
                                   ("", ".gz", ".GZ", ".fz", ".Fz", ".fz.gz", ".FZ.GZ"))
]  # fmt: skip
