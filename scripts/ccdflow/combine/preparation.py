"""The preparation of members: masters subtracted, values divided by levels, bad values masked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ccdflow.combine.member_reader import Member
from ccdflow.errors import UserError
from ccdflow.files.fits_products.stored_images import StoredImage
from ccdflow.mask_bits import SATURATED


@dataclass(frozen=True)
class SubtractedTerm:
    """A master that is subtracted from every member before the combination.

    Attributes
    ----------
    pixels : numpy.ndarray of shape (ny, nx), float32 or float64, or Member
        In the unit of the members; pixels of a file are read on access.
    factors : float or sequence of float
        Factor on the master, one for all members or one for each.
    is_charge : bool
        Whether the master is charge, which adds noise to each member: a dark is, a bias is not.
    """

    pixels: np.ndarray | Member
    factors: float | tuple[float, ...] = 1.0
    is_charge: bool = False


def open_image(source):
    """Return an image; pixels of a file are read on access.

    Parameters
    ----------
    source : numpy.ndarray of shape (ny, nx), float32 or float64, or Member

    Returns
    -------
    numpy.ndarray of shape (ny, nx), float32 or float64, or StoredImage
        Access raises `FrameError` if the file cannot be read or is cut.
    """
    if not isinstance(source, Member):
        return np.asarray(source)
    return StoredImage(source.path, source.offset, source.dtype, source.shape)


@dataclass(frozen=True)
class MemberMasks:
    """The values of members that a combination leaves out.

    Attributes
    ----------
    planes : sequence of (Member, numpy.ndarray or None), or None
        Mask of each member: uint8 or int16, shape ``(ny, nx)``, 0 for a good pixel.
    bits : int
        Bits of the masks that exclude a value; default: all.
    ceilings : sequence of (float or None), or None
        Value of each member, before any subtraction, at which it saturates.
    flaws : numpy.ndarray of shape (ny, nx), int16, or None
        Mask bits of pixels that are bad in all members.
    """

    planes: Sequence[Member | np.ndarray | None] | None = None
    bits: int = -1
    ceilings: Sequence[float | None] | None = None
    flaws: np.ndarray | None = None


@dataclass(frozen=True)
class Preparation:
    """The preparation of each member's values; the results do not depend on the tiles.

    A value becomes (raw - masters) / scale in the type of the members. It is NaN if the mask of the
    member has one of the bits there, or if the raw value reaches the ceiling of the member.

    Attributes
    ----------
    n : int
        Number of members.
    dtype : numpy.dtype
        Native type of the members.
    terms : tuple of (numpy.ndarray of shape (ny * nx,), numpy.ndarray of shape (n,), bool)
        For each master: its pixels, the factors on it, and whether it is charge.
    scales : numpy.ndarray of shape (n,), float64, or None
        The level of each member.
    read_mask : callable or None
        ``read(index, start, out)`` fills `out`, int16, with the mask of a member.
    bits : int
        Bits of a mask that exclude a value.
    ceilings : tuple of (float or None) or None
        Raw value of each member at which it saturates.
    flaws : numpy.ndarray of shape (ny * nx,), int16, or None
        Mask bits of pixels that are bad in all members.
    """

    n: int
    dtype: np.dtype
    terms: tuple[tuple[np.ndarray, np.ndarray, bool], ...] = ()
    scales: np.ndarray | None = None
    read_mask: Callable[[int, int, np.ndarray], None] | None = None
    bits: int = 0
    ceilings: tuple[float | None, ...] | None = None
    flaws: np.ndarray | None = None

    @property
    def changes_values(self):
        """Whether a master is subtracted, or values are divided by levels."""
        return bool(self.terms) or self.scales is not None

    @property
    def has_masks(self):
        """Whether values may be masked, by masks, ceilings or flaws."""
        return not (self.read_mask is self.ceilings is self.flaws is None)

    @property
    def levels(self):
        """Level that each member is divided by, (n,) float64; 1 if it is not divided."""
        return np.ones(self.n) if self.scales is None else 1 / self._inverse.astype(np.float64)

    @property
    def _inverse(self):
        """The reciprocal levels in the type of the members, (n,)."""
        return (1 / self.scales).astype(self.dtype)

    def apply(self, values, positions):
        """Prepare raw `values` in place.

        Parameters
        ----------
        values : numpy.ndarray of shape (n, k), float32 or float64
        positions : slice or numpy.ndarray of shape (k,), int
            Indices of the pixels in the image.
        """
        for pixels, factors, _ in self.terms:
            part = np.asarray(pixels[positions], dtype=self.dtype)
            if (factors == factors[0]).all():
                part = part if factors[0] == 1 else part * self.dtype.type(factors[0])
                np.subtract(values[:, : part.size], part, out=values[:, : part.size])
                continue
            for line, factor in zip(values, factors, strict=True):
                line[: part.size] -= part * self.dtype.type(factor)
        if self.scales is not None:
            np.multiply(values, self._inverse[:, None], out=values)

    def read_bits(self, values, start, bits):
        """Fill `bits`, int16 of shape (n, k), with the masks of raw `values` from `start` on.

        Parameters
        ----------
        values : numpy.ndarray of shape (n, k), float32 or float64, any byte order
            Raw values of the members.
        start : int
            Pixel of the flattened image that they begin with.
        bits : numpy.ndarray of shape (n, k), int16
            Overwritten.
        """
        bits[...] = 0 if self.flaws is None else self.flaws[start : start + bits.shape[1]]
        for index, line in enumerate(bits):
            if self.read_mask is not None:
                self.read_mask(index, start, line)
                if self.flaws is not None:
                    line |= self.flaws[start : start + len(line)]
            ceiling = None if self.ceilings is None else self.ceilings[index]
            if ceiling is not None and not values[index].max() < ceiling:
                line[values[index] >= ceiling] |= SATURATED

    def charge(self, positions):
        """Return the charge that is subtracted: pixels, (k,), and the factor of each member, (n,).

        None without a dark. More than one dark was refused by `prepare_members`.
        """
        for pixels, factors, is_charge in self.terms:
            if is_charge:
                return np.asarray(pixels[positions], dtype=np.float64), factors
        return None


def prepare_members(n, shape, dtype, *, subtracted_terms=(), scale=None, masks=None):
    """Return the preparation of `n` members.

    Parameters
    ----------
    n : int
    shape : tuple of int
        ``(ny, nx)`` of the members.
    dtype : numpy.dtype
        Native type of the members.
    subtracted_terms : sequence of SubtractedTerm, optional
    scale : sequence of float, optional
        Level of each member, by which it is divided.
    masks : MemberMasks, optional

    Returns
    -------
    Preparation

    Raises
    ------
    UserError
        If there is more than one dark, a master has another shape, a mask does not fit its frame, a
        number is missing or not finite, or a level is not above 0.
    """
    masks = masks or MemberMasks()
    planes, ceilings = masks.planes, masks.ceilings
    return Preparation(
        n=n,
        dtype=np.dtype(dtype),
        terms=tuple(_checked_term(term, n, shape) for term in _checked_terms(subtracted_terms)),
        scales=None if scale is None else _checked_levels(scale, n),
        read_mask=None if planes is None else _mask_reader(planes, n, shape),
        bits=masks.bits,
        ceilings=None if ceilings is None else tuple(_one_for_each(ceilings, n, "ceilings")),
        flaws=None if masks.flaws is None else masks.flaws.reshape(-1),
    )


def _checked_terms(subtracted_terms):
    """Return the terms as a tuple; raise if more than one is a dark."""
    subtracted_terms = tuple(subtracted_terms)
    n_darks = sum(term.is_charge for term in subtracted_terms)
    if n_darks > 1:
        raise UserError(
            "there is more than one dark to subtract",
            keyword="subtracted_terms",
            value=n_darks,
            allowed="one dark",
            remedy="give the dark that fits the exposure best",
        )
    return subtracted_terms


def _one_for_each(values, n, keyword):
    """Return values as a list; raise unless there is one for each frame."""
    values = list(values)
    if len(values) != n:
        raise UserError(
            f"{len(values)} values for {n} frames",
            keyword=keyword,
            value=len(values),
            allowed=f"{n}",
            remedy="give one for each frame",
        )
    return values


def _checked_term(term, n, shape):
    """Return a term in the form of `Preparation.terms`; raise if it does not fit the frames."""
    pixels = open_image(term.pixels)
    if pixels.shape != tuple(shape):
        file = term.pixels.path if isinstance(term.pixels, Member) else None
        raise UserError(
            "a master has another shape than the frames",
            file=file,
            keyword="shape",
            value=pixels.shape,
            allowed=str(tuple(shape)),
            remedy="give the master of this camera, window and binning",
        )
    factors = term.factors
    factors = [factors] * n if np.ndim(factors) == 0 else _one_for_each(factors, n, "factors")
    factors = np.array(factors, dtype=np.float64)
    if not np.isfinite(factors).all():
        raise UserError(
            "the factor of a master is not a number",
            keyword="factors",
            value=factors,
            allowed="finite numbers",
            remedy="give a number for each frame: its exposure over that of the master",
        )
    return pixels.ravel(), factors, term.is_charge


def _checked_levels(scale, n):
    """Return the levels that frames are divided by; raise unless all are above 0."""
    scales = np.array(_one_for_each(scale, n, "scale"), dtype=np.float64)
    if not ((scales > 0) & np.isfinite(scales)).all():
        worst_index = int(np.argmin((scales > 0) & np.isfinite(scales)))
        raise UserError(
            f"frame {worst_index + 1} cannot be divided by its level",
            keyword="scale",
            value=float(scales[worst_index]),
            allowed="a number above 0",
            remedy="leave the frame out, or give its level after bias and dark",
        )
    return scales


def _mask_reader(masks, n, shape):
    """Return the function that reads the masks of members; raise if a mask does not fit."""
    arrays = []
    for source in _one_for_each(masks, n, "mask"):
        array = None if source is None else open_image(source)
        if array is not None and (array.shape != tuple(shape) or array.dtype.kind not in "iu"):
            raise UserError(
                "a mask does not fit its frame",
                file=source.path if isinstance(source, Member) else None,
                keyword="mask",
                value=(array.shape, str(array.dtype)),
                allowed=f"whole numbers of shape {tuple(shape)}",
                remedy="give the mask of this frame",
            )
        arrays.append(None if array is None else array.ravel())

    def read(index, start, out):
        """Fill `out` with the mask of a member from pixel `start` on."""
        if arrays[index] is not None:
            out[...] = arrays[index][start : start + len(out)]

    return read
