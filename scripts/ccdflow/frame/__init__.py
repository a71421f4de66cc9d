"""Reduction and calibration of one frame: pixels, masks, and true headers."""
