"""Files of text: notes behind a checksum, and CSV tables that are brought up to date by lines."""
