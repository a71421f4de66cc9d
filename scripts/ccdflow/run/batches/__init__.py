"""Batches: parts of a plan that another process makes, on this machine or on a cluster's node."""
