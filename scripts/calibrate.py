"""Calibrate reduced frames: python scripts/calibrate.py OUT FILE ... --bias B --dark D --flat F.

It applies the bias, dark and flat named on the command line. The frames have one image and one
amplifier, and are uncompressed, like ccdflow's reduced frames.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ccdflow.camera.sections import Region
from ccdflow.errors import CcdflowError, FrameError, UserError
from ccdflow.files.cards import card_value, number
from ccdflow.files.planes import read_units
from ccdflow.frame.calibrate import Chain, Use
from ccdflow.frame.calibrated import calibrate_file
from ccdflow.frame.masters import MasterStore
from ccdflow.frame.readout import Readout
from ccdflow.kinds.matching import EXACT_PART, EXACT_SECONDS


def parse(arguments=None):
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder of the products")
    parser.add_argument("files", nargs="+", type=Path, help="reduced frames")
    for kind in ("bias", "dark", "flat"):
        parser.add_argument(f"--{kind}", type=Path, help=f"combined {kind}")
    parser.add_argument(
        "--bias-is-out",
        action="store_true",
        help="dark and flat had this bias subtracted, though no card BIASKEY says so",
    )
    parser.add_argument("--gain", type=float, help="electrons per adu; else card AMPGAIN or GAIN")
    parser.add_argument("--read-noise", type=float, help="electrons; else card RDNOISE")
    parser.add_argument("--saturation", type=float, help="raw adu from which a pixel is saturated")
    parser.add_argument("--image-only", action="store_true", help="neither UNCERT nor MASK")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args(arguments)


def calibrate(path, options, store):
    """Calibrate one frame.

    Parameters
    ----------
    path : pathlib.Path
    options : argparse.Namespace
    store : ccdflow.frame.masters.MasterStore

    Returns
    -------
    ccdflow.frame.calibrated.Calibrated
    """
    unit = read_units(path)[0]
    if unit.shape is None:
        raise FrameError("no image in its first HDU", file=path)
    uses = {}
    for kind in ("bias", "dark", "flat"):
        master = getattr(options, kind)
        if master is not None:
            found = store.get(master, kind)
            if options.bias_is_out and kind != "bias":
                found = replace(found, bias_key=uses["bias"].master.key, level_subtracted=True)
            uses[kind] = Use(found, scale_of(unit.header, found, path) if kind == "dark" else 1.0)
    return calibrate_file(
        path,
        options.out / path.name,
        Chain(**uses),
        [[readout_of(unit, options)]],
        uncertainty=not options.image_only,
        mask=not options.image_only,
    )


def scale_of(header, dark, path):
    """Return what a dark is multiplied by for a frame: 1 where the exposures are equal."""
    seconds = number(card_value(header, "EXPTIME"))
    if seconds is None or not dark.exptime:
        raise FrameError(
            "exposure time of frame or dark is missing",
            file=path,
            keyword="EXPTIME",
            value=f"{seconds} and {dark.exptime}",
            allowed="seconds, above 0",
        )
    if abs(seconds - dark.exptime) <= max(EXACT_SECONDS, EXACT_PART * abs(seconds)):
        return 1.0
    return seconds / dark.exptime


def readout_of(unit, options):
    """Return the readout of a frame of one amplifier, by the options or its cards."""
    gain, noise = options.gain, options.read_noise
    for keyword in ("AMPGAIN", "GAIN"):
        gain = number(card_value(unit.header, keyword)) if gain is None else gain
    noise = number(card_value(unit.header, "RDNOISE")) if noise is None else noise
    known = gain and noise is not None
    ny, nx = unit.shape
    return Readout(
        Region(0, ny, 0, nx),
        gain=gain,
        read_noise=noise / gain if known else None,
        saturation=options.saturation,
    )


def run(options):
    """Calibrate the files and return the line that says so."""
    if options.bias_is_out and options.bias is None:
        raise UserError("--bias-is-out needs the bias that is out", keyword="--bias")
    store = MasterStore()
    with ThreadPoolExecutor(options.threads) as pool:
        jobs = [pool.submit(calibrate, path, options, store) for path in options.files]
        done = [job.result() for job in jobs]
    return f"{options.out}: {len(done)} frames, in {done[0].unit}"


def main(arguments=None):
    """Run the command line and return its exit status."""
    options = parse(arguments)
    try:
        print(run(options))
    except CcdflowError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
