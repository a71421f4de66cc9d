"""Combining an image by tiles of pixels: the task and its memory, and the threads."""
