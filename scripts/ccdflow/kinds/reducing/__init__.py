"""Reduced frames: their sources, and the job that makes one, for the kind `frame`."""
