"""Closed nights: a run plans only the nights that changed.

The "home" of a row or record is its night: docs/architecture.md, "Words".
"""
