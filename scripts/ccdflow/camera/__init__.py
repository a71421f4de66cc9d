"""Cameras: how a frame is recognised, what its headers say, where its amplifiers lie."""
