"""The parts of pages of nights, from the records and the rows."""
