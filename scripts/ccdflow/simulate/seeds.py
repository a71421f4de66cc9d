"""Random numbers that follow from names and seeds."""

from __future__ import annotations

import zlib

import numpy as np


def generator(*entropy):
    """Return a random generator that depends only on the given integers."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(entropy)))


def text_seed(text):
    """Return an integer that follows from a text."""
    return zlib.crc32(text.encode())
