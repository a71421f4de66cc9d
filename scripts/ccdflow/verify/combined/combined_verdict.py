"""The verdict on a combined bias, dark or flat: pixels, standard errors, mask, cards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from astropy.io import fits

from ccdflow.verify.combined import (
    kept_values,
    measuring,
    prepared_rows,
    remade_combination,
    tolerances,
)
from ccdflow.verify.combined.combined_figures import check_figures
from ccdflow.verify.comparing.amplifiers import (
    card,
    header_with_recipe,
    number_of_card,
    tails_of,
)
from ccdflow.verify.comparing.card_order import COMBINED_ORDER, check_order
from ccdflow.verify.comparing.card_pairs import check_required, must_have
from ccdflow.verify.comparing.comparing import (
    Differs,
    are_within,
    check_figure,
    check_text,
    check_value,
    difference_within,
)
from ccdflow.verify.comparing.extensions import check_extensions, check_names, extension_name
from ccdflow.verify.comparing.sentences import check_combined
from ccdflow.verify.comparing.source_cards import COMBINED_ORIGINS, check_cards, check_shared_cards
from ccdflow.verify.reading.accounts import (
    CombinedAccount,
    account_of_combined,
    date_of_combined,
    gains_of,
    product_of,
)
from ccdflow.verify.reading.amplifier_places import place_of
from ccdflow.verify.reading.restated_numbers import BLEED, HOT, NOT_LINEAR, UNLIT
from ccdflow.verify.reading.stored_rows import open_product
from ccdflow.verify.reading.verdict import MISSING, OLDER, CannotRemake

# At most this many bands of rows of an image are made again: a sample, for speed.
_MOST_BANDS = 16
# Rows of a band.
_BAND_ROWS = 8
# At most this many values of members are read for the bands, unless `_FEWEST_BANDS` need more: more
# members get fewer bands.
_MOST_VALUES = 4_000_000
# At least this many bands are made again.
_FEWEST_BANDS = 4
_NO_CLIPPING = "none"
ERROR_TOLERANCE = 2e-5
"""Relative tolerance of standard errors: the cards of the noise model have six digits."""


def verify_combined(headers, path, results, compares_all_rows):
    """Return the verdict on a combined frame, which is made again and compared.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    path, results : pathlib.Path
    compares_all_rows : bool
        Whether all rows are made again.

    Returns
    -------
    dict of str to object
        Fields of a `ccdflow.verify.reading.verdict.Verdict`.

    Raises
    ------
    Differs
        If pixels, standard errors, mask or header differ.
    CannotRemake
        If ccdproc cannot make a combination of this sort, or a file is missing.
    """
    account = account_of_combined(headers)
    if account.method not in ("average", "median"):
        raise Differs(f"COMBMETH is {account.method!r}, which is no way to combine")
    gain_ratios = _gain_ratios(headers, account) if account.levels else {}
    _check_members(headers, account, results)
    _check_master_nights(headers[0], path, account)
    n_pixels, largest_difference, makers, extents = 0, 0.0, set(), set()
    with fits.open(path, memmap=True) as hdus:
        _check_hdus(headers, account)
        for hdu in account.hdus:
            product = CombinedProduct(hdus, headers, account, results)
            bands = _bands_of(headers, account, hdu, compares_all_rows)
            # The bands of a low image cover it.
            has_all_rows = bands == [slice(0, headers[hdu]["NAXIS2"])]
            remade = RemadeImage(
                product,
                hdu,
                gain_ratios=gain_ratios.get(hdu, ()),
                compares_all_rows=has_all_rows,
            )
            for rows in bands:
                remade.compare(rows)
            remade.check_counts()
            check_figures(remade)
            n_pixels += remade.n_pixels
            largest_difference = max(largest_difference, remade.largest_difference)
            makers |= remade.makers
            extents.add("all rows" if has_all_rows else f"{len(bands)} bands of {_BAND_ROWS} rows")
    programs_in_words = " and ".join(sorted(makers))
    compared = f"float32 rounding with {programs_in_words}, {' and '.join(sorted(extents))}"
    return {"compared": compared, "pixels": n_pixels, "largest": largest_difference}


def _bands_of(headers, account, hdu, compares_all_rows):
    """Return slices of the rows that are made again: one of all rows, or some bands.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        Headers of all HDUs.
    account : ccdflow.verify.reading.accounts.CombinedAccount
    hdu : int
    compares_all_rows : bool
        Whether all rows are made again.
    """
    ny = headers[hdu]["NAXIS2"]
    if compares_all_rows:
        return [slice(0, ny)]
    values_of_band = len(account.members) * _BAND_ROWS * headers[hdu]["NAXIS1"]
    n_bands = min(max(_MOST_VALUES // values_of_band, _FEWEST_BANDS), _MOST_BANDS)
    return prepared_rows.bands(ny, n_bands, _BAND_ROWS)


@dataclass(frozen=True)
class CombinedProduct:
    """A combined frame that is made again.

    Attributes
    ----------
    hdus : astropy.io.fits.HDUList
        The open file.
    headers : list of astropy.io.fits.Header
        Headers of all HDUs.
    account : ccdflow.verify.reading.accounts.CombinedAccount
    results : pathlib.Path
        The results folder.
    """

    hdus: fits.HDUList
    headers: list[fits.Header]
    account: CombinedAccount
    results: Path


class RemadeImage:
    """An image of a combined frame while it is made again, some rows at a time.

    Parameters
    ----------
    product : CombinedProduct
    hdu : int
        Index of the image's HDU.
    gain_ratios : sequence of ((slice, slice), float)
        Place, and gain over the mean gain, of each amplifier of a flat whose gains are known.
    compares_all_rows : bool
        Whether all rows are made again.

    Attributes
    ----------
    hdus : astropy.io.fits.HDUList
        The HDUs of the product.
    results : pathlib.Path
        The results folder.
    account : ccdflow.verify.reading.accounts.CombinedAccount
        Account of the product, with the clipping of this image.
    header, first_header : astropy.io.fits.Header
        Header of the image with the recipe of the overscan, and header of the first HDU.
    has_all_rows : bool
        Whether all rows are made again.
    shape : (int, int)
        (ny, nx) of the image.
    n_pixels : int
        Number of pixels compared so far.
    largest_difference : float
        Largest difference so far, in the unit of the product.
    makers : set of str
        The functions of ccdproc by which rows were made again.
    rejected_counts_of_limits : list of int
        Number of values that the lower and the higher limit rejected so far.
    n_invalid : int
        Number of values that are masked or not finite, so far.
    """

    def __init__(self, product, hdu, *, gain_ratios, compares_all_rows):
        headers = product.headers
        self.hdus, self.hdu, self.results = product.hdus, hdu, product.results
        self.account = _account_with_clipping(headers[hdu], headers[0], product.account)
        self.header, self.first_header = header_with_recipe(headers[hdu], headers[0]), headers[0]
        self.gain_ratios = gain_ratios
        self.has_all_rows = compares_all_rows
        self.shape = self.header["NAXIS2"], self.header["NAXIS1"]
        self.n_pixels, self.largest_difference, self.makers = 0, 0.0, set()
        self.rejected_counts_of_limits = [0, 0]
        self.n_invalid = 0
        self._is_compared = np.zeros(self.shape[0], bool)
        self._light = None
        self._counts_rejections = compares_all_rows or any(
            self.extension(name) is not None for name in ("COUNT", "UNCERT")
        )

    def extension(self, name):
        """Return an extension of this image; None if it is missing."""
        names = [each.name for each in self.hdus]
        full_name = extension_name(name, self.hdu)
        return self.hdus[full_name] if full_name in names else None

    def sample(self, count):
        """Return sampled rows (k,) and their values of all members (n, k, nx), NaN where masked."""
        rows = measuring.rows_measured_on(*self.shape, len(self.account.members), count)
        stack, bits, *_ = prepared_rows.prepare_rows(self.account, self.results, self.hdu, rows)
        stack[bits != 0] = np.nan
        return rows, stack

    def light(self, rows):
        """Return the light around the pixels of some rows: interpolated medians of boxes."""
        if self._light is None:
            sampled_rows, stack = self.sample(measuring.MODEL_ROWS)
            # The maker takes medians of float32: of an even number of values they are rounded.
            stack = stack.astype(np.float32)
            light = np.zeros(self.shape)
            for tail in tails_of(self.header):
                y, x = place_of(self.header, tail)
                indices = np.flatnonzero((sampled_rows >= y.start) & (sampled_rows < y.stop))
                light[y, x] = measuring.smooth_light(
                    sampled_rows[indices] - y.start, stack[:, indices, x], y.stop - y.start
                )
            self._light = light
        return self._light[rows]

    def compare(self, rows):
        """Compare pixels, mask and standard errors of some rows; each row counts once.

        Raises
        ------
        Differs
            If pixels, mask or standard errors differ.
        CannotRemake
            If a source is missing.
        """
        image = np.asarray(self.hdus[self.hdu].data[rows], dtype=np.float64)
        account = self.account
        remade = remade_combination.combine_rows(
            account,
            self.results,
            hdu=self.hdu,
            rows=rows,
            surroundings=self.light,
            counts_rejections=self._counts_rejections,
        )
        factors = kept_values.factors_in_rows(self.gain_ratios, rows, image.shape)
        for remade_pixels in (remade.image, remade.alternative):
            remade_pixels *= factors
        self.makers.add(remade.maker)
        # A dark is a small difference of large numbers, and has their rounding.
        scale = remade.scale if account.has_light else 1.0
        alternative = np.where(np.isnan(remade.image), np.nan, remade.alternative)
        is_nearer = np.abs(image - alternative) < np.abs(image - remade.image)
        nearest = np.where(is_nearer, alternative, remade.image)
        steps = tolerances.MOST_FLOAT_STEPS + (2 if account.levels else 0)
        limit = steps * np.finfo(np.float32).eps * np.fmax(np.abs(nearest), scale)
        kept_values.match_doubtful_pixels(
            image,
            nearest,
            remade=remade,
            method=account.method,
            factors=factors,
            limit=limit,
        )
        self.largest_difference = max(
            self.largest_difference, difference_within(image, nearest, np.float32, steps, scale)
        )
        self._compare_mask(rows, remade)
        self._compare_errors(rows, remade)
        self._compare_scatter(rows, remade)
        is_new = ~self._is_compared[rows]
        self.n_pixels += int(np.count_nonzero(is_new)) * image.shape[1]
        self._is_compared[rows] = True
        for place, count in enumerate(remade.rejected_counts):
            self.rejected_counts_of_limits[place] += int(count[is_new].sum())
        self.n_invalid += int(remade.invalid_counts[is_new].sum())

    def _compare_mask(self, rows, remade):
        """Compare the bits of a dark or flat that its members give."""
        extension = self.extension("MASK")
        if extension is not None:
            bits_of_pixels = HOT | BLEED | NOT_LINEAR | UNLIT
            stored_bits = np.asarray(extension.data[rows]) & ~np.int16(bits_of_pixels)
            if count := int(np.count_nonzero(stored_bits != remade.mask)):
                raise Differs(f"{count} pixels of the mask differ from the members' masks")

    def _compare_errors(self, rows, remade):
        """Compare UNCERT of a dark or flat with the noise model."""
        extension = self.extension("UNCERT")
        is_scatter = not self.account.has_light
        if is_scatter or remade.variances is None or extension is None:
            return
        error = np.asarray(extension.data[rows], dtype=np.float64)
        bounds = np.sqrt(remade.variances)
        for place, factor in self.gain_ratios:
            part_of_amplifier = kept_values.part_in_rows(place, rows)
            bounds[:, part_of_amplifier[0], part_of_amplifier[1]] *= factor
        with np.errstate(invalid="ignore"):
            agrees = (np.abs(error / bounds - 1) <= ERROR_TOLERANCE).any(axis=0)
        is_wrong = ~agrees & np.isfinite(bounds[1]) & (remade.image == remade.alternative)
        # A pixel without a value has no error.
        is_wrong |= np.isnan(remade.image) & ~np.isnan(error)
        if is_wrong.any():
            raise Differs(f"{int(is_wrong.sum())} standard errors differ from the noise model's")

    def _compare_scatter(self, rows, remade):
        """Compare COUNT, and UNCERT of a bias, with the number and scatter of the kept values."""
        counts = [is_kept.sum(axis=0) for is_kept in remade.is_kept_pair or ()]
        is_certain = np.all(counts == counts[0], axis=0) if counts else None
        if counts and (extension := self.extension("COUNT")) is not None:
            is_wrong = is_certain & (np.asarray(extension.data[rows]) != counts[0])
            if is_wrong.any():
                raise Differs(f"{int(is_wrong.sum())} pixels of COUNT are not those that were kept")
        extension = None if self.account.has_light else self.extension("UNCERT")
        if counts and extension is not None:
            error = np.asarray(extension.data[rows], dtype=np.float64)
            remade_error = kept_values.standard_errors(
                remade.stack, remade.is_kept_pair[0], self.account.method
            )
            # The error of equal members is 0, or that of the last bits.
            is_wrong = ~are_within(error, remade_error, ERROR_TOLERANCE * remade_error + 1e-6)
            if (is_wrong & is_certain).any():
                raise Differs(
                    f"{int((is_wrong & is_certain).sum())} standard errors are not the scatter's"
                )

    def check_counts(self):
        """Compare NREJECT and NINVALID with the values that were left out of the remade rows.

        Raises
        ------
        Differs
            If the rows do not allow the number of a card.
        """
        for keyword, fewest, most_values in (
            ("NREJECT", *sorted(self.rejected_counts_of_limits)),
            ("NINVALID", self.n_invalid, self.n_invalid),
        ):
            card_value = number_of_card(self.header.get(keyword))
            if (
                card_value is None
                or card_value < fewest
                or (self.has_all_rows and card_value > most_values)
            ):
                span = f"{fewest}" if fewest == most_values else f"{fewest} to {most_values}"
                raise Differs(f"{keyword} is {span} in these rows, and its card has {card_value}")


def _account_with_clipping(header, first_header, account):
    """Return an account with the CLIPDEV of an image: the first HDU of a dark may have none."""
    if "CLIPDEV" in first_header:
        must_have(header, "CLIPDEV")
        check_text(header, "CLIPDEV", first_header["CLIPDEV"])
    if "CLIPDEV" not in header:
        raise CannotRemake("the header lacks CLIPDEV: it is of an older version", OLDER)
    if (header["CLIPDEV"] == _NO_CLIPPING) != (account.clip is None):
        raise Differs(f"CLIPDEV is {header['CLIPDEV']}, and CLIPSIG is {account.clip}")
    return replace(account, deviation=str(header.get("CLIPDEV", account.deviation)))


def _check_hdus(headers, account):
    """Raise unless darks and flats have their extensions, and errors the unit of the image."""
    needed_kinds = ("UNCERT", "MASK") if account.has_light else ()
    kinds = ("UNCERT", "MASK", "COUNT")
    check_extensions(
        headers, account.hdus, kinds, needed_kinds=needed_kinds, pixel_types=(-32, -64)
    )
    headers_by_name = {header.get("EXTNAME"): header for header in headers}
    for hdu in account.hdus:
        if (name := extension_name("UNCERT", hdu)) in headers_by_name:
            check_text(headers_by_name[name], "BUNIT", headers[hdu].get("BUNIT"))


# -- cards of the members --------------------------------------------------------------------------


def _check_members(headers, account, results):
    """Compare dates, exposure, levels and shared cards of a product with those of its members."""
    member_paths = _paths_of_members(account, results)
    _check_likeness(headers, account, member_paths[0])
    first_headers = [open_product(path).first_header for path in member_paths]
    check_shared_cards(headers[0], first_headers, COMBINED_ORIGINS)
    _check_dates(headers[0], first_headers)
    _check_exposure(headers[0], first_headers)
    for hdu in account.hdus:
        check_required(headers[hdu], headers[0], "combined")
        if hdu:
            image_headers = [open_product(path).images[hdu].header for path in member_paths]
            check_shared_cards(headers[hdu], image_headers, COMBINED_ORIGINS)
        _check_levels(headers[hdu], first_headers, member_paths, hdu)


def _paths_of_members(account, results):
    """Return the paths of the members' products; raise `CannotRemake` where one is missing."""
    member_paths = [results / product_of(name) for name in account.members]
    for path in member_paths:
        if not path.is_file():
            raise CannotRemake(f"its member {path.name} is missing", MISSING)
    return member_paths


def _check_likeness(headers, account, path):
    """Compare cards, sentences, names and BITPIX with those of the first member."""
    with fits.open(path) as member:
        for hdu in {0, *account.hdus}:
            check_cards(headers[hdu], [member[hdu].header], COMBINED_ORIGINS, must_have=False)
            check_order(
                headers[hdu], member[hdu].header, COMBINED_ORDER, COMBINED_ORIGINS.renewed_cards
            )
            check_combined(headers[hdu], headers[0], account.kind, tails_of(headers[hdu]))
            check_names(headers[hdu], member[hdu].header, must_have=False)
            if hdu in account.hdus:
                check_text(headers[hdu], "BUNIT", member[hdu].header.get("BUNIT", "adu"))
                check_text(headers[hdu], "BITPIX", member[hdu].header["BITPIX"])


def _check_dates(header, first_headers):
    """Compare DATE-BEG and DATE-END with the first and last time of the members."""
    dates = [_time_of(first_header) for first_header in first_headers]
    if all("T" in str(first_header.get("DATE-OBS")) for first_header in first_headers):
        must_have(header, "DATE-BEG")
        must_have(header, "DATE-END")
    if None not in dates and "DATE-BEG" in header:
        for keyword, value in (("DATE-BEG", min(dates)), ("DATE-END", max(dates))):
            card_value = datetime.fromisoformat(header[keyword]).replace(tzinfo=None)
            if abs((card_value - value).total_seconds()) > tolerances.TIME_TOLERANCE_SECONDS:
                comparison = f"{value.isoformat()}, and its card has {card_value.isoformat()}"
                raise Differs(f"{keyword} is {comparison}")


def _check_exposure(header, first_headers):
    """Compare EXPTIME with the median exposure of the members."""
    seconds = [number_of_card(first_header.get("EXPTIME")) for first_header in first_headers]
    if "EXPTIME" in header and None not in seconds:
        middle = float(np.median(seconds))
        atol = (
            tolerances.SHORT_EXPOSURE_TOLERANCE
            if middle < 100
            else tolerances.LONG_EXPOSURE_TOLERANCE
        )
        check_figure(header, "EXPTIME", middle, rtol=tolerances.EXPOSURE_TOLERANCE, atol=atol)


def _check_levels(header, first_headers, paths, hdu):
    """Compare BIASLVL of each amplifier with the mean of its values in the members.

    Parameters
    ----------
    header : astropy.io.fits.Header
    first_headers : list of astropy.io.fits.Header
        Headers of the first HDU of each member.
    paths : list of pathlib.Path
        Paths of the members.
    hdu : int
    """
    for tail in tails_of(header):
        if number_of_card(card(header, "BIASLVL", tail)) is None:
            continue
        headers_of_members = (
            first_headers if not hdu else [open_product(path).images[hdu].header for path in paths]
        )
        levels = [number_of_card(card(member, "BIASLVL", tail)) for member in headers_of_members]
        if None not in levels:
            check_value(f"BIASLVL{tail}", card(header, "BIASLVL", tail), float(np.mean(levels)))


def _time_of(header):
    """Return the time in DATE-OBS, or in DATE-OBS and UT; None where it cannot be read."""
    text = str(header.get("DATE-OBS", ""))
    text = text if "T" in text else f"{text}T{str(header.get('UT', '')).strip()}"
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        return None


def _check_master_nights(first_header, path, account):
    """Compare NCOMBINE with the members, BIASDT and DARKDT with the nights of the folders."""
    check_figure(first_header, "NCOMBINE", len(account.members))
    night = date_of_combined(path.as_posix())
    for kind, master in account.masters.items():
        night_of_master = date_of_combined(master.name)
        keyword = f"{kind.upper()}DT"
        if night and night_of_master:
            check_figure(first_header, keyword, (night - night_of_master).days)


def _gain_ratios(headers, account):
    """Return {HDU: [(place, gain over the mean gain)]} of a flat; {} for unknown or equal gains."""
    gains_by_hdu = {hdu: gains_of(headers[hdu]) for hdu in account.hdus}
    gains = [gain for pairs in gains_by_hdu.values() for _, gain in pairs]
    if None in gains or len(set(gains)) == 1:
        return {}
    mean = sum(gains) / len(gains)
    return {
        hdu: [(place, gain / mean) for place, gain in pairs] for hdu, pairs in gains_by_hdu.items()
    }
