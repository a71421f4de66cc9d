"""Bad pixels: found in darks and flats, and followed over the nights."""
