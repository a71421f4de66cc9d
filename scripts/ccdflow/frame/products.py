"""What the files of products hold: which image is in which HDU."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ProductImage:
    """An image of a product.

    Attributes
    ----------
    hdu : int
        Its HDU in the product.
    raw_hdu : int or None
        The raw HDU that it is made of; None if it is put together of several.
    amplifiers : tuple of ccdflow.camera.geometry.Amplifier
        Those it is made of.
    shape : (int, int)
        (ny, nx).
    """

    hdu: int
    raw_hdu: int | None
    amplifiers: tuple
    shape: tuple[int, int]

    @property
    def suffix(self):
        """What the names of its other extensions end with: '' in a file's first HDU."""
        return str(self.hdu) if self.hdu else ""


def product_images(geometry, recipe):
    """Return the images that frames of a geometry become, in the order of the product's HDUs.

    Frames of one image become one in the primary HDU. Of several raw HDUs that are not put
    together each stays what it was: an extension, or the primary.

    Parameters
    ----------
    geometry : ccdflow.camera.geometry.Geometry
    recipe : ccdflow.camera.cameras.Recipe

    Returns
    -------
    tuple of ProductImage
    """
    amplifiers = geometry.amplifiers
    hdus = {amplifier.hdu for amplifier in amplifiers}
    if geometry.layout == "image" and (recipe.trim or len(hdus) == 1):
        (_, raw_shape), *_ = geometry.raw_shapes
        only = next(iter(hdus)) if len(hdus) == 1 else None
        return (ProductImage(0, only, amplifiers, geometry.shape if recipe.trim else raw_shape),)
    shapes = geometry.extension_shapes if recipe.trim and geometry.extension_shapes else ()
    shapes = shapes or geometry.raw_shapes
    first = 0 if any(hdu == 0 for hdu, _ in shapes) else 1
    return tuple(
        ProductImage(number, hdu, tuple(a for a in amplifiers if a.hdu == hdu), shape)
        for number, (hdu, shape) in enumerate(shapes, start=first)
    )
