"""Closed nights: a run plans only the nights that changed."""
