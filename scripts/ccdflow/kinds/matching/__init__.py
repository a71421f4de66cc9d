"""Which masters belong to a frame, and why."""
