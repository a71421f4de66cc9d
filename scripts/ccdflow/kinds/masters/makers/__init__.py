"""The maker of each type of masters, which makes one of its members, and the makers' bases."""
