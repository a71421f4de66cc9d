"""Products as FITS files: written whole, packed or not, and read by rows or on access."""
