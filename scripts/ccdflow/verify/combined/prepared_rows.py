"""Some rows of the members of a combined frame, prepared for the combination, and remade rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import ccdproc
import numpy as np
from astropy import units
from astropy.nddata import CCDData

from ccdflow.verify.comparing.amplifiers import (
    least_values,
    places_without_level,
    raw_top,
    tails_of,
)
from ccdflow.verify.comparing.extensions import extension_name
from ccdflow.verify.reading.accounts import product_of
from ccdflow.verify.reading.amplifier_places import place_of
from ccdflow.verify.reading.restated_numbers import DEAD, NO_DATA, SATURATED
from ccdflow.verify.reading.stored_rows import master_file, open_product, rows_of


@dataclass(frozen=True)
class RemadeRows:
    """Some rows of a combined image, made again.

    Attributes
    ----------
    image : numpy.ndarray of shape (ny, nx), float64
    alternative : numpy.ndarray of shape (ny, nx), float64
        The image that keeps values near the limit of rejection, where `image` rejects them.
    scale : float
        Size of the largest value in a sum: float32 is rounded at this scale.
    maker : str
        'ccdproc', or 'numpy: a noise model that ccdproc lacks'.
    rejected_counts : (numpy.ndarray, numpy.ndarray) of shape (ny, nx), int64
        Number of values of each pixel that are rejected in `image` and in `alternative`.
    invalid_counts : numpy.ndarray of shape (ny, nx), int
        Number of values that are masked or not finite.
    variances : (numpy.ndarray, numpy.ndarray) of shape (ny, nx), float64, or None
        Variances of the mean of the kept values by the noise model. The second has the other light
        where a decision on the light of a pixel is close.
    stack : numpy.ndarray of shape (n, ny, nx), float64, or None
        The values of all members.
    is_kept_pair : (numpy.ndarray, numpy.ndarray) of shape (n, ny, nx), bool, or None
        Whether each value was kept in `image` and in `alternative`; None where nobody asked.
    mask : numpy.ndarray of shape (ny, nx), int16, or None
        The bits that all members share.
    """

    image: np.ndarray
    alternative: np.ndarray
    scale: float
    maker: str
    rejected_counts: tuple[np.ndarray, np.ndarray]
    invalid_counts: np.ndarray
    variances: tuple[np.ndarray, np.ndarray] | None = None
    stack: np.ndarray | None = None
    is_kept_pair: tuple[np.ndarray, np.ndarray] | None = None
    mask: np.ndarray | None = None


class PreparedRows(NamedTuple):
    """Some rows of all members of a combined frame, minus their masters, over their levels.

    Attributes
    ----------
    stack, bits : numpy.ndarray of shape (n, ny, nx), float64 and int16
        Values, and their mask; a value with any bit is left out.
    dark : numpy.ndarray of shape (ny, nx), float32 or float64, or None
        The dark that was subtracted.
    scale : float
        Size of the largest value in a sum.
    """

    stack: np.ndarray
    bits: np.ndarray
    dark: np.ndarray | None
    scale: float

    @property
    def is_masked(self):
        """Whether each value is masked, (n, ny, nx) bool."""
        return self.bits != 0

    def levels(self, account):
        """Return the level of each member, (n, 1, 1); 1 where the members were not divided."""
        return np.array(account.levels or [1.0] * len(self.stack))[:, None, None]

    def charge(self, account):
        """Return the charge subtracted from each member, (n, ny, nx); 0.0 without a dark."""
        if self.dark is None:
            return 0.0
        factors = np.array(account.masters["dark"].factors)[:, None, None]
        return factors * np.nan_to_num(self.dark.astype(np.float64))


def bands(ny, n_bands, n_rows):
    """Return slices of rows that are spread over an image; one of all rows if it has no more.

    Parameters
    ----------
    ny : int
        Rows of the image.
    n_bands : int
        Number of bands.
    n_rows : int
        Rows of a band.

    Returns
    -------
    list of slice
    """
    if n_bands * n_rows >= ny:
        return [slice(0, ny)]
    starts = np.linspace(0, ny - n_rows, n_bands).round().astype(int)
    return [slice(int(start), int(start) + n_rows) for start in starts]


def _largest_number(pixels):
    """Return the largest absolute value of the finite pixels; 0 without any."""
    # An infinite pixel would allow any rounding.
    return float(np.max(np.abs(pixels), where=np.isfinite(pixels), initial=0.0))


def prepare_rows(account, results, hdu, rows):
    """Return some rows of all members, minus their masters, over their levels.

    Parameters
    ----------
    account : ccdflow.verify.reading.accounts.CombinedAccount
        Members and masters that the product names.
    results : pathlib.Path
        The results folder.
    hdu : int
        Index of the image's HDU.
    rows : slice or numpy.ndarray of shape (k,), int
        Rows of the image.

    Returns
    -------
    PreparedRows

    Raises
    ------
    ccdflow.verify.reading.verdict.CannotRemake
        If a member, or a master of one, is missing.
    """
    paths = [results / product_of(member) for member in account.members]
    values = [rows_of(path, hdu, rows, "member") for path in paths]
    bits = _masks_of_members(paths, hdu, rows, values, account)
    scale = max(_largest_number(value) for value in values)
    dark = None
    for kind, master in account.masters.items():
        path = master_file(master, kind, results)
        pixels = CCDData(rows_of(path, hdu, rows, kind, master.cut), unit=units.adu)
        dark = pixels.data if kind == "dark" else dark
        scale = max(scale, _largest_number(pixels.data))
        values = [
            _subtract_master(value, kind, pixels, master.factors[n] if master.factors else 1.0)
            for n, value in enumerate(values)
        ]
    if account.levels:
        values = [
            pixels_of_member.astype(np.float64) / level
            for pixels_of_member, level in zip(values, account.levels, strict=True)
        ]
        scale /= min(account.levels)
    return PreparedRows(np.array(values, dtype=np.float64), bits, dark, scale)


def _subtract_master(values, kind, master, factor):
    """Return a member minus a master, by ccdproc.

    Parameters
    ----------
    values : numpy.ndarray of shape (rows, nx), float64
    kind : {'bias', 'dark'}
    master : astropy.nddata.CCDData
    factor : float
        Factor of a dark.
    """
    member = CCDData(values, unit=units.adu)
    if kind == "bias":
        return ccdproc.subtract_bias(member, master, add_keyword=None).data
    difference = ccdproc.subtract_dark(
        member,
        master,
        dark_exposure=1 * units.s,
        data_exposure=factor * units.s,
        scale=True,
        add_keyword=None,
    )
    return difference.data


def _masks_of_members(paths, hdu, rows, values, account):
    """Return the masks of the members: (n, ny, nx) int16. Those of biases are empty.

    Parameters
    ----------
    paths : list of pathlib.Path
        Paths of the members.
    hdu : int
    rows : slice or numpy.ndarray of shape (k,), int
    values : list of numpy.ndarray of shape (ny, nx), float32 or float64
        Pixels of those rows of each member.
    account : ccdflow.verify.reading.accounts.CombinedAccount
    """
    bits = np.zeros((len(paths), *values[0].shape), np.int16)
    if not account.masters and not account.levels:
        return bits
    for number, path in enumerate(paths):
        name = extension_name("MASK", hdu)
        if name in open_product(path).images:
            bits[number] = rows_of(path, name, rows, "member")
        header = open_product(path).images[hdu].header
        if (ceiling := _lowest_saturation(header)) is not None:
            bits[number][values[number] >= ceiling] |= SATURATED
        _add_parts_at_end(bits[number], values[number], header, rows)
        for tail in filter(lambda tail: f"AMPBAD{tail}" in header, tails_of(header)):
            y, x = place_of(header, tail)
            is_inside = np.isin(np.arange(header["NAXIS2"])[rows], np.r_[y])
            bits[number][is_inside, x] |= DEAD if header[f"AMPBAD{tail}"] == "dead" else SATURATED
        places = [
            place for tail in tails_of(header) for place in places_without_level(header, tail)
        ]
        for y, x in places:
            is_inside = np.isin(np.arange(header["NAXIS2"])[rows], np.r_[y])
            bits[number][is_inside, x] |= NO_DATA
    return bits


def _lowest_saturation(header):
    """Return the lowest saturated value of a reduced member; None if an amplifier names none.

    An amplifier without signal does not count; None if all are so.
    """
    tails = [tail for tail in tails_of(header) if f"AMPBAD{tail}" not in header]
    ceilings = []
    for tail in tails:
        top = header.get(f"AMPSAT{tail}")
        if top is not None:
            ceilings.append(top - header.get(f"BIASLV{tail}" if tail else "BIASLVL", 0.0))
        elif raw_top(header, tail) is None:
            return None
        ceilings.append(least_values(header, tail)[0])
    return min(ceilings, default=None)


def _add_parts_at_end(bits, values, header, rows):
    """Flag the pixels at the end of the converter in lines with an unusual level, in place.

    Parameters
    ----------
    bits : numpy.ndarray of shape (k, nx), int16
        Mask of some rows of a member; changed in place.
    values : numpy.ndarray of shape (k, nx), float32 or float64
        Pixels of these rows.
    header : astropy.io.fits.Header
        Header of the member's image.
    rows : slice or numpy.ndarray of shape (k,), int
    """
    for tail in tails_of(header):
        for (y, x), value in least_values(header, tail)[1]:
            is_inside = np.isin(np.arange(header["NAXIS2"])[rows], np.r_[y])
            is_at_end = values[is_inside, x] >= np.float32(value)
            bits[is_inside, x] |= np.where(is_at_end, SATURATED, 0).astype(bits.dtype)
