"""The paths of a raw frame's products: its reduced and its calibrated frame."""

from __future__ import annotations

from functools import cache

from ccdflow import paths

# Cached, because a plan calls it several times for each of a hundred thousand frames.
reduced_product = cache(paths.reduced_frame)


@cache
def calibrated_product(file):
    """Return the path of a raw frame's calibrated frame, relative to the results folder.

    Examples
    --------
    >>> calibrated_product("darks/ccd.013.0.fits.gz")
    'calibrated/darks/ccd.013.0.fits'
    """
    return paths.calibrated_of_reduced(reduced_product(file))


def forget_names():
    """Empty the caches of this module, which grow while a watch runs for many nights."""
    reduced_product.cache_clear()
    calibrated_product.cache_clear()
