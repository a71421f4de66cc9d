"""Pages, pictures, and the tables of masters and their choice: the kinds that show."""
