"""One frame: its overscan subtracted, trimmed, and a header that tells the truth."""
