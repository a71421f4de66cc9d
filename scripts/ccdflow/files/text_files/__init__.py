"""Files of text: notes after a checksum, and CSV tables that are brought up to date by lines."""
