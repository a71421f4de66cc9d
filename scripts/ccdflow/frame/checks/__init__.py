"""Checks of a frame: flaws of its pixels, light in its overscan, its seams, its evenness."""
