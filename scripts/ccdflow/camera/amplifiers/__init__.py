"""The amplifiers of a frame, from the header cards or the profile that describe them."""
