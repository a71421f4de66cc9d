"""What frames say of their detector: figures, which frames belong together, warnings."""
