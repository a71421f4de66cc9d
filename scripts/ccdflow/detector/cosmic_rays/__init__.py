"""Cosmic rays in an image, and the stars that are not to be taken for them."""
