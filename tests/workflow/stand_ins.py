"""Stand-ins for pictures that take no time: one pixel, and a hash of the picture's arguments."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module

import numpy as np

# By module of `ccdflow.pages.pictures`.
DRAWERS = {
    "ageing_picture": "ageing_picture",
    "before_after": "before_after_picture",
    "bias_picture": "night_quality_picture",
    "combined_picture": "combined_bias_picture",
    "coverage_picture": "coverage_picture",
    "step_picture": "step_picture",
    "trend_picture": "trend_picture",
}


def use_stand_ins(patch):
    """Put stand-ins in the place of the functions that draw; ``patch`` is a `MonkeyPatch`.

    The library's files, which no test changes in place, are looked at once.
    """
    # Runs of Snakemake import this module, and ccdflow by themselves.
    import ccdflow
    from ccdflow.run.sealing import seal

    # A second call finds the stand-in, which tells the same.
    look_at_code = seal.stamps_of_code
    patch.setattr(seal, "stamps_of_code", lambda: [ccdflow.__version__, _look_once(look_at_code)])
    for module, drawer in DRAWERS.items():
        patch.setattr(import_module(f"ccdflow.pages.pictures.{module}"), drawer, stand_in)


def copy_with_stand_ins(archive, folder, patch):
    """Return a copy of an archive of closed nights; pictures are stand-ins until `patch` ends."""
    from ccdflow import paths

    use_stand_ins(patch)
    own = archive.copy_to(folder)
    assert (own.results / paths.CLOSED_NIGHTS).is_file()
    return own


@cache
def _look_once(look_at_code):
    return look_at_code()[1]


def stand_in(*values, **named):
    """Return a PNG of one pixel that carries a hash of the arguments."""
    digest = hashlib.sha256()
    _feed(digest, [values, sorted(named.items())])
    text = b"drawn from\0" + digest.hexdigest().encode()
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (
            (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
            (b"tEXt", text),
            (b"IDAT", zlib.compress(b"\0\0")),
            (b"IEND", b""),
        )
    )


def _feed(digest, value):
    if isinstance(value, np.ndarray):
        digest.update(f"{value.shape}{value.dtype}".encode() + value.tobytes())
    elif is_dataclass(value):
        _feed(digest, [getattr(value, field.name) for field in fields(value)])
    elif isinstance(value, Mapping):
        _feed(digest, list(value.items()))
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
        digest.update(b"(")
        for each in value:
            _feed(digest, each)
        digest.update(b")")
    else:
        digest.update(repr(value).encode())
