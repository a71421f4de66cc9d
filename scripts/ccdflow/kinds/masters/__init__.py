"""Combined biases, darks and flats, of the kinds of these names: groups, members, making."""
