"""The masters that belong to a frame, and the reasons."""
