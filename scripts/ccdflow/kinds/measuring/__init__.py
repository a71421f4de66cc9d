"""Measurements of detectors: kinds/detector, shutter and trends are of it."""
