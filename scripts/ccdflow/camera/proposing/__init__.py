"""A profile for a new camera, proposed from the pixels of its frames."""
