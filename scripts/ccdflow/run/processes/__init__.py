"""Processes beside the main one, because Python's threads share one core."""
