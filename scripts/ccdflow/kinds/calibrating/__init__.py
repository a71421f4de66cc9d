"""The making of a calibrated frame: kinds/science is of it."""
