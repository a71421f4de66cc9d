"""A run: what there is, what was made, what is to be made and why."""
