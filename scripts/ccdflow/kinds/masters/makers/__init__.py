"""The makers of combined biases, darks and flats from their members, and the makers' bases."""
