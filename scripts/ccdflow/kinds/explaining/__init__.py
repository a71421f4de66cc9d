"""The story of a product, and the effect that another master would have."""
