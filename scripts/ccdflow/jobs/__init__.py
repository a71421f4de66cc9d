"""Jobs: the thin edges that read, call the arithmetic, write, and leave a record."""
