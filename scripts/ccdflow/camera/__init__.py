"""Cameras: the recognition of a frame, the facts of its headers, the place of its amplifiers."""
