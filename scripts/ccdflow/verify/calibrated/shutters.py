"""A flat corrected for the shutter by the map of dead time that a calibrated frame names."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import unquote

import numpy as np
from astropy.io import fits

from ccdflow.verify.comparing.amplifiers import number_of_card
from ccdflow.verify.reading.accounts import NamedMaster, product_of
from ccdflow.verify.reading.restated_numbers import LEAST_CELL_SIDE, MOST_CELLS
from ccdflow.verify.reading.stored_rows import master_file, open_product
from ccdflow.verify.reading.verdict import MISSING, MODEL, CannotRemake


def flat_over_factor(flat, first_header, reduced_header, results, image_number):
    """Return a flat divided by the correction for the shutter: docs/detector.md.

    The shutter is open for delta seconds less at a pixel than the exposure t in the header. The
    pixel has (t - delta) / t of the light in a frame, and (t - delta) / (t - mean of delta) in a
    flat.

    Parameters
    ----------
    flat : ccdflow.verify.calibrated.master_planes.MasterPlane
    first_header, reduced_header : astropy.io.fits.Header
        First headers of the calibrated and of the reduced frame.
    results : pathlib.Path
    image_number : int
        Number of the image, from 0.

    Returns
    -------
    ccdflow.verify.calibrated.master_planes.MasterPlane
        A new plane: `flat` does not change.

    Raises
    ------
    CannotRemake
        If a file is missing, or EXPTIME has no exposure.
    """
    name = unquote(first_header["SHUTCOR"], errors="surrogateescape")
    path = master_file(NamedMaster(name, first_header["SHUTKEY"]), "map of the shutter", results)
    with fits.open(path, memmap=False) as hdus:
        excess_of_cells, error_of_cells = (
            np.array(hdus[1 + 2 * image_number + n].data, float) for n in (0, 1)
        )
    mean_dead_time = number_of_card(first_header.get("SHUTMEAN")) or 0.0
    seconds, *flat_seconds = _seconds_of_members(flat, reduced_header, results)
    shape = flat.data.shape
    excess_of_pixels = _stretch_cells(excess_of_cells, shape)
    factor_in_flat = np.mean(
        [
            1 - excess_of_pixels / (member_seconds - mean_dead_time)
            for member_seconds in flat_seconds
        ],
        axis=0,
    )
    factor = factor_in_flat * seconds / (seconds - mean_dead_time - excess_of_pixels)
    inverse_difference = 1 / (seconds - mean_dead_time) - np.mean(
        [1 / (member_seconds - mean_dead_time) for member_seconds in flat_seconds]
    )
    data = (flat.data / factor).astype(np.float32)
    relative_variance = (flat.errors / flat.data).astype(np.float64) ** 2
    relative_variance += (_stretch_cells(error_of_cells, shape) * inverse_difference) ** 2
    return replace(flat, data=data, errors=(data * np.sqrt(relative_variance)).astype(np.float32))


def _seconds_of_members(flat, reduced_header, results):
    """Return the seconds of a frame, and of each member of its flat."""
    names = [
        str(flat.first_header[keyword])
        for keyword in flat.first_header
        if keyword.startswith("IMC")
    ]
    headers = [reduced_header]
    for name in names:
        path = results / product_of(unquote(name, errors="surrogateescape"))
        if not path.is_file():
            raise CannotRemake(f"{path.name}, a member of its flat, is missing", MISSING)
        headers.append(open_product(path).first_header)
    seconds = [number_of_card(header.get("EXPTIME")) for header in headers]
    if None in seconds:
        raise CannotRemake("it is corrected for the shutter, and EXPTIME has no exposure", MODEL)
    return seconds


def _stretch_cells(cells, shape):
    """Return the value of each pixel from the values of cells: (ny, nx).

    These are lines between the centres of cells, and beyond them parabolas through three centres.
    """
    finite_cells = np.argwhere(np.isfinite(cells))
    for cell in np.argwhere(~np.isfinite(cells)) if len(finite_cells) else ():
        nearest = finite_cells[np.argmin(((finite_cells - cell) ** 2).sum(axis=1))]
        cells[tuple(cell)] = cells[tuple(nearest)]
    cells = np.nan_to_num(cells)
    return _interpolate_cells(_interpolate_cells(cells, shape[0]).T, shape[1]).T


def _interpolate_cells(values, size):
    """Return the values at each pixel of the first axis: lines, and parabolas at the ends."""
    count = int(np.clip(size // LEAST_CELL_SIDE, 1, MOST_CELLS))
    edges = np.linspace(0, size, count + 1).round().astype(int)
    centres, pixels = (edges[:-1] + edges[1:] - 1) / 2, np.arange(size)
    pixel_values = np.array([np.interp(pixels, centres, column) for column in values.T]).T
    if count > 2:
        for is_outer, nearest in (
            (pixels < centres[0], slice(0, 3)), (pixels > centres[-1], slice(-3, None)),
        ):  # fmt: skip
            origin = centres[nearest].mean()
            terms = np.linalg.solve(np.vander(centres[nearest] - origin, 3), values[nearest])
            pixel_values[is_outer] = np.vander(pixels[is_outer] - origin, 3) @ terms
    return pixel_values
