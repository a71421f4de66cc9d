"""Reduced frames: their sources, and the job that makes one; kinds/frame is of it."""
