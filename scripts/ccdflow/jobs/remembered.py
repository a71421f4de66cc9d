"""Geometries and recipes as the store remembers them, turned back into what jobs work with."""

from __future__ import annotations

from functools import lru_cache

from ccdflow.camera.cameras import Recipe
from ccdflow.camera.geometry import Amplifier, Geometry
from ccdflow.camera.sections import Region


def geometry_of(context, name):
    """Return the `Geometry` that a run's store remembers under a name.

    Parameters
    ----------
    context : ccdflow.run.plan.Context
    name : str
        The hash of its canonical form, as in ``Row.geometry``.

    Returns
    -------
    ccdflow.camera.geometry.Geometry
    """
    return _geometry(name, _Canonical(context.store.shared[name]))


def recipe_of(context, name):
    """Return the `Recipe` that a run's store remembers under a name, as in ``Row.recipe``."""
    return Recipe(**context.store.shared[name])


class _Canonical(dict):
    """A canonical form that takes no part in the cache's comparison: its name says it all."""

    def __hash__(self):
        return 0

    def __eq__(self, other):
        return True


@lru_cache(maxsize=4096)
def _geometry(_name, canonical):
    return Geometry(
        camera=canonical["camera"],
        shape=tuple(canonical["shape"]),
        amplifiers=tuple(_amplifier(**entry) for entry in canonical["amplifiers"]),
        layout=canonical["layout"],
        source=canonical["source"],
        raw_shapes=tuple((hdu, tuple(shape)) for hdu, shape in canonical["raw_shapes"]),
        extension_shapes=tuple((h, tuple(s)) for h, s in canonical["extension_shapes"]),
    )


def _amplifier(*, data, overscan, place, flip, **same):
    return Amplifier(
        data=Region.from_fits(data),
        overscan=tuple(Region.from_fits(strip) for strip in overscan),
        place=Region.from_fits(place),
        flip_x=flip[0],
        flip_y=flip[1],
        **same,
    )
