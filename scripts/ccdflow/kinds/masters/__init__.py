"""Combined biases, darks and flats: their groups, their members and their making."""
