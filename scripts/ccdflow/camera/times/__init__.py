"""The time of an exposure and its night, from the cards that state them."""
