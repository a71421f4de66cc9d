"""Cosmic rays in an image, distinguished from its stars."""
