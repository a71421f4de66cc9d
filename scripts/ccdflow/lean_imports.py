"""Imports without what nothing here uses: a start of Python is a large part of a short run.

Programs import this before all else that takes time. It leaves out three things, 0.13 s of
processor time at the start, and more with cosmic rays:

- OpenBLAS starts a thread a core with numpy, each of which turns for 60 ms until it sleeps. The
  products of matrices here are small, and frames have threads of their own. A number that the
  environment gives holds, and other programs that are started later do not see ours.
- OpenMP, by which astroscrappy looks for cosmic rays, starts a thread a core as well, in each of
  our threads; those that wait take processor time (20 s of the tests instead of 1.6). OpenMP looks
  at the environment when its library is loaded, so its number stays there.
- astropy.io.fits takes the base class of its codecs from numcodecs where that is installed, and
  does as well without it. Whatever else imports numcodecs gets it.
"""

from __future__ import annotations

import os
import sys

_THREADS = "OPENBLAS_NUM_THREADS"
_OPENMP_THREADS = "OMP_NUM_THREADS"
_OPTIONAL = "numcodecs"
_CODECS = "astropy.io.fits.hdu.compressed._codecs"


class _WithoutOptional:
    """Finds no module; numcodecs is missing while astropy's codecs are being imported."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """Raise `ModuleNotFoundError` for numcodecs if astropy asks for it; else find nothing."""
        if name == _OPTIONAL and _is_being_imported(sys.modules.get(_CODECS)):
            raise ModuleNotFoundError(f"{name} is left out", name=name)


def _is_being_imported(module):
    return module is not None and not hasattr(module, "__all__")


def _import_numpy():
    given = _THREADS in os.environ
    os.environ.setdefault(_THREADS, "1")
    try:
        import numpy  # noqa: F401
    finally:
        if not given:
            del os.environ[_THREADS]


os.environ.setdefault(_OPENMP_THREADS, "1")
sys.meta_path.insert(0, _WithoutOptional)
_import_numpy()
