"""The mask of ccdproc's ccdmask, every pixel of it: for any image and any of its parameters."""

import warnings

import ccdproc
import numpy as np
import pytest
from astropy.nddata import CCDData
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ccdflow.detector.pixels.ccdmask import ccdmask
from ccdflow.detector.pixels.medians import box_median
from ccdflow.errors import UserError

ODD_LEVELS = (np.nan, np.inf, -np.inf, 0.0, -5.0, 1e30)


def ratio(rng, shape, *, dtype="f4", steps=0.0, odd=0, slope=0.0):
    """Return the ratio of two flats with low and high pixels, bad columns, NaN and infinities."""
    image = rng.normal(1, 0.01, shape) + slope * np.arange(shape[1]) / shape[1]
    for part in (0.9, 0.97, 1.1):
        image.ravel()[rng.integers(0, image.size, 1 + image.size // 300)] *= part
    column = rng.integers(shape[1])
    image[rng.integers(shape[0]) :, column] *= rng.choice([0.0, 0.95, 0.99])
    image[:: rng.integers(2, 8), rng.integers(shape[1])] *= 0.8
    if steps:
        image = np.round(image / steps) * steps
    image.ravel()[rng.integers(0, image.size, odd)] = rng.choice(ODD_LEVELS, odd)
    return image.astype(dtype)


def is_defined(shape, options):
    """Whether no box reaches two lengths of the image beyond its edge.

    There scipy reads what lies before the image in memory, and ccdproc's ccdmask with it: twice the
    same call has two results.
    """
    usual = {"nlmed": 7, "ncmed": 7, "nlsig": 15, "ncsig": 15}
    sizes = {name: options.get(name, size) // 2 for name, size in usual.items()}
    reach = max(sizes["nlmed"], sizes["nlsig"]), max(sizes["ncmed"], sizes["ncsig"])
    return all(far < 2 * length for far, length in zip(reach, shape, strict=True))


def check(image, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = ccdproc.ccdmask(CCDData(image, unit="adu"), **options)
    before = image.copy()
    own = ccdmask(image, **options)
    assert own.dtype == peer.dtype == bool
    assert np.array_equal(own, peer), (image.shape, options, np.argwhere(own != peer)[:5])
    assert np.array_equal(image, before, equal_nan=True)
    return peer


PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "findbadcolumns": st.booleans(), "byblocks": st.booleans(),
        "ncmed": st.integers(1, 12), "nlmed": st.integers(1, 12),
        "ncsig": st.integers(1, 21), "nlsig": st.integers(1, 21),
        "lsigma": st.floats(0, 12), "hsigma": st.floats(0, 12), "ngood": st.integers(0, 9),
    },
)  # fmt: skip
IMAGES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(("f4", "f8", ">f4", ">f8")),
        "steps": st.sampled_from((0.0, 0.01, 0.5)),
        "odd": st.sampled_from((0, 0, 1, 20)),
        "slope": st.sampled_from((0.0, 0.3)),
    }
)
SHAPES = st.tuples(st.integers(1, 48), st.integers(1, 48))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), SHAPES, IMAGES, PARAMETERS)
def test_every_pixel_of_any_image_and_parameters(seed, shape, image, options):
    assume(is_defined(shape, options))
    check(ratio(np.random.default_rng(seed), shape, **image), **options)


@pytest.mark.torture
@settings(max_examples=4000, deadline=None)
@given(st.integers(0, 10**9), SHAPES, IMAGES, PARAMETERS)
def test_every_pixel_of_4000_images(seed, shape, image, options):
    assume(is_defined(shape, options))
    check(ratio(np.random.default_rng(seed), shape, **image), **options)


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("options", [{}, {"findbadcolumns": True}, {"byblocks": True}])
def test_every_pixel_of_an_amplifier(seed, options):
    rng = np.random.default_rng(seed)
    assert check(ratio(rng, (1032, 520), odd=seed, dtype=("f4", "f8")[seed % 2]), **options).any()


def test_images_of_several_tiles_and_whole_numbers():
    rng = np.random.default_rng(1)
    assert check(ratio(rng, (290, 270), dtype="f8", odd=3), findbadcolumns=True).sum() > 100
    check(rng.integers(900, 1100, (30, 40), dtype=np.int32))
    check(np.ones((30, 31), np.float32), lsigma=0, hsigma=0)
    with pytest.raises(UserError, match=r"ccdmask needs an image.*allowed: \(ny, nx\)"):
        ccdmask(np.ones(9))


@pytest.mark.parametrize("size", [(7, 7), (3, 3), (1, 9), (9, 1), (4, 6), (15, 15), (1, 2)])
def test_medians_are_those_of_scipy(size):
    rng = np.random.default_rng(2)
    for shape in ((40, 37), (5, 3), (1, 8)):
        for image in (rng.normal(size=shape), rng.integers(0, 5, shape).astype(np.float32)):
            expected = ndimage.median_filter(image, size=size)
            assert np.array_equal(box_median(image, size), expected)
