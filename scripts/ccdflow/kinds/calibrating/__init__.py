"""The making of a calibrated frame, for the kind `science`."""
