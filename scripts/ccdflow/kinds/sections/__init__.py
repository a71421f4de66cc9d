"""What pages of nights show, from the records and the rows."""
