"""Read by every Python started with this folder in PYTHONPATH: jobs are looked at each second.

The plugin waits ten seconds more after each look that found no job ended. That is kind to a real
cluster, and half of the time of a test. Batches are held as held_batches.py says.
"""

import os
import sys

import held_batches

NAME = "snakemake_interface_executor_plugins.executors.remote"


def hurry(module):
    """Set the time between two looks."""
    module.RemoteExecutor.next_seconds_between_status_checks = property(
        lambda executor: 1, lambda executor, seconds: None
    )


held_batches.change_on_import(NAME, hurry)
held_batches.hold_batches()
# The Python of a job is the one that its test gives, whatever this process is.
sys.executable = os.environ.get("CCDFLOW_TEST_PYTHON", sys.executable)
