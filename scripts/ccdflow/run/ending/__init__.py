"""The end of a run: products retired, notes written, the closing lines."""
