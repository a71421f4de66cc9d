"""ccdflow: from raw CCD frames to combined biases, darks and flats, and calibrated frames.

The modules that read headers change a setting of astropy for the whole process: a text such as
``'field: 12'`` is no record of FITS (`ccdflow.files.text_cards`, with the way to read records).
"""

__version__ = "0.1.0"
