"""The bits of masks, those of docs/products.md: one definition for all that set or read them."""

SATURATED = 1
NOT_FINITE = 2
NO_DATA = 4
HOT = 8
DEAD = 16
BAD_COLUMN = 32
COSMIC = 64
UNLIT = 128
UNCALIBRATED = 256
NOT_LINEAR = 512
BLEED = 1024
REPLACED = 2048
VARIES = 4096
FLAT_UNRELIABLE = 8192
