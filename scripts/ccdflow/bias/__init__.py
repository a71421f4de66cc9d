"""Biases: combined into one, and what they say about the detector."""
