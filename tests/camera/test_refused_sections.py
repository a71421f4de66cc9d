"""Cards on the data and overscan of a frame that contradict it: the whole line."""

import pytest
from astropy.io import fits
from camera_headers import geometry, header
from refusals import refusal_of

from ccdflow.camera.sections import parse_fits
from ccdflow.errors import FrameError

REMEDY = (
    "give `amplifiers:` with `data` and `overscan` in a profile in config/cameras "
    "(docs/cameras.md; `make new-camera FRAME=file` proposes one)"
)


def output(number, nx, x, *, prescan=1):
    """Return ESO's cards of an output of `nx` x 9 pixels that is read out at column `x`."""
    values = {"NX": nx, "NY": 9, "PRSCX": prescan, "OVSCX": 1, "X": x, "Y": 1}
    return {f"ESO__DET__OUT{number}__{key}": value for key, value in values.items()}


@pytest.mark.parametrize(
    ("cards", "line"),
    [
        (
            {"TRIMSEC": "[1:17,1:9]", "DATASEC": "[1:16,1:9]", "BIASSEC": "[18:20,1:9]"},
            "TRIMSEC: TRIMSEC keeps pixels that are not in DATASEC (found '[1:17,1:9]'); allowed: "
            "within [1:16,1:9]; ",
        ),
        (
            {"OVERSCAN": 3, "CCDSUM": "2 2"},
            "PRESCAN, OVERSCAN: the frame is binned, and no card says whether overscan columns "
            "count binned pixels (found [0, 3, 0, 0]); ",
        ),
        (
            {"PRESCAN": 17, "OVERSCAN": 3},
            "PRESCAN, OVERSCAN: prescan and overscan leave no science pixels (found "
            "[17, 3, 0, 0]); ",
        ),
        (
            {"ESO__DET__OUTPUTS": 2, **output(1, 7, 1), **output(2, 8, 20)},
            "ESO DET OUT1 NX, NY: prescan, valid pixels and overscan do not add up to the frame "
            "(found [7, 9]); allowed: 8, 9; ",
        ),
        (
            {"ESO__DET__OUTPUTS": 1, **output(1, 18, 1, prescan=-1)},
            "ESO DET OUT1 PRSCX: not a number of columns or rows (found -1); allowed: a whole "
            "number from 0 on; ",
        ),
    ],
)
def test_cards_that_contradict_the_frame_are_refused(cards, line):
    assert refusal_of(geometry, header(20, 9, **cards)) == (
        FrameError,
        f"night/a.fits: {line}{REMEDY}",
    )


def test_outputs_that_do_not_divide_the_frame_are_refused():
    cards = {"ESO__DET__OUTPUTS": 2, **output(1, 8, 1), **output(2, 8, 21)}
    assert refusal_of(geometry, header(21, 9, **cards)) == (
        FrameError,
        "night/a.fits: ESO DET OUTPUTS: the outputs do not divide the frame evenly (found 2); "
        f"{REMEDY}",
    )


def test_outputs_of_another_number_than_the_images_are_refused():
    outputs = output(1, 8, 1) | output(2, 8, 20) | output(3, 8, 20)
    first = header(ESO__DET__OUTPUTS=3, **outputs)
    assert refusal_of(geometry, first, header(10, 9), header(10, 9)) == (
        FrameError,
        "night/a.fits: ESO DET OUTPUTS: the primary header names 3 outputs for 2 images (found "
        f"3); {REMEDY}",
    )


def test_a_range_that_ends_before_it_begins_is_refused():
    ranges = {"S_EFMN11": 17, "S_EFMX11": 1, "S_EFMN12": 1, "S_EFMX12": 9}
    ranges |= {"S_OSMN11": 18, "S_OSMX11": 20, "S_OSMN12": 1, "S_OSMX12": 9}
    image = fits.Header([*header(20, 9).items(), *ranges.items()])
    assert refusal_of(geometry, image) == (
        FrameError,
        "night/a.fits: S_EFMN11: the region is empty (found '17 to 1, 1 to 9'); allowed: first <= "
        f"last, from 1; {REMEDY}",
    )


def test_an_overscan_shorter_than_the_data_is_refused():
    image = header(20, 9, TRIMSEC="[1:16,1:9]", BIASSEC="[17:20,1:4]")
    assert refusal_of(geometry, image) == (
        FrameError,
        "night/a.fits: overscan: amplifier A: the overscan has 4 of the 9 rows of the data (found "
        "'overscan [17:20,1:4], data [1:16,1:9]'); allowed: a strip that spans the data's rows; "
        "give a longer strip in the camera's profile, or `along: frame` for one level",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1:2]", "a FITS section of an image has two ranges"),
        ("[0,0:3]", "the section is empty"),
        ("[0:3,1:2]", "the section is outside the frame: pixels count from 1"),
        ("[*,1:2]", "'*' cannot be used where the size of the frame is not known"),
        ("[1:2,x]", "not a FITS section"),
    ],
)
def test_a_text_that_is_no_section_is_refused(text, problem):
    assert refusal_of(parse_fits, text, file="a.fits", keyword="BIASSEC") == (
        FrameError,
        f"a.fits: BIASSEC: {problem} (found '{text}'); allowed: [x1:x2,y1:y2], counting from 1, "
        "columns first; correct the card, or the region in the camera's profile",
    )
