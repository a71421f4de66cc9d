"""Photon transfer: gain, linearity and full well from flats."""
