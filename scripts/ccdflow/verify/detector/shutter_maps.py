"""The map of a shutter's dead time, made again from the flats that it names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from ccdflow.verify.comparing.amplifiers import card, number_of_card, tails_of
from ccdflow.verify.comparing.comparing import (
    DERIVED_ROUNDING,
    Differs,
    are_within,
    check_figure,
    check_value,
)
from ccdflow.verify.comparing.extensions import extension_name
from ccdflow.verify.reading.accounts import NamedMaster
from ccdflow.verify.reading.restated_numbers import LEAST_CELL_SIDE, MOST_CELLS
from ccdflow.verify.reading.stored_rows import master_file, open_product, rows_of
from ccdflow.verify.reading.verdict import MISSING, OLDER, CannotRemake

# Some numbers are those of detector/dead_time.py and detector/photons/night_transfer.py, written
# again, so that a wrong one there is noticed here. tests/verify/test_same_numbers.py lists them.

# Rows that are read at once.
_ROWS_AT_ONCE = 64
# Exposures that differ by no more than this fraction count as equal.
_SAME_EXPOSURE = 0.01
# Largest relative scatter of the levels of a steady lamp.
_MOST_LAMP_SCATTER = 0.02
# Every lamp counts as scattering by at least this, relative.
_LEAST_LAMP_SCATTER = 1e-4
# With this many degrees of freedom, the scatter alone gives the errors.
_MANY_FREEDOMS = 50
# Fraction of its standard error by which a cell may differ from the map.
_ERROR_FRACTION = 1e-3
# Fraction of its value by which a cell may differ from the map: the rounding of float32.
_VALUE_FRACTION = 1e-6
# Relative and absolute (s) tolerance of the mean dead time: its fit is ill-conditioned.
_MEAN_TOLERANCE, _LEAST_MEAN_TOLERANCE = 1e-4, 1e-7


@dataclass(frozen=True)
class ShutterFlat:
    """A flat that a map is made of.

    Attributes
    ----------
    path : pathlib.Path
        Path of its reduced frame.
    seconds : float
    series : int
        Number of the series of flats of one light that the flat belongs to.
    bias, dark : pathlib.Path or None
        The masters that are subtracted.
    factor : float
        Factor of the dark.
    """

    path: Path
    seconds: float
    series: int
    bias: Path | None
    dark: Path | None
    factor: float

    def read(self, hdu, rows):
        """Return some rows minus bias and dark, adu; NaN where masked.

        Parameters
        ----------
        hdu : int
        rows : slice

        Returns
        -------
        numpy.ndarray of shape (k, nx), float64
        """
        values = rows_of(self.path, hdu, rows, "flat").astype(float)
        mask_name = extension_name("MASK", hdu)
        if mask_name in open_product(self.path).images:
            values[rows_of(self.path, mask_name, rows, "flat") != 0] = np.nan
        for path, factor, kind in ((self.bias, 1.0, "bias"), (self.dark, self.factor, "dark")):
            if path is not None:
                values -= factor * rows_of(path, hdu, rows, kind)
        return values


def flats_named(first_header, results):
    """Return the `ShutterFlat` of each frame that a map names.

    Parameters
    ----------
    first_header : astropy.io.fits.Header
        Header of the first HDU of the map.
    results : pathlib.Path

    Returns
    -------
    list of ShutterFlat

    Raises
    ------
    CannotRemake
        If the map names no flat, or a file is missing.
    Differs
        If an exposure in the map is not that of the frame.
    """
    if "IMCOM001" not in first_header:
        raise CannotRemake("the header lacks IMCOM001: it is of an older version", OLDER)
    flats = []
    for n in range(1, sum(keyword.startswith("IMCOM") for keyword in first_header) + 1):
        path = results / unquote(str(first_header[f"IMCOM{n:03d}"]), errors="surrogateescape")
        if not path.is_file():
            raise CannotRemake(f"{path.name}, a flat that it is made of, is missing", MISSING)
        seconds = float(first_header[f"IMSEC{n:03d}"])
        exposure = number_of_card(open_product(path).first_header.get("EXPTIME"))
        if exposure is not None:
            check_value(f"IMSEC{n:03d}", seconds, exposure)
        number = first_header[f"IMFLT{n:03d}"]
        bias, dark = (
            _master_of_flats(first_header, kind, number, results) for kind in ("bias", "dark")
        )
        factor = 0.0
        if dark is not None:
            factor = seconds / float(open_product(dark).first_header["EXPTIME"])
        flats.append(
            ShutterFlat(
                path=path,
                seconds=seconds,
                series=first_header[f"SERIES{number:02d}"],
                bias=bias,
                dark=dark,
                factor=factor,
            )
        )
    return flats


def _master_of_flats(first_header, kind, number, results):
    """Return the path of the bias or dark that a map names for a combined flat, or None.

    Parameters
    ----------
    first_header : astropy.io.fits.Header
    kind : {'bias', 'dark'}
    number : int
        Number of the combined flat in the keywords.
    results : pathlib.Path
    """
    keyword = f"{kind.upper()}IM{number:02d}"
    if keyword not in first_header:
        return None
    name = unquote(str(first_header[keyword]), errors="surrogateescape")
    master = NamedMaster(name, first_header[f"{kind.upper()}KY{number:02d}"])
    return master_file(master, kind, results)


def verify_shutter(first_header, hdus, results):
    """Return the verdict on a map of a shutter's dead time, by each cell and card.

    Parameters
    ----------
    first_header : astropy.io.fits.Header
    hdus : astropy.io.fits.HDUList
        HDUs of the product.
    results : pathlib.Path

    Returns
    -------
    dict of str to object
        Fields of a `ccdflow.verify.reading.verdict.Verdict`.

    Raises
    ------
    Differs
        If a cell or a card differs.
    CannotRemake
        If a source is missing, or the map is of an older version.
    """
    flats = flats_named(first_header, results)
    images = open_product(flats[0].path).images
    hdu_indices = [n for n in images if isinstance(n, int) and "NAMPS" in images[n].header]
    _check_names_of_images(hdus, hdu_indices)
    shapes = [_shape_in_cells(images[hdu].shape) for hdu in hdu_indices]
    gains_and_noises = _gains_and_noises(first_header, images, hdu_indices, flats)
    series = [
        _series_of_cells(
            [flat for flat in flats if flat.series == number],
            hdu_indices,
            images,
            gains_and_noises,
        )
        for number in sorted({flat.series for flat in flats})
    ]
    mean, mean_error = _weighted_mean([_mean_dead_time(cells) for cells in series])
    known_mean = 0.0 if np.isnan(mean) else mean
    excess, error, chi2 = _fit_excess(series, known_mean)
    _check_cards(first_header, flats, chi2, (mean, mean_error))
    largest, n_cells = _compare_cells(hdus[1:], shapes, excess, error)
    compared = f"cells to {_ERROR_FRACTION:g} of their errors with numpy"
    return {"compared": compared, "pixels": n_cells, "largest": largest}


def _check_names_of_images(hdus, hdu_indices):
    """Raise unless a map has the excess and its error for each image of the flats, in order."""
    names = [extension_name(name, hdu) for hdu in hdu_indices for name in ("EXCESS", "ERROR")]
    stored_names = [hdu.name for hdu in hdus[1:]]
    if stored_names != names:
        raise Differs(
            f"its images should be {', '.join(names)}, and it has"
            f" {', '.join(stored_names) or 'none'}"
        )


def _compare_cells(hdus, shapes, excess, error):
    """Return the largest difference of a cell, seconds, and the number of cells.

    Parameters
    ----------
    hdus : sequence of astropy.io.fits.ImageHDU
        EXCESS and ERROR of each image.
    shapes : list of (int, int)
        Cells of each image along y and x.
    excess, error : numpy.ndarray of shape (cells,), float64
        Remade values of all images, seconds.
    """
    largest_difference, first_cell = 0.0, 0
    for place in range(0, len(hdus), 2):
        for hdu in hdus[place : place + 2]:
            if np.shape(hdu.data) != shapes[place // 2]:
                raise Differs(
                    f"the shape of {hdu.name} should be {shapes[place // 2]}, and it is"
                    f" {np.shape(hdu.data)}"
                )
        stored_excess, stored_error = (np.asarray(hdus[place + n].data, float) for n in (0, 1))
        part = slice(first_cell, first_cell + stored_excess.size)
        differences = np.abs(stored_excess.ravel() - excess[part])
        for values, remade, name in (
            (stored_excess, excess, "EXCESS"),
            (stored_error, error, "ERROR"),
        ):
            limit = _ERROR_FRACTION * error[part] + _VALUE_FRACTION * np.abs(remade[part])
            is_same = are_within(values.ravel(), remade[part], limit)
            if n_wrong := int(np.count_nonzero(~is_same)):
                raise Differs(f"{n_wrong} cells of {name} differ from those of its flats")
        largest_difference = max(largest_difference, float(np.nanmax(differences, initial=0.0)))
        first_cell += stored_excess.size
    return largest_difference, first_cell


def _gains_and_noises(first_header, images, hdu_indices, flats):
    """Return {HDU: (gain, read noise)} of the first amplifier of each image by the cards.

    Parameters
    ----------
    first_header : astropy.io.fits.Header
    images : dict of int or str to ccdflow.verify.reading.stored_rows.StoredPixels
        The images by HDU.
    hdu_indices : list of int
        The HDUs.
    flats : list of ShutterFlat
    """
    gains_and_noises = {}
    for place, hdu in enumerate(hdu_indices, start=1):
        keywords = [
            f"{name}{place:02d}" if len(hdu_indices) > 1 else name for name in ("MODGN", "MODRN")
        ]
        gain, noise = (number_of_card(first_header.get(keyword)) for keyword in keywords)
        if gain is None or noise is None:
            missing_keyword = keywords[0] if gain is None else keywords[1]
            raise CannotRemake(
                f"the header lacks {missing_keyword}: it is of an older version", OLDER
            )
        header = images[hdu].header
        tail = tails_of(header)[0]
        expected = number_of_card(card(header, "AMPGAIN", tail))
        check_value(keywords[0], gain, expected or 1.0)
        if flats[0].bias is not None:
            bias = open_product(flats[0].bias).images[hdu].header
            if expected := number_of_card(card(bias, "RNOISE", tail)):
                check_value(keywords[1], noise, expected, rtol=DERIVED_ROUNDING)
        gains_and_noises[hdu] = gain, noise
    return gains_and_noises


@dataclass(frozen=True)
class CellSeries:
    """Means of the cells of all images, in flats of one light.

    Attributes
    ----------
    seconds : numpy.ndarray of shape (n,), float64
        Exposures.
    means, variances : numpy.ndarray of shape (n, cells), float64
        Adu and adu^2; NaN in a cell without good pixels.
    counts : numpy.ndarray of shape (cells,), float64
        Good pixels of each cell.
    """

    seconds: np.ndarray
    means: np.ndarray
    variances: np.ndarray
    counts: np.ndarray

    @property
    def levels(self):
        """The mean of all pixels of each flat, adu: (n,)."""
        return np.nansum(self.means * self.counts, axis=1) / self.counts.sum()


def _cell_of_each_pixel(size):
    """Return the number of the cell that each pixel along an axis is in: int, (size,)."""
    n_cells = int(np.clip(size // LEAST_CELL_SIDE, 1, MOST_CELLS))
    edges = np.linspace(0, size, n_cells + 1).round().astype(int)
    return np.repeat(np.arange(n_cells), np.diff(edges))


def _shape_in_cells(shape):
    """Return the number of cells of an image along y and x."""
    return tuple(int(_cell_of_each_pixel(size)[-1]) + 1 for size in shape)


def _series_of_cells(flats, hdu_indices, images, gains_and_noises):
    """Return the `CellSeries` of flats of one light, with the cells of all images joined.

    Parameters
    ----------
    flats : list of ShutterFlat
        Flats of one light.
    hdu_indices : list of int
        The HDUs.
    images : dict of int or str to ccdflow.verify.reading.stored_rows.StoredPixels
        The images by HDU.
    gains_and_noises : dict of int to (float, float)
        Gain and read noise by HDU.
    """
    means, variances, counts = [], [], []
    for hdu in hdu_indices:
        ny, nx = images[hdu].shape
        cell_of_row, cell_of_column = _cell_of_each_pixel(ny), _cell_of_each_pixel(nx)
        cells_in_a_row = cell_of_column[-1] + 1
        size = cells_in_a_row * (cell_of_row[-1] + 1)
        sums, count = np.zeros((len(flats), size)), np.zeros(size)
        for low in range(0, ny, _ROWS_AT_ONCE):
            rows = slice(low, min(low + _ROWS_AT_ONCE, ny))
            values = np.array([flat.read(hdu, rows) for flat in flats])
            is_finite = np.isfinite(values).all(axis=0)
            cells = (cell_of_row[rows, None] * cells_in_a_row + cell_of_column)[is_finite]
            sums += [np.bincount(cells, image[is_finite], size) for image in values]
            count += np.bincount(cells, minlength=size)
        gain, noise = gains_and_noises[hdu]
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = sums / count
            variances.append((np.maximum(mean, 1) / gain + noise**2) / count)
        means.append(mean)
        counts.append(count)
    seconds = np.array([flat.seconds for flat in flats])
    return CellSeries(
        seconds, np.concatenate(means, axis=1), np.concatenate(variances, axis=1),
        np.concatenate(counts),
    )  # fmt: skip


def _fit_excess(series, mean):
    """Return the excess dead time and its error, s, each (cells,), and the reduced chi^2."""
    weights = weighted_sum = squares = degrees_of_freedom = 0.0
    for cells in series:
        x, ratios = 1 / (cells.seconds - mean)[:, None], cells.means / cells.levels[:, None]
        weight = cells.levels[:, None] ** 2 / cells.variances
        with np.errstate(divide="ignore", invalid="ignore"):
            middle = (weight * x).sum(axis=0) / weight.sum(axis=0)
            spread = (weight * (x - middle) ** 2).sum(axis=0)
            slope = (weight * (x - middle) * ratios).sum(axis=0) / spread
            flat = (weight * ratios).sum(axis=0) / weight.sum(axis=0) - slope * middle
            dead_time = -slope / flat
            # The variance of the slope is 1 / spread, that of the line at the middle 1 / sum of
            # weights.
            variance = (
                (1 - dead_time * middle) ** 2 / spread + dead_time**2 / weight.sum(axis=0)
            ) / flat**2
        residuals = weight * (ratios - flat - slope * x) ** 2
        squares += float(np.nansum(residuals))
        degrees_of_freedom += np.count_nonzero(np.isfinite(dead_time)) * (len(x) - 2)
        weights, weighted_sum = weights + 1 / variance, weighted_sum + dead_time / variance
    chi2 = squares / degrees_of_freedom if degrees_of_freedom else np.nan
    factor = 1.0
    if degrees_of_freedom:
        factor = chi2**0.5 if degrees_of_freedom >= _MANY_FREEDOMS else max(1.0, chi2**0.5)
    return weighted_sum / weights, weights**-0.5 * factor, chi2


def _mean_dead_time(series):
    """Return the mean dead time by the levels of a steady lamp, its error, s, and its freedom.

    Mean and error are NaN where there is no steady lamp. The degrees of freedom are the flats less
    their exposures.
    """
    order, sets = np.argsort(series.seconds, kind="stable"), []
    for index in order:
        if sets and series.seconds[index] <= series.seconds[sets[-1][0]] * (1 + _SAME_EXPOSURE):
            sets[-1].append(index)
        else:
            sets.append([index])
    repeated_sets = [same_exposure for same_exposure in sets if len(same_exposure) > 1]
    freedom = len(order) - len(sets)
    if len(sets) < 3 or not repeated_sets:
        return np.nan, np.nan, freedom
    scatters = [
        np.std(series.levels[same_exposure], ddof=1) / np.mean(series.levels[same_exposure])
        for same_exposure in repeated_sets
    ]
    lamp_scatter = max(float(np.sqrt(np.mean(np.square(scatters)))), _LEAST_LAMP_SCATTER)
    if lamp_scatter > _MOST_LAMP_SCATTER:
        return np.nan, np.nan, freedom
    levels = np.array([series.levels[same_exposure].mean() for same_exposure in sets])
    errors = levels * lamp_scatter / np.sqrt([len(same_exposure) for same_exposure in sets])
    times = np.array([series.seconds[same_exposure].mean() for same_exposure in sets])
    coefficients, covariance = np.polyfit(times, levels, 2, w=1 / errors, cov="unscaled")
    _, linear, constant = coefficients
    # The derivatives of -constant / linear by the three coefficients.
    gradient = np.array([0, constant / linear**2, -1 / linear])
    return -constant / linear, float(gradient @ covariance @ gradient) ** 0.5, freedom


def _weighted_mean(means):
    """Return the weighted mean of (value, error, freedom), and its error; NaN twice for no mean.

    The error has the factor for weights of few degrees of freedom (Meier 1953, Biometrics 9, 59).
    """
    finite_means = [mean for mean in means if np.isfinite(mean).all()]
    if not finite_means:
        return np.nan, np.nan
    weight = sum(error**-2 for _, error, _ in finite_means)
    mean = sum(value * error**-2 for value, error, _ in finite_means) / weight
    excess = sum(
        4 / freedom * error**-2 / weight * (1 - error**-2 / weight)
        for _, error, freedom in finite_means
    )
    return float(mean), float(((1 + excess) / weight) ** 0.5)


def _check_cards(first_header, flats, chi2, mean_and_error):
    """Compare the cards on flats, chi^2 and mean dead time.

    Parameters
    ----------
    first_header : astropy.io.fits.Header
    flats : list of ShutterFlat
    chi2 : float
    mean_and_error : (float, float)
        The mean dead time and its error, s.
    """
    seconds = [flat.seconds for flat in flats]
    check_figure(first_header, "NFLATS", len(flats))
    for keyword, value in (("EXPMIN", min(seconds)), ("EXPMAX", max(seconds)), ("CHI2", chi2)):
        check_figure(first_header, keyword, value, rtol=DERIVED_ROUNDING)
    for keyword, value in zip(("SHUTMEAN", "SHUTMERR"), mean_and_error, strict=True):
        if np.isfinite(mean_and_error).all():
            check_figure(
                first_header, keyword, value, rtol=_MEAN_TOLERANCE, atol=_LEAST_MEAN_TOLERANCE
            )
        elif keyword in first_header:
            raise Differs(f"{keyword} is there, and no lamp was steady")
