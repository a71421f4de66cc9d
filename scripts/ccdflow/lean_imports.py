"""Imports of other libraries without the parts that ccdflow does not use.

The start of Python is a large part of a short run. Programs therefore import this module before all
modules that take time. It avoids five costs: 0.6 s of processor time at the start, and more where
cosmic rays are looked for.

- With numpy OpenBLAS starts a thread for each core, and each thread uses its core for 60 ms before
  it sleeps. The matrices that ccdflow multiplies are small, and the threads of OpenBLAS would slow
  down those of the frames. So numpy gets one thread, unless the environment has another number.
  Programs that are started later do not see ours. Where numpy was imported already (Snakemake
  imports numpy with its plugin of Slurm), its threads stay asleep.
- OpenMP, which astroscrappy uses, starts a thread for each core in each of our threads. Threads
  that wait take processor time: 20 s of the tests instead of 1.6. OpenMP reads the environment when
  its library is loaded, so our number stays in the environment.
- astropy.io.fits takes the base class of its codecs from numcodecs where numcodecs is installed,
  and works without it as well. All other importers of numcodecs get the package.
- astropy.utils.data, which astropy.io.fits imports, uses two names of astropy.units in annotations
  alone: 0.35 s of processor time. It gets two empty classes. All other importers of astropy.units
  get the package.
- astropy's settings look for the module that defines them by the name of its file. For this Python
  looks at the files of all modules: 0.1 s of processor time after Snakemake's imports. The module's
  own name gives the same answer.
"""

from __future__ import annotations

import builtins
import ctypes
import os
import sys
from functools import partial
from importlib.machinery import PathFinder
from types import SimpleNamespace

# The variables of the environment that limit the threads of OpenBLAS and of OpenMP.
_OPENBLAS_THREADS = "OPENBLAS_NUM_THREADS"
_OPENMP_THREADS = "OMP_NUM_THREADS"
# numpy's module for products of matrices, and the names of OpenBLAS's function that sets the number
# of its threads: first those in numpy's own library, then those in other libraries.
_MATRIX_MODULE = "numpy._core._multiarray_umath"
_THREADS_FUNCTIONS = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
)
# A module that astropy's codecs can do without, and the module of these codecs.
_OPTIONAL_MODULE = "numcodecs"
_CODECS = "astropy.io.fits.hdu.compressed._codecs"
# A module of astropy that needs the units only for annotations, and the module of the units.
_ANNOTATED_MODULE = "astropy.utils.data"
_UNITS = "astropy.units"
# A module of astropy that finds other modules by their files, and its function that returns the
# module of a frame of the call stack.
_INTROSPECTION = "astropy.utils.introspection"
_FRAME_FUNCTION = "_get_module_from_frame"
# Names of units that are replaced if the module imports no other units. In another version of
# astropy the module may need more.
_ANNOTATIONS = ("Quantity", "UnitBase")


class _LeanLoader:
    """A loader that wraps another loader; its subclasses change how the module's code is run.

    Parameters
    ----------
    loader : importlib.abc.Loader
    """

    def __init__(self, loader):
        self._loader = loader

    def __getattr__(self, name):
        """Return an attribute of the loader itself."""
        return getattr(self._loader, name)

    def create_module(self, spec):
        """Return the module that the loader creates, or None: Python makes it then."""
        return self._loader.create_module(spec)

    def exec_module(self, module):
        """Run the module's code."""
        self._loader.exec_module(module)


class _UnitlessLoader(_LeanLoader):
    """A loader whose module gets empty classes in the place of astropy's units.

    The ``__import__`` of this module alone is replaced: other threads import the units themselves.
    """

    def exec_module(self, module):
        """Run the module's code."""
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _import_without_units}
        super().exec_module(module)


class _FrameByNameLoader(_LeanLoader):
    """A loader whose module finds the module of a frame of the call stack by name, not by file."""

    def exec_module(self, module):
        """Run the module's code."""
        super().exec_module(module)
        module_by_file = getattr(module, _FRAME_FUNCTION, None)
        if module_by_file is not None:
            setattr(module, _FRAME_FUNCTION, partial(_module_of_frame, module_by_file))


_LOADERS = {_ANNOTATED_MODULE: _UnitlessLoader, _INTROSPECTION: _FrameByNameLoader}


class _OptionalModuleFinder:
    """Hides numcodecs while astropy imports its codecs, and gives two modules lean loaders."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """Return the spec of a lean module; raise `ModuleNotFoundError` for numcodecs.

        Returns
        -------
        importlib.machinery.ModuleSpec or None
            The spec with a lean loader for `_ANNOTATED_MODULE` and `_INTROSPECTION`. None for all
            other modules, and where astropy's units are loaded already and cannot be left out.

        Raises
        ------
        ModuleNotFoundError
            For numcodecs, while astropy imports its codecs.
        """
        if name == _OPTIONAL_MODULE and _is_being_imported(sys.modules.get(_CODECS)):
            raise ModuleNotFoundError(f"{name} is left out", name=name)
        loader_class = _LOADERS.get(name)
        if loader_class is None or (loader_class is _UnitlessLoader and _UNITS in sys.modules):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None:
            spec.loader = loader_class(spec.loader)
        return spec


def _module_of_frame(module_by_file, frame):
    """Return the module whose code a frame of the call stack runs, by name, else by file."""
    names = {} if frame is None else frame.f_globals
    module = sys.modules.get(names.get("__name__"))
    return module if module is not None and vars(module) is names else module_by_file(frame)


def _import_without_units(name, globals_=None, locals_=None, names=(), level=0):
    """Import and return as Python does; the names of `_ANNOTATIONS` become empty classes.

    Parameters
    ----------
    name : str
    globals_, locals_ : dict of str to object, optional
    names : tuple of str, optional
    level : int, optional
        As of `builtins.__import__`.
    """
    if name == _UNITS and names == _ANNOTATIONS:
        return SimpleNamespace(**{unit: type(unit, (), {}) for unit in _ANNOTATIONS})
    return builtins.__import__(name, globals_, locals_, names, level)


def _is_being_imported(module):
    """Return whether the import of a package has begun, and has not yet set its `__all__`."""
    return module is not None and not hasattr(module, "__all__")


def _import_numpy():
    """Import numpy with one thread for OpenBLAS, unless the user gave a number."""
    is_limited = _OPENBLAS_THREADS in os.environ
    module = sys.modules.get(_MATRIX_MODULE)
    if module is not None and not is_limited:
        _take_one_thread(module.__file__)
    os.environ.setdefault(_OPENBLAS_THREADS, "1")
    try:
        import numpy  # noqa: F401
    finally:
        if not is_limited:
            del os.environ[_OPENBLAS_THREADS]


def _take_one_thread(library):
    """Set the number of OpenBLAS's threads in a loaded library to one, if the library has OpenBLAS.

    Parameters
    ----------
    library : str
        Path of the library.
    """
    functions = ctypes.CDLL(library)
    for name in _THREADS_FUNCTIONS:
        if (set_threads := getattr(functions, name, None)) is not None:
            set_threads(1)
            return


os.environ.setdefault(_OPENMP_THREADS, "1")
sys.meta_path.insert(0, _OptionalModuleFinder)
_import_numpy()
