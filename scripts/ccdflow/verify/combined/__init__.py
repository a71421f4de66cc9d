"""Combined biases, darks and flats, made again by `ccdproc.combine`."""
