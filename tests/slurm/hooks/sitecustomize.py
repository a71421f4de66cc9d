"""Read by every Python started with this folder in PYTHONPATH: jobs are looked at each second.

The plugin waits ten seconds more after each look that found no job ended. That is kind to a real
cluster, and half of the time of a test.
"""

import importlib.machinery
import os
import sys

NAME = "snakemake_interface_executor_plugins.executors.remote"


def hurry(module):
    """Set the time between two looks."""
    module.RemoteExecutor.next_seconds_between_status_checks = property(
        lambda executor: 1, lambda executor, seconds: None
    )


class _Finder:
    """Changes the module as soon as it is imported."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != NAME:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            hurry(module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Finder)
# The Python of a job is the one that its test gives, whatever this process is.
sys.executable = os.environ.get("CCDFLOW_TEST_PYTHON", sys.executable)
# A fork of `ready_python` has imported it already.
if NAME in sys.modules:
    hurry(sys.modules[NAME])
