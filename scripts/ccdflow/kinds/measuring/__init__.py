"""Measurements of detectors, for the kinds `detector_measurement`, `shutter` and `trends`."""
