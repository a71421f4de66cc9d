"""Profiles and section cards from which no geometry can be made: the whole line."""

import numpy as np
import pytest
from camera_headers import four_extensions, geometry, header, profile
from refusals import refusal_of

from ccdflow.camera.sections import read_region
from ccdflow.errors import FrameError, UserError

L_PARTS = 'data: {python: "[:, 0:8]"}, overscan: {python: "[:, 16:18]"}'
R_PARTS = 'data: {python: "[:, 8:16]"}, overscan: {python: "[:, 18:20]"}'


def refused_geometry(tmp_path, amplifiers, *headers):
    """Return the error of a frame of these headers with a profile of these amplifiers."""
    lines = "".join(f"  - {{{amplifier}}}\n" for amplifier in amplifiers)
    camera = profile(tmp_path, f"recognise: {{INSTRUME: PROBE}}\namplifiers:\n{lines}")
    return refusal_of(camera.geometry, list(headers), file="n1/a.fits")


def test_places_of_some_amplifiers_alone_are_refused(tmp_path):
    amplifiers = (
        f'name: L, {L_PARTS}, place: {{fits: "[1:8,1:9]"}}',
        f"name: R, {R_PARTS}",
    )
    assert refused_geometry(tmp_path, amplifiers, header(20, 9)) == (
        FrameError,
        "n1/a.fits: place: some amplifiers have a place and some have none (found 'R'); give "
        "`place` for each amplifier in the camera's profile, or for none",
    )


def test_a_place_of_another_size_than_the_data_is_refused(tmp_path):
    amplifiers = (
        f'name: L, {L_PARTS}, place: {{fits: "[1:7,1:9]"}}',
        f'name: R, {R_PARTS}, place: {{fits: "[9:16,1:9]"}}',
    )
    assert refused_geometry(tmp_path, amplifiers, header(20, 9)) == (
        FrameError,
        "n1/a.fits: place: amplifier L: place and data differ in size (found '7 x 9'); "
        "allowed: 8 x 9; correct `place` or `data` in the camera's profile",
    )


def test_places_that_overlap_are_refused(tmp_path):
    amplifiers = (
        f'name: L, {L_PARTS}, place: {{fits: "[1:8,1:9]"}}',
        f'name: R, {R_PARTS}, place: {{fits: "[8:15,1:9]"}}',
    )
    assert refused_geometry(tmp_path, amplifiers, header(20, 9)) == (
        FrameError,
        "n1/a.fits: place: amplifiers L and R would overlap in the image (found "
        "'[1:8,1:9] and [8:15,1:9]'); allowed: places side by side; give `place` for each in the "
        "camera's profile, or `layout: extensions`",
    )


@pytest.mark.parametrize(
    ("hdu", "line"),
    [
        (
            "",
            "the file has 2 images; allowed: 1; give `hdu:` for amplifier A in the camera's "
            "profile",
        ),
        (
            "hdu: 7, ",
            "hdu: the file has no image in the HDU of amplifier A (found 7); allowed: one of "
            "[1, 2], or its EXTNAME; name an HDU with an image at `hdu:` in the profile",
        ),
        (
            "hdu: [im8, 9], ",
            "hdu: the file has no image in the HDUs of amplifier A (found 'im8, 9'); allowed: "
            "some of [1, 2], or their EXTNAMEs; name HDUs with images at `hdu:` in the profile",
        ),
    ],
)
def test_an_amplifier_without_an_image_of_its_own_is_refused(tmp_path, hdu, line):
    images = (header(20, 9, EXTNAME="im1"), header(20, 9, EXTNAME="im2"))
    refusal = refused_geometry(tmp_path, (f"name: A, {hdu}{L_PARTS}",), header(), *images)
    assert refusal == (FrameError, f"n1/a.fits: {line}")


def test_a_section_card_without_quotes_is_refused():
    image = header(20, 9, BIASSEC=17, TRIMSEC="[1:16,1:9]")
    assert refusal_of(geometry, image) == (
        FrameError,
        "night/a.fits: BIASSEC: the card is there, and is no section in quotes (found 17); "
        "allowed: '[x1:x2,y1:y2]'; give `amplifiers:` with `data` and `overscan` in a profile in "
        "config/cameras (docs/cameras.md; `make new-camera FRAME=file` proposes one)",
    )


def test_a_section_of_the_chip_of_another_size_than_the_data_is_refused():
    headers, _ = four_extensions(np.zeros((10, 14), dtype=int))
    headers[2]["DETSEC"] = "[14:9,1:5]"
    assert refusal_of(geometry, *headers) == (
        FrameError,
        "night/a.fits: DETSEC: amplifier AMP21: the detector section and the data differ in size "
        "(found '[9:14,1:5]'); allowed: 7 x 5 for data [4:10,1:5] binned 1 x 1; give the "
        "amplifiers with their `place` in the camera's profile",
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "- a list\n",
            "the file holds no profile; allowed: keys and their values, `recognise:` among them "
            "(docs/cameras.md); write one, or remove the file",
        ),
        (
            "recognise: {}\n",
            "recognise: not a valid value (found {}); allowed: header cards that all must match, "
            "in any HDU: keyword, then a value, a glob such as 'Hale*', or a list of them; write "
            "an allowed value",
        ),
    ],
)
def test_a_file_that_is_no_profile_is_refused(tmp_path, text, line):
    assert refusal_of(profile, tmp_path, text) == (UserError, f"{tmp_path / 'probe.yaml'}: {line}")


def test_a_region_in_an_unknown_notation_is_refused():
    assert refusal_of(read_region, {"pixels": "x"}, file="lfc.yaml", keyword="data") == (
        UserError,
        "lfc.yaml: data: not a notation of regions (found 'pixels'); allowed: {fits: "
        '"[x1:x2,y1:y2]"} (counts from 1, columns first) or {python: "[y0:y1, x0:x1]"} (counts '
        "from 0, rows first); write one of these",
    )
