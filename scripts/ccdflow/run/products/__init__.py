"""The products of a run: their names, and on the disk their sizes and times, and their removal."""
