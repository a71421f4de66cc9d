"""Reduced frames, made again by `ccdproc.subtract_overscan` and `trim_image`."""
