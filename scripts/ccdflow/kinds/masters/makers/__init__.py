"""How a master is made of its members: the maker of each image type, and their bases."""
