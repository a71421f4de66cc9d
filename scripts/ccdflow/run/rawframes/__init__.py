"""The raw frames of a run: their names, headers and rows, and what is remembered of them."""
