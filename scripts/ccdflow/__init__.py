"""ccdflow: from raw CCD frames to combined biases, darks and flats, and calibrated frames."""

__version__ = "0.1.0"
