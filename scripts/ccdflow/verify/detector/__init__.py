"""Measurements of the detector and maps of its bad pixels, made again."""
