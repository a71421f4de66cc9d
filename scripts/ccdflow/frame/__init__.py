"""Reduction of one frame: overscan subtracted, trimmed, mask, true header."""
