"""Calibrate reduced frames by hand, with the bias, dark and flat that are named.

python scripts/calibrate.py out=FOLDER [bias=FILE] [dark=FILE] [flat=FILE] FRAME ...

The frames have one image and one amplifier, and are uncompressed, like ccdflow's reduced frames.
A master of the whole chip is cut to the window of a frame.
Example, after `make demo` and the example of combine.py:

python scripts/calibrate.py out=demo/by-hand bias=demo/bias.fits demo/results/reduced/ccd.037.0.fits
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from zlib import crc32

from ccdflow import command_lines
from ccdflow.calibrate import master_windows
from ccdflow.calibrate.applied_masters import (
    MASTER_KINDS,
    AppliedMaster,
    FrameMasters,
    dark_scale,
)
from ccdflow.calibrate.blocks import ProductForm, calibrate_file
from ccdflow.calibrate.calibrated_header import FrameProvenance, Grading
from ccdflow.calibrate.frame_corrections import FrameCalibration
from ccdflow.calibrate.master_store import MasterStore
from ccdflow.camera.facts import KEYWORDS
from ccdflow.camera.gains import READ_NOISE_FIGURE, positive_electrons_of_cards
from ccdflow.camera.sections import Region
from ccdflow.errors import FrameError, UserError, action_of
from ccdflow.files import atomic_write
from ccdflow.files.cards import CardSpec, card_value
from ccdflow.files.fits_products import compressed_images
from ccdflow.files.fits_products.multi_image_products import read_stored_hdus
from ccdflow.files.values import as_number
from ccdflow.frame.readout import Readout
from ccdflow.run.processes.forked_frames import map_forked
from ccdflow.wording import count


def parse(arguments=None):
    """Return the parsed command line."""
    parser = command_lines.parser(
        __doc__,
        names=("out", *MASTER_KINDS),
    )
    for kind in MASTER_KINDS:
        parser.add_argument(f"--{kind}", type=Path, help=argparse.SUPPRESS)
    parser.add_argument(
        "--bias-is-out",
        action="store_true",
        help="dark and flat had this bias subtracted, and lack the card BIASKEY",
    )
    parser.add_argument(
        "--gain",
        type=command_lines.number_type("--gain", above=0, allowed="electrons per adu, above 0"),
        help="electrons per adu (default: the card AMPGAIN or GAIN)",
    )
    parser.add_argument(
        "--read-noise",
        type=command_lines.number_type("--read-noise", allowed="electrons, 0 or more"),
        help="electrons (default: the card RDNOISE)",
    )
    parser.add_argument(
        "--saturation",
        type=command_lines.number_type("--saturation", above=0, allowed="raw adu, above 0"),
        help="raw adu from which a pixel is saturated",
    )
    parser.add_argument(
        "--compress",
        choices=(compressed_images.LOSSLESS_FORM, compressed_images.QUANTISED_FORM),
        default="",
        help="packed tiles: lossless, or in steps of a sixteenth of the noise (docs/products.md)",
    )
    parser.add_argument("--image-only", action="store_true", help="write neither UNCERT nor MASK")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace existing calibrated frames"
    )
    command_lines.add_cores(parser, "--threads")
    options = command_lines.parse_arguments(parser, arguments)
    for kind in MASTER_KINDS:
        if kind in options.settings_given:
            setattr(options, kind, Path(options.settings_given[kind]))
    return options


def calibrate(path, folder, options, store):
    """Calibrate one frame.

    Parameters
    ----------
    path : pathlib.Path
    folder : pathlib.Path
        The folder of the product.
    options : argparse.Namespace
    store : ccdflow.calibrate.master_store.MasterStore

    Returns
    -------
    ccdflow.calibrate.blocks.Calibrated

    Raises
    ------
    FrameError
        If the first HDU has no image.
    """
    hdu = read_stored_hdus(path)[0]
    if hdu.shape is None:
        raise FrameError("no image in its first HDU", file=path, remedy="give a reduced frame")
    masters, cuts = masters_for(hdu, path, options, store)
    return calibrate_file(
        path,
        folder / path.name,
        FrameCalibration(masters, [[readout_of(hdu, options)]]),
        provenance=FrameProvenance(grading=Grading("B" if cuts else "A", cuts)),
        form=ProductForm(
            has_uncertainty=not options.image_only,
            has_mask=not options.image_only,
            compress=options.compress,
        ),
    )


def masters_for(hdu, path, options, store):
    """Return the masters of a frame, and a line for each that is cut to the frame's window.

    Parameters
    ----------
    hdu : ccdflow.files.fits_products.multi_image_products.StoredHdu
        The HDU with the frame's image.
    path : pathlib.Path
        The frame.
    options : argparse.Namespace
    store : ccdflow.calibrate.master_store.MasterStore

    Returns
    -------
    masters : ccdflow.calibrate.applied_masters.FrameMasters
    cuts : list of str
    """
    masters, cuts = {}, []
    for kind in MASTER_KINDS:
        file = getattr(options, kind)
        if file is None:
            continue
        image, cut = master_windows.master_for(
            store, kind, file, hdu, file=str(path), name=str(file)
        )
        if cut:
            master_windows.check_cut(image, hdu.header, file=str(path))
            cuts.append(f"{kind} cut to its pixels {cut}")
        if options.bias_is_out and kind == "bias":
            # A bias that was combined by hand has no key: a checksum of its path replaces it.
            image = replace(image, key=image.key or f"{crc32(os.fsencode(file)):08x}")
        elif options.bias_is_out:
            image = replace(image, bias_key=masters["bias"].master.key, is_level_subtracted=True)
        masters[kind] = AppliedMaster(image, cut=cut)
        if kind == "dark":
            exposure = card_value(hdu.header, "EXPTIME")
            scale = dark_scale(as_number(exposure), image, file=path, card_value=exposure)
            masters[kind] = AppliedMaster(
                image, scale, degrees_warmer=temperature_difference(hdu.header, file), cut=cut
            )
    return FrameMasters(**masters), cuts


def temperature_difference(header, dark):
    """Return a dark's temperature minus a frame's, degrees C; None if a header has none.

    A set point is compared with a set point, a sensor's temperature with a sensor's.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the frame.
    dark : path-like
        The combined dark.

    Returns
    -------
    float or None
    """
    dark_header = read_stored_hdus(dark)[0].header
    for name in ("set_temperature", "temperature"):
        frame_degrees, dark_degrees = (
            first_number(cards, KEYWORDS[name].split()) for cards in (header, dark_header)
        )
        if frame_degrees is not None and dark_degrees is not None:
            return dark_degrees - frame_degrees
    return None


def first_number(header, keywords):
    """Return the value of the first of some cards that is a number, None where none is.

    Parameters
    ----------
    header : astropy.io.fits.Header
    keywords : sequence of str

    Returns
    -------
    float or None
    """
    numbers = (as_number(card_value(header, keyword)) for keyword in keywords)
    return next((number for number in numbers if number is not None), None)


def readout_of(hdu, options):
    """Return the readout of a frame of one amplifier, by the options or its cards.

    Parameters
    ----------
    hdu : ccdflow.files.fits_products.multi_image_products.StoredHdu
        The HDU with the image.
    options : argparse.Namespace

    Returns
    -------
    ccdflow.frame.readout.Readout
    """
    gain, noise = options.gain, options.read_noise
    if gain is None:
        gain = positive_electrons_of_cards([hdu.header], [CardSpec("AMPGAIN"), CardSpec("GAIN")], 0)
    if noise is None:
        noise = positive_electrons_of_cards(
            [hdu.header], [CardSpec("RDNOISE")], 0, quantity=READ_NOISE_FIGURE, gain=gain
        )
    is_known = bool(gain) and noise is not None
    ny, nx = hdu.shape
    return Readout(
        Region(0, ny, 0, nx),
        gain=gain,
        read_noise=noise / gain if is_known else None,
        saturation=options.saturation,
    )


def run(options):
    """Calibrate the frames; return the line on them, or '' and status 1 if one has failed.

    Raises
    ------
    UserError
        If no frame is given, or ``--bias-is-out`` without its bias, or a product would take the
        place of a file.
    OSError
        If the folder of the products cannot be made.
    """
    if options.bias_is_out and options.bias is None:
        raise UserError("--bias-is-out needs that bias", keyword="bias", remedy="write bias=FILE")
    folder = command_lines.path(options, "out", may_lack_name=True)
    if not all(options.words or [""]):
        raise UserError("no frame is given", remedy="name the reduced frames")
    paths = [Path(word) for word in options.words]
    masters = [path for kind in MASTER_KINDS if (path := getattr(options, kind)) is not None]
    command_lines.check_products(
        [folder / path.name for path in paths],
        [*paths, *masters],
        may_replace_files=options.overwrite,
    )
    folder.mkdir(parents=True, exist_ok=True)
    store = MasterStore()
    try:
        outcomes = map_forked(
            lambda path: calibrate(path, folder, options, store), paths, options.cores
        )
    finally:
        # A process that was killed, now or in an earlier call, leaves temporary files.
        for path in folder.iterdir():
            atomic_write.remove_abandoned(path)
    lines = lines_of_errors(
        [outcome for outcome in outcomes if isinstance(outcome, Exception)], folder
    )
    for line in lines:
        print(f"ccdflow: {line}", file=sys.stderr)
    if lines:
        return "", 1
    units_in_words = " and ".join(dict.fromkeys(outcome.unit for outcome in outcomes))
    return f"{folder}: {count(len(outcomes), 'frame')}, in {units_in_words}"


def lines_of_errors(errors, folder):
    """Return the lines on frames that were not calibrated, one for each cause.

    Parameters
    ----------
    errors : list of Exception
    folder : pathlib.Path
        The folder of the products: a disk that is full concerns all of them.

    Returns
    -------
    list of str
    """
    causes = Counter(
        f"{folder}: {error.strerror}; {action_of(error)}"
        if isinstance(error, OSError) and Path(error.filename or folder).parent == folder
        else command_lines.error_line(error)
        for error in errors
    )
    return [
        f"{cause}; this concerns {number} frames" if number > 1 else cause
        for cause, number in causes.items()
    ]


def main(arguments=None):
    """Run the command line and return its exit status."""
    return command_lines.run(run, parse, arguments)


if __name__ == "__main__":
    sys.exit(main())
