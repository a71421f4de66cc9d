"""Closed nights: an archive of which some nights only are planned."""
