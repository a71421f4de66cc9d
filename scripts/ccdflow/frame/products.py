"""The images of reduced frames, and their HDUs."""

from __future__ import annotations

from dataclasses import dataclass

from ccdflow.camera.geometry import Amplifier


@dataclass(frozen=True)
class ProductImage:
    """An image of a product.

    Attributes
    ----------
    hdu : int
        Index of its HDU in the product.
    raw_hdu : int or None
        Index of its raw HDU; None for an image that is assembled from several HDUs.
    amplifiers : tuple of ccdflow.camera.geometry.Amplifier
        The amplifiers in it.
    shape : (int, int)
        (ny, nx).
    """

    hdu: int
    raw_hdu: int | None
    amplifiers: tuple[Amplifier, ...]
    shape: tuple[int, int]

    @property
    def suffix(self):
        """The end of the names of its other extensions: '' for a file's first HDU."""
        return str(self.hdu) if self.hdu else ""


def product_images(geometry, recipe):
    """Return the images of the products of a geometry, in the order of the product's HDUs.

    A single image is in the primary HDU. Each of several raw HDUs that are not assembled keeps its
    place, in the primary or in an extension.

    Parameters
    ----------
    geometry : ccdflow.camera.geometry.Geometry
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe

    Returns
    -------
    tuple of ProductImage
    """
    amplifiers = geometry.amplifiers
    hdus = {amplifier.hdu for amplifier in amplifiers}
    if geometry.layout == "image" and (recipe.trim or len(hdus) == 1):
        (_, raw_shape), *_ = geometry.raw_shapes
        only_hdu = next(iter(hdus)) if len(hdus) == 1 else None
        return (
            ProductImage(0, only_hdu, amplifiers, geometry.shape if recipe.trim else raw_shape),
        )
    shapes = geometry.extension_shapes if recipe.trim and geometry.extension_shapes else ()
    shapes = shapes or geometry.raw_shapes
    first = 0 if any(hdu == 0 for hdu, _ in shapes) else 1
    return tuple(
        ProductImage(number, hdu, tuple(a for a in amplifiers if a.hdu == hdu), shape)
        for number, (hdu, shape) in enumerate(shapes, start=first)
    )
