"""Rows or columns of an amplifier whose overscan is saturated: their pixels have no value."""

from __future__ import annotations

import numpy as np

from ccdflow.camera.sections import Region


def regions_without_level(overscan, amplifier, recipe, top):
    """Return the regions of a product whose level is that of a saturated overscan.

    There are none with a model along the overscan, which leaves saturated levels out, nor with one
    level for the whole frame.

    Parameters
    ----------
    overscan : ccdflow.frame.overscan.Overscan
    amplifier : ccdflow.camera.geometry.Amplifier
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
    top : float
        Value of a saturated pixel, adu; infinite where it is unknown.

    Returns
    -------
    tuple of ccdflow.camera.sections.Region
        In the product's image, in order: as wide (or high) as the amplifier's data.

    Examples
    --------
    Of five rows the second and third are saturated; the amplifier is reversed along y:

    >>> from ccdflow.camera.geometry import Amplifier
    >>> from ccdflow.camera.reduction_recipe import ReductionRecipe
    >>> from ccdflow.frame.overscan import Overscan
    >>> data, levels = Region(0, 5, 0, 3), np.array([10.0, 99.0, 99.0, 10.0, 10.0])
    >>> amplifier = Amplifier(
    ...     "A", 0, data, (Region(0, 5, 3, 5),), along="rows", place=data, is_flipped_y=True
    ... )
    >>> level = Overscan(levels, 45.6, 1.0, levels)
    >>> regions_without_level(level, amplifier, ReductionRecipe(), 99)[0].to_fits()
    '[1:3,3:4]'
    """
    if recipe.model is not None or amplifier.along == "frame":
        return ()
    is_full = overscan.own_levels >= top
    if not is_full.any():
        return ()
    steps = np.diff(np.concatenate([[0], is_full.astype(np.int8), [0]]))
    runs = zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True)
    return tuple(sorted(regions_of_lines(runs, amplifier, recipe), key=lambda r: (r.y0, r.x0)))


def regions_of_lines(runs, amplifier, recipe):
    """Return runs of an amplifier's raw lines as regions of the product's image.

    Parameters
    ----------
    runs : iterable of (int, int)
        First line, and the line after the last: rows of the amplifier's data, or columns if its
        levels are along columns.
    amplifier : ccdflow.camera.geometry.Amplifier
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe

    Returns
    -------
    list of ccdflow.camera.sections.Region
        As wide (or high) as the amplifier's data.
    """
    is_of_columns = amplifier.along == "columns"
    count = amplifier.data.shape[1 if is_of_columns else 0]
    if recipe.trim and (amplifier.is_flipped_x if is_of_columns else amplifier.is_flipped_y):
        runs = [(count - high, count - low) for low, high in runs]
    place = recipe.region_of(amplifier)
    if is_of_columns:
        lines = [(place.y0, place.y1, place.x0 + low, place.x0 + high) for low, high in runs]
    else:
        lines = [(place.y0 + low, place.y0 + high, place.x0, place.x1) for low, high in runs]
    return [Region(*map(int, ends)) for ends in lines]
