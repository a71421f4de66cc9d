"""Reduced frames, of the kind `frame`: their sources, job, warnings and small pictures."""
