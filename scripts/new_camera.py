"""Propose a camera profile from one raw frame, or better from a bias and a flat.

python scripts/new_camera.py FRAME [FRAME] [out=PROFILE.yaml] [picture=PICTURE.png]

Without out= the profile goes into the current folder, under the camera's name; the picture beside
it. Example, after `make demo`:

python scripts/new_camera.py demo/raw/ccd.001.0.fits.gz demo/raw/ccd.014.0.fits.gz out=demo/lfc.yaml
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

from ccdflow import command_lines

# isort: split
import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning

from ccdflow.camera.cameras import identify
from ccdflow.camera.profiles import load_camera, load_cameras
from ccdflow.camera.proposing.proposal import propose
from ccdflow.camera.reduction_marks import refuse_reduced
from ccdflow.errors import FrameError, UserError, is_own_fault
from ccdflow.files import atomic_write
from ccdflow.pages.pictures.camera_proposal import proposal_picture

CAMERAS = Path(__file__).resolve().parents[1] / "config" / "cameras"


def read_hdus(path):
    """Return the headers and the pixels of all HDUs of a file; None for an HDU without an image.

    Raises
    ------
    UserError
        If it cannot be read as FITS.
    """
    try:
        with warnings.catch_warnings():
            # Cards that are not valid FITS are common, and do not affect the pixels.
            warnings.simplefilter("ignore", VerifyWarning)
            with fits.open(path, memmap=False) as hdus:
                images = [hdu.data if hdu.is_image else None for hdu in hdus]
                return [hdu.header for hdu in hdus], images
    except (OSError, TypeError, ValueError) as error:
        if is_own_fault(error):
            raise
        reason = " ".join(str(error).split())
        raise UserError(
            f"cannot be read as FITS: {reason}",
            file=path,
            remedy="give a raw frame, plain, .gz or .fz",
        ) from error


def checked_geometry(proposal, headers, *, file):
    """Return the geometry of the frame by the proposed profile, which must be valid.

    Parameters
    ----------
    proposal : ccdflow.camera.proposing.proposal.Proposal
    headers : list of astropy.io.fits.Header
        One for each HDU.
    file : str
        Name of the frame; named in errors.

    Returns
    -------
    ccdflow.camera.geometry.Geometry

    Raises
    ------
    FrameError
        If the profile does not fit the frame.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{proposal.name}.yaml"
        atomic_write.write_text(path, proposal.yaml)
        return load_camera(path).geometry(headers, file=file)


def new_camera(first_frame, second_frame, *, profile_path, picture_path, cameras=CAMERAS):
    """Propose a profile, write it and its picture, and return lines on the findings.

    Parameters
    ----------
    first_frame : pathlib.Path
    second_frame : pathlib.Path or None
        A second frame. The brighter of the two counts as the flat, the other as the bias.
    profile_path, picture_path : pathlib.Path or None
        The files to write. None for a profile in the current folder, and a picture beside the
        profile.
    cameras : pathlib.Path, optional
        The folder of existing profiles.

    Returns
    -------
    list of str
        Lines for the user.

    Raises
    ------
    UserError
        If the profile exists already, or the frames cannot be read or used.
    """
    headers, images, second_images = _read_raw_frames(first_frame, second_frame)
    proposal = propose(headers, images, other_arrays=second_images, file=first_frame.name)
    is_name_taken = (cameras / f"{proposal.name}.yaml").exists()
    if is_name_taken:
        ny, nx = proposal.images_seen[0].shape
        proposal = replace(proposal, name=f"{proposal.name}_{nx}x{ny}")
    profile_path = profile_path or Path(f"{proposal.name}.yaml")
    picture_path = picture_path or profile_path.with_suffix(".png")
    if profile_path.exists():
        raise UserError(
            "the file exists already", file=profile_path, remedy="give another: out=PROFILE.yaml"
        )
    lines = [f"- {finding}" for finding in proposal.findings]
    if is_name_taken:
        lines.append(
            "- There is a profile of the name without the size: this one is called"
            f" {proposal.name}."
        )
    try:
        checked_geometry(proposal, headers, file=first_frame.name)
    except FrameError as error:
        lines.append(
            f"- As it stands the profile does not fit the frame; correct it: {error.reason}"
        )
    atomic_write.write_text(profile_path, proposal.yaml)
    images_shown = images if second_images is None else brighter_images(images, second_images)
    title = f"Where is the overscan? {first_frame.name}"
    if second_frame is not None:
        title += f" and {second_frame.name}, the brighter shown"
    png = proposal_picture(proposal.images_seen, images_shown, title=title)
    atomic_write.write_whole(picture_path, [png])
    lines += [f"Profile: {profile_path}", f"Picture: {picture_path}"]
    return lines + _lines_on_use(headers, cameras, profile_path, first_frame.name)


def _read_raw_frames(first_frame, second_frame):
    """Return the headers of the first frame, its images, and those of the second one or None."""
    headers, images = read_hdus(first_frame)
    second_images = None
    if second_frame is not None:
        second_headers, second_images = read_hdus(second_frame)
        if [each is None for each in second_images] != [each is None for each in images]:
            raise UserError(
                "the two files do not have the same HDUs",
                file=second_frame,
                remedy="give two frames of one camera",
            )
        refuse_reduced(second_headers, file=second_frame.name)
    refuse_reduced(headers, file=first_frame.name)
    return headers, images, second_images


def _lines_on_use(headers, cameras, profile_path, file):
    """Return the lines on the next step: to move the profile, or to correct an existing one.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        One for each HDU of the frame.
    cameras : pathlib.Path
        The folder of existing profiles.
    profile_path : pathlib.Path
        The new profile.
    file : str
        The frame; named in errors.

    Returns
    -------
    list of str
    """
    if profile_path.resolve().parent == cameras.resolve():
        return []
    try:
        known_path = identify(headers, load_cameras(cameras), file=file).path
    except FrameError as error:
        return [f"Frames of this camera are set aside until you mend it: {error.reason}"]
    if not known_path:
        return [f"Look at both, then move the profile to {cameras}."]
    return [
        f"Runs read these frames by {known_path}: if the new sections are better, write them into"
        " that file, as it has more lines than these."
    ]


def brighter_images(first_images, second_images):
    """Return the brighter image of each pair.

    Parameters
    ----------
    first_images, second_images : sequence of (numpy.ndarray of shape (ny, nx), any type, or None)
        Images of two files; None for the same HDUs of both.

    Returns
    -------
    list of (numpy.ndarray of shape (ny, nx), any type, or None)
    """
    return [
        first_image
        if first_image is None or np.nanmedian(first_image) >= np.nanmedian(second_image)
        else second_image
        for first_image, second_image in zip(first_images, second_images, strict=True)
    ]


def parse(arguments=None):
    """Return the parsed command line."""
    parser = command_lines.parser(__doc__, names=("out", "picture"))
    for name in ("out", "picture"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    options = command_lines.parse_arguments(parser, arguments)
    for name in options.names:
        value = options.settings_given.get(name, getattr(options, name))
        setattr(options, name, value and Path(value))
    return options


def run(options):
    """Propose a profile for the frames of the command line, and return the lines on it.

    Raises
    ------
    UserError
        If not one or two frames are given.
    """
    if len(options.words) not in (1, 2):
        raise UserError(
            "one or two frames are needed",
            keyword="FRAME",
            value=" ".join(options.words) or "none",
            allowed="one or two frames",
            remedy="name a bias and a flat, or one of them",
        )
    first_frame = Path(options.words[0])
    second_frame = Path(options.words[1]) if len(options.words) == 2 else None
    return "\n".join(
        new_camera(
            first_frame, second_frame, profile_path=options.out, picture_path=options.picture
        )
    )


def main(arguments=None):
    """Run the command line and return its exit status."""
    return command_lines.run(run, parse, arguments)


if __name__ == "__main__":
    sys.exit(main())
