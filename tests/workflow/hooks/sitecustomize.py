"""Read by every Python started with this folder in PYTHONPATH: pictures that take no time.

A test that runs Snakemake itself and is not about pictures need not wait for them.
"""

import importlib.machinery
import sys


class _Finder:
    """Puts the stand-ins in place as soon as the module that draws is imported."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name != "ccdflow.pages.pictures":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            from stand_ins import DRAWERS, stand_in

            for drawer in DRAWERS:
                setattr(module, drawer, stand_in)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Finder)
