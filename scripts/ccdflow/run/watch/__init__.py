"""A watch: many small runs while a night goes on."""
