"""The raw frames of a run: their names, headers and rows, and the store of them."""
