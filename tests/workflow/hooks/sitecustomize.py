"""Read by every Python started with this folder in PYTHONPATH: stand-ins and faults for a test.

Pictures take no time: a test that runs Snakemake itself and is not about pictures need not wait
for them. The jobs of the products that CCDFLOW_TEST_FAULTS names raise an error; the text in
CCDFLOW_TEST_CODE is run when the first job begins.
"""

import ast
import importlib.machinery
import json
import os
import sys
from pathlib import Path


def draw_nothing(module):
    """Put a stand-in in the place of the function of a module that draws."""
    from stand_ins import DRAWERS, stand_in

    setattr(module, DRAWERS[module.__name__.rpartition(".")[2]], stand_in)


def fail_on_purpose(module):
    """Make the jobs of some products raise: {product: text of the error, as Python writes it}."""
    faults = json.loads(os.environ.get("CCDFLOW_TEST_FAULTS", "{}"))
    attempt = module.attempt
    code = [os.environ.get("CCDFLOW_TEST_CODE", "")]

    def attempt_or_fail(context, job, *, make, threads=1):
        while code:
            exec(code.pop(), {"context": context, "job": job})

        def make_or_fail(context, job, *, threads=1):
            if job.product in faults:
                raise eval(faults[job.product])
            return make(context, job, threads=threads)

        return attempt(context, job, make=make_or_fail, threads=threads)

    module.attempt = attempt_or_fail


def drawing_modules():
    """Return the names of the modules that draw, as `stand_ins` has them, without importing it."""
    text = (Path(__file__).parents[1] / "stand_ins.py").read_text()
    entries = text[text.index("DRAWERS = ") :].partition("= ")[2].partition("\n}")[0]
    return tuple(ast.literal_eval(f"{entries}}}"))


CHANGES = {
    "ccdflow.run.worker": fail_on_purpose,
    **{f"ccdflow.pages.pictures.{name}": draw_nothing for name in drawing_modules()},
}


class _Finder:
    """Changes a module as soon as it is imported."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in CHANGES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            CHANGES[name](module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Finder)
# A fork of `ready_python` has imported them already.
for _name in CHANGES.keys() & sys.modules.keys():
    CHANGES[_name](sys.modules[_name])
