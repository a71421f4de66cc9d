"""Figures of the detector from its frames, the choice of a master's members, and warnings."""
