"""Calibrated frames, of the kind `science`: their plan, their making, their lines."""
