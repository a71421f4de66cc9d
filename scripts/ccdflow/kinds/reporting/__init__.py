"""The kinds that show other products: pages, pictures, and the tables of masters."""
