"""A product as it is stored: its header, its pixels, and the files that it names."""
