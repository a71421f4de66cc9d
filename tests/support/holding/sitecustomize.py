"""Read by every Python started with this folder in PYTHONPATH: see held_batches.py."""

import held_batches

held_batches.hold_batches()
