"""Measurements of detectors: kinds/detector_measurement, shutter and trends are of it."""
