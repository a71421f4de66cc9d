"""The measurement of a detector by one night: its masters, darks and flats, its findings."""
