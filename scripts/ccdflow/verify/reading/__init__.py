"""A product as it lies there: its header, its pixels, and the files that it names."""
