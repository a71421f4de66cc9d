"""FITS files: raw ones read once and no further than they promise, products written whole."""
