"""Combining any stack of frames: reading members, clipping, averaging, the combined header."""
