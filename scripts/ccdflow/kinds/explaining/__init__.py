"""The story of a product (its sources, steps and reasons), and the effect of another master."""
