"""Contents of pages, tables and last lines, from the records and the rows."""
