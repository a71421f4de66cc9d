"""Calibration of one reduced frame: its masters, its uncertainty and its mask."""
