"""Measurements of detectors: their kinds, with their tables and steps over the nights."""
