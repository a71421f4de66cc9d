"""The products of a run on the disk: their sizes and times, their records, their removal."""
