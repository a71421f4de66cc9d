"""Pictures as bytes, from values alone."""
