"""ccdflow: from raw CCD frames to overscan-subtracted, trimmed frames and combined biases."""

__version__ = "0.1.0"
