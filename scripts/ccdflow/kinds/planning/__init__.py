"""The plan in words: masters, noise and holes of each night, before a pixel is read."""
