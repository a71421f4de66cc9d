"""Figures of the detector from frames, the choice of members, and warnings."""
