"""Frames and options that cannot be combined: the whole line."""

from dataclasses import replace

import numpy as np
import pytest
from refusals import refusal_of

from ccdflow.combine.combine_recipe import CombineRecipe
from ccdflow.combine.flats import normalise_flat
from ccdflow.combine.member_reader import Member, member_of_file
from ccdflow.combine.preparation import SubtractedTerm
from ccdflow.combine.stack import CombineOptions, check_members, combine
from ccdflow.errors import DamagedProduct, FrameError, UserError
from ccdflow.mask_bits import SATURATED

SHAPE = (5, 7)


@pytest.fixture
def members(tmp_path):
    """Three members of 5 x 7 pixels with the values 10, 11 and 12."""
    made = [Member(tmp_path / f"{n}.pixels", 0, SHAPE) for n in range(3)]
    for number, member in enumerate(made):
        np.full(SHAPE, 10 + number, ">f4").tofile(member.path)
    return made


def test_zero_members_and_too_many_are_refused():
    assert refusal_of(check_members, []) == (
        UserError,
        "there is nothing to combine; allowed: one frame or more; name the reduced frames to "
        "combine",
    )
    many = [Member("a.fits", 0, SHAPE)] * 32768
    assert refusal_of(check_members, many) == (
        UserError,
        "frames: too many frames in one group (found 32768); allowed: up to 32767; combine fewer "
        "at a time",
    )


def test_an_unknown_pixel_type_is_refused():
    assert refusal_of(check_members, [Member("a.fits", 0, SHAPE, "<f4")]) == (
        UserError,
        "a.fits: dtype: unknown pixel type (found '<f4'); allowed: '>f4' or '>f8'; give reduced "
        "frames, or convert the pixels to 32 bit floating point",
    )


@pytest.mark.parametrize(
    ("other", "line"),
    [
        ((">f4", (4, 7)), "shape: the shape differs from {} (found (4, 7)); allowed: (5, 7)"),
        ((">f8", SHAPE), "dtype: the pixel type differs from {} (found '>f8'); allowed: >f4"),
    ],
)
def test_members_that_differ_are_refused(other, line):
    dtype, shape = other
    members = [Member("a.fits", 0, SHAPE), Member("b.fits", 0, shape, dtype)]
    assert refusal_of(check_members, members) == (
        UserError,
        f"b.fits: {line.format('that of a.fits')}; combine frames of one camera, window and "
        "binning only",
    )


def test_zero_threads_are_refused(members):
    assert refusal_of(combine, members, options=CombineOptions(0)) == (
        UserError,
        "threads: the number of threads is too small (found 0); allowed: 1 or more;"
        " give the number of cores to use",
    )


@pytest.mark.parametrize("source", [True, False, "poisson"])
def test_an_unknown_source_of_the_uncertainty_is_refused(source):
    assert refusal_of(CombineOptions, uncertainty_source=source) == (
        UserError,
        f"uncertainty_source: unknown source of the uncertainty (found {source!r}); allowed:"
        " 'scatter', 'noise' or None; give one of these",
    )


def test_an_unknown_source_of_the_clipping_limit_is_refused():
    assert refusal_of(CombineRecipe, clip_by="sigma") == (
        UserError,
        "clip_by: unknown source of the clipping limit (found 'sigma'); allowed: 'auto', "
        "'noise', 'mad' or 'std'; give auto, which chooses by the number of frames, if in doubt",
    )


def test_factors_of_masters_are_a_finite_number_for_each_frame(members):
    pixels = np.ones(SHAPE, np.float32)
    assert refusal_of(combine, members, subtracted_terms=[SubtractedTerm(pixels, [1.0, 2.0])]) == (
        UserError,
        "factors: 2 values for 3 frames (found 2); allowed: 3; give one for each frame",
    )
    assert refusal_of(
        combine, members, subtracted_terms=[SubtractedTerm(pixels, [1.0, np.nan, 1.0])]
    ) == (
        UserError,
        "factors: the factor of a master is not a number (found [1.0, nan, 1.0]); allowed: "
        "finite numbers; give a number for each frame: its exposure over that of the master",
    )


def test_a_flat_without_a_good_pixel_is_refused(members):
    flat = combine(members)
    dark = replace(flat, image=flat.image - 11, mask=np.zeros(SHAPE, np.int16))
    masked = replace(flat, mask=np.full(SHAPE, SATURATED, np.int16))
    for image, level in ((masked, "nan"), (dark, "0.0")):
        assert refusal_of(normalise_flat, [image]) == (
            FrameError,
            f"level: no pixel of the combined flat is good (found {level}); allowed: light; look "
            "at its frames: they may hold no light, or be saturated",
        )


@pytest.mark.parametrize(
    ("content", "error_class", "reason"),
    [
        (
            None,
            FrameError,
            "cannot be combined: it cannot be read (No such file or directory); check that the file"
            " exists, its permissions and its disk",
        ),
        (
            b"hello " * 600,
            DamagedProduct,
            "cannot be combined: not a FITS file; give reduced frames, as ccdflow writes them",
        ),
    ],
)
def test_a_member_that_cannot_be_read_is_refused(tmp_path, content, error_class, reason):
    path = tmp_path / "a.fits"
    if content is not None:
        path.write_bytes(content)
    assert refusal_of(member_of_file, path) == (error_class, f"{path}: {reason}")
