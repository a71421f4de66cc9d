"""Headers with the traits of real cameras, and the geometry that is read from them, for tests."""

import numpy as np
from astropy.io import fits

from ccdflow.camera.cameras import generic_camera
from ccdflow.camera.profiles import load_camera


def header(nx=0, ny=0, **cards):
    """Return the header of an image, nx by ny; in names of cards '_' is a hyphen, '__' a blank."""
    image_header = fits.Header()
    image_header["NAXIS"] = 2 if nx else 0
    if nx:
        image_header["NAXIS1"], image_header["NAXIS2"] = nx, ny
    for name, value in cards.items():
        key = name.replace("__", " ").replace("_", "-")
        image_header[f"HIERARCH {key}" if " " in key else key] = value
    return image_header


def geometry(*headers, **options):
    """Return the geometry of a file without a profile, by its headers."""
    camera = generic_camera(headers)
    return camera.geometry(list(headers), file="night/a.fits", **options)


def only_amplifier(*headers):
    """Return the only amplifier in the geometry of some headers."""
    (amplifier,) = geometry(*headers).amplifiers
    return amplifier


def profile(tmp_path, text, name="probe"):
    """Write a camera's profile, and return the camera that is loaded from it."""
    path = tmp_path / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return load_camera(path)


def rebuild_image(frame_geometry, arrays):
    """Return the image of a product by a geometry, without a subtracted level."""
    image = np.full(frame_geometry.shape, -1)
    for amplifier in frame_geometry.amplifiers:
        part = arrays[amplifier.hdu][amplifier.data.slices]
        part = part[:: -1 if amplifier.is_flipped_y else 1, :: -1 if amplifier.is_flipped_x else 1]
        image[amplifier.place.slices] = part
    return image


def four_extensions(chip, strip=3, binning=1):
    """Return headers and arrays of a chip with four amplifiers, as Keck LRIS stores it."""
    ny, nx = chip.shape
    half = {False: (1, 2), True: (2, 1)}
    headers, arrays = [header()], [None]
    for top in (False, True):
        for right in (False, True):
            rows = slice(ny // 2, ny) if top else slice(0, ny // 2)
            columns = slice(nx // 2, nx) if right else slice(0, nx // 2)
            part = chip[rows, columns][:: -1 if top else 1, :: -1 if right else 1]
            x = [1 + (nx // 2 * right), nx // 2 * (1 + right)]
            y = [1 + (ny // 2 * top), ny // 2 * (1 + top)]
            x = [(x[0] - 1) * binning + 1, x[1] * binning][:: -1 if right else 1]
            y = [(y[0] - 1) * binning + 1, y[1] * binning][:: -1 if top else 1]
            image_header = header(
                nx // 2 + strip,
                ny // 2,
                XTENSION="IMAGE",
                DATASEC=f"[{strip + 1}:{strip + nx // 2},1:{ny // 2}]",
                BIASSEC=f"[1:{strip},1:{ny // 2}]",
                DETSEC=f"[{x[0]}:{x[1]},{y[0]}:{y[1]}]",
                CCDSUM=f"{binning} {binning}",
                EXTNAME=f"AMP{half[right][0]}{half[top][0]}",
                GAIN=1.0 + len(headers) / 10,
            )
            headers.append(image_header)
            arrays.append(np.pad(part, ((0, 0), (strip, 0))))
    return headers, arrays
