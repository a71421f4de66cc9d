"""Calibrated frames, made again by `ccdproc.subtract_bias`, `subtract_dark` and `flat_correct`."""
