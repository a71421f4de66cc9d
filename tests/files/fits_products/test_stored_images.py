"""Pixels that are read where they are looked at, without a mapping."""

import errno
import os
import re
from pathlib import Path

import numpy as np
import pytest

from ccdflow.errors import DamagedProduct
from ccdflow.files.fits_products import multi_image_products, stored_images

LIBRARY = Path(__file__).parents[3] / "scripts" / "ccdflow"
INDICES = [
    slice(None), slice(3, 9), slice(None, None, 5), slice(2, 1), slice(-4, None, -1),
    np.array([3, 1, 1, 30]), np.array([], int), (slice(2, 7), slice(1, 4)),
    (np.array([0, 36]), slice(2, None)),
]  # fmt: skip


@pytest.fixture
def image(tmp_path):
    pixels = np.random.default_rng(1).random((37, 23)).astype(">f4")
    (tmp_path / "a.fits").write_bytes(bytes(100) + pixels.tobytes())
    return pixels, stored_images.StoredImage(tmp_path / "a.fits", 100, ">f4", pixels.shape)


@pytest.mark.parametrize("gap", [0, 200, 1 << 15])
def test_parts_are_those_of_the_array(image, gap, monkeypatch):
    """Whether rows are read one by one, some at once, or all."""
    monkeypatch.setattr(stored_images, "_GAP_BYTES", gap)
    pixels, read = image
    for where in INDICES:
        assert read[where].tobytes() == pixels[where].tobytes()
    flat = pixels.ravel()
    for where in (slice(10, 100), slice(840, 900), np.array([5, 800, 7])):
        assert read.ravel()[where].tobytes() == flat[where].tobytes()
    assert np.asarray(read, np.float64).tolist() == pixels.astype(np.float64).tolist()


def test_a_file_that_is_cut_while_it_is_in_use_raises_an_error(image):
    """Under a mapping the process would end."""
    pixels, read = image
    with read.path.open("r+b") as file:
        file.truncate(100 + pixels.nbytes - 4)
    assert read[:36].tobytes() == pixels[:36].tobytes()
    with pytest.raises(DamagedProduct, match="the product is cut"):
        read[36:]
    read.path.unlink()
    with pytest.raises(DamagedProduct, match=r"cannot be read \(No such file"):
        np.asarray(read)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "repair the permissions"),
        (errno.EIO, "check the disk or the network"),
        (errno.EINVAL, "check its permissions and its disk"),
    ],
)
def test_a_product_that_cannot_be_read_has_the_remedy_of_the_error(
    image, monkeypatch, number, remedy
):
    def refuse(*_):
        raise OSError(number, "refused")

    monkeypatch.setattr(os, "preadv", refuse)
    with pytest.raises(DamagedProduct, match="cannot be read") as caught:
        np.asarray(image[1])
    assert caught.value.remedy == remedy
    hdu = multi_image_products.StoredHdu({}, None, 100, (37, 23), ">f4")
    with pytest.raises(DamagedProduct, match="cannot be read") as caught:
        multi_image_products.read_rows(0, hdu, 3, np.empty((2, 23), ">f4"), name="a.fits")
    assert (caught.value.file, caught.value.remedy) == ("a.fits", remedy)


def test_pixels_of_a_file_are_always_copied(image):
    pixels, read = image
    assert np.array(read, copy=True).tobytes() == pixels.tobytes()
    with pytest.raises(ValueError, match="each array of them is a copy"):
        np.asarray(read, copy=False)


def test_nothing_maps_a_file():
    """A page that a disk does not give ends the process (SIGBUS), and all other products."""
    mapping = re.compile(r"memmap\(|memmap=True|mmap\.mmap\((?!-1)")
    opening = re.compile(r"fits\.open\((?!io\.BytesIO|.*memmap=False)")
    lines = [
        f"{path.relative_to(LIBRARY)}: {line.strip()}"
        for path in sorted(LIBRARY.rglob("*.py"))
        if "verify" not in path.parts
        for line in path.read_text().splitlines()
        if mapping.search(line) or opening.search(line)
    ]
    assert any(LIBRARY.rglob("*.py"))
    assert lines == []
