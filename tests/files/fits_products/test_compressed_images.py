"""Products of compressed tiles: what astropy reads of them, their headers, checksums and bytes."""

import shutil
import subprocess
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData

from ccdflow.files import checksum
from ccdflow.files.fits_products import compressed_images, quantising
from ccdflow.files.fits_products.hdus import hdu_header
from ccdflow.files.fits_products.multi_image_products import Plane
from ccdflow.files.header_text import CardList

SHAPE = (300, 1000)  # two tiles of 150 rows


def images(seed=4, shape=SHAPE):
    random = np.random.default_rng(seed)
    image = random.normal(800, 25, shape).astype("f4")
    error = np.sqrt(image + 60)
    image[5, 7], image[0, :4] = np.nan, (-3e4, 6e4, 1e7, 0)
    return image, error, (random.random(shape) < 0.01).astype("i2") * 8


ODD_CARD = "ODD     =   1.2.3 / no number".ljust(80)


def planes(shape=SHAPE, *, is_in_first_hdu=True, has_odd_card=True):
    """Planes of an image, its UNCERT and MASK; with the image in the first HDU or the second."""
    cards = CardList()
    cards.set("OBJECT", "M 67")
    cards.set("BUNIT", "electron")
    cards.extend([("ODD", ODD_CARD)] * has_odd_card)

    def plane_of(dtype, cards, name=None, *, is_primary=False):
        pixels = np.broadcast_to(np.zeros((), dtype), shape)
        return Plane(
            lambda words: hdu_header(cards, pixels, words, name=name, is_primary=is_primary),
            shape,
            dtype,
        )

    beside = [plane_of(">f4", CardList(), "UNCERT"), plane_of(">i2", CardList(), "MASK")]
    if is_in_first_hdu:
        return [plane_of(">f4", cards, is_primary=True), *beside]
    empty = Plane(lambda words: hdu_header(cards, None, words, is_primary=True))
    return [empty, plane_of(">f4", cards, "chip1"), *beside]


def write(path, arrays, *, compress, step=50, **about):
    """Write arrays by blocks of rows; return what the writer would read back of the first one."""
    made = planes(arrays[0].shape, **about)
    with_pixels = [plane for plane in made if plane.shape]
    with compressed_images.product_writer(path, made, compress=compress) as writer:
        for plane, array in zip(with_pixels, arrays, strict=True):
            for start in range(0, len(array), step):
                writer.write(plane, array[start : start + step].copy())
        back = writer.read(with_pixels[0], 0, len(arrays[0])) if compress else None
        part = writer.read(with_pixels[0], 120, 140) if compress and len(arrays[0]) > 140 else None
        writer.finish()
    if part is not None:
        assert np.array_equal(part, back[120:140], equal_nan=True)
    assert checksum.datasum_and_key(path)[0] == str(with_pixels[0].word_sum)
    return back


@pytest.mark.parametrize("step", [1, 131, 77, 300])
def test_lossless_tiles_are_the_pixels_bit_by_bit(tmp_path, step):
    arrays = images()
    arrays[0][10, 3] = np.inf
    back = write(tmp_path / "a.fits", arrays, compress="lossless", step=step)
    with fits.open(tmp_path / "a.fits") as hdus:
        plain = compressed_images.hdus_in_plain_order(hdus)
        for hdu, array in zip(plain, arrays, strict=True):
            assert hdu.data.dtype.newbyteorder("=") == array.dtype
            assert hdu.data.astype(array.dtype).tobytes() == array.tobytes()
    assert back.tobytes() == arrays[0].tobytes()


def test_quantised_pixels_are_within_half_a_step_of_a_sixteenth_of_the_noise(tmp_path):
    arrays = images()
    back = write(tmp_path / "a.fits", arrays, compress="quantised")
    with fits.open(tmp_path / "a.fits") as hdus:
        image, error, mask = compressed_images.hdus_in_plain_order(hdus)
        steps = image.header["QUANSTEP"], error.header["QUANSTEP"]
        off = [a.data - b for a, b in zip((image, error), arrays[:2], strict=True)]
        assert steps[0] == pytest.approx(25 / 16, rel=0.05)
        for name, difference, step, stored in zip(
            ("image", "error"), off, steps, (image.data, error.data), strict=True
        ):
            # A pixel of 1e7 has eight digits: its float32 is half a unit off.
            limit = step / 2 * 1.001 + np.spacing(np.abs(stored)) / 2
            assert (np.abs(difference) <= limit)[np.isfinite(difference)].all(), name
            # Uniform within a step, without a mean: dithered.
            good = difference[1:][np.isfinite(difference[1:])]
            assert good.std() == pytest.approx(step / 12**0.5, rel=0.03), name
            assert abs(good.mean()) < 4 * step / 12**0.5 / good.size**0.5, name
        assert (np.isnan(image.data) == np.isnan(arrays[0])).all()
        assert (mask.data == arrays[2]).all()
        # The writer's own reading is the reader's, bit by bit.
        assert np.array_equal(back, image.data, equal_nan=True)


def test_a_tile_that_steps_would_spoil_keeps_its_floats(tmp_path):
    """Tiles without noise, with an infinite value, beyond whole numbers, without any value."""
    random = np.random.default_rng(1)
    arrays = [random.normal(100, 5, (131 * 5, 1000)).astype("f4") for _ in range(2)]
    image = arrays[0]
    image[:131] = 7.25
    image[131:262][3, 3] = np.inf
    image[262:393][3, 3] = 3e12
    image[393:524] = np.nan
    write(tmp_path / "a.fits", [*arrays, np.zeros(image.shape, "i2")], compress="quantised")
    with fits.open(tmp_path / "a.fits") as hdus:
        image_read = compressed_images.hdus_in_plain_order(hdus)[0].data
        assert np.array_equal(image_read[:524], image[:524], equal_nan=True)
        # Half a step. A step is a sixteenth of the noise of 5.
        largest_error = np.abs(image_read[524:] - image[524:]).max()
        assert largest_error == pytest.approx(5 / 16 / 2, rel=0.05)


@pytest.mark.parametrize("compress", ["lossless", "quantised"])
@pytest.mark.parametrize("first", [True, False])
def test_headers_are_those_of_the_plain_file(tmp_path, compress, first):
    arrays = images()
    write(tmp_path / "plain.fits", arrays, compress="", is_in_first_hdu=first)
    write(tmp_path / "packed.fits", arrays, compress=compress, is_in_first_hdu=first)
    assert (tmp_path / "packed.fits").stat().st_size < 0.6 * (
        tmp_path / "plain.fits"
    ).stat().st_size
    own = {"BLANK", "QUANSTEP"} | ({"CHECKSUM", "DATASUM"} if compress == "quantised" else set())
    with fits.open(tmp_path / "plain.fits") as a, fits.open(tmp_path / "packed.fits") as b:
        unpacked = compressed_images.hdus_in_plain_order(b)
        assert len(a) == len(unpacked)
        for hdu, other in zip(a, unpacked, strict=True):
            cards, other_cards = (
                {card.keyword: card for card in h.header.cards} for h in (hdu, other)
            )
            assert set(cards) - own == set(other_cards) - own
            for keyword in set(cards) - own - {"ODD"}:
                assert str(other_cards[keyword]) == str(cards[keyword])
        # A program that reads the headers of first HDUs alone finds the frame there.
        assert b[0].header["OBJECT"] == "M 67"
    assert ODD_CARD.encode() in (tmp_path / "packed.fits").read_bytes()


@pytest.mark.parametrize("compress", [None, "lossless"])
@pytest.mark.parametrize(("rows", "grows"), [(49, False), (50, True)])
def test_an_image_that_is_not_as_foreseen_is_named_with_its_bytes(tmp_path, compress, rows, grows):
    cards = CardList()
    pixels = np.zeros((50, 60), np.float32)

    def header(words):
        for number in range(40 if grows and words else 0):
            cards.set(f"LATER{number}", 1)
        return hdu_header(cards, pixels, words, name="UNCERT")

    made = [Plane(lambda words: hdu_header(CardList(), None, words, is_primary=True))]
    made.append(Plane(header, pixels.shape))
    with compressed_images.product_writer(tmp_path / "a.fits", made, compress=compress) as writer:
        writer.write(made[1], pixels[:rows] + 1)
        sizes = f"{rows * 240} bytes of pixels and {5760 if grows else 2880} of header"
        with pytest.raises(RuntimeError, match=rf"a\.fits, HDU 1: {sizes} were written; 12000 and"):
            writer.finish()
    assert not (tmp_path / "a.fits").exists()


def test_a_card_tells_ds9_that_floats_are_floats(tmp_path):
    """The reader of ds9 takes 4 bytes without ZQUANTIZ for an integer, and shows 1e9 for 1500."""
    write(tmp_path / "a.fits", images(), compress="lossless")
    with fits.open(tmp_path / "a.fits", disable_image_compression=True) as hdus:
        assert [hdu.header.get("ZQUANTIZ") for hdu in hdus[1:]] == ["NONE", "NONE", None]


@pytest.mark.parametrize(
    ("shape", "rows"),
    [
        ((4128, 2048), 96), ((516, 256), 516), ((1024, 1024), 256), ((350, 2048), 70),
        ((1, 9), 1), ((4127, 2048), 1), ((1021, 200), 1021), ((7, 300_000), 1),
    ],
)  # fmt: skip
def test_all_tiles_have_the_same_rows(tmp_path, shape, rows):
    """ds9 8.4 says of any other file that it cannot load it."""
    assert compressed_images.tile_rows(*shape) == rows
    assert shape[0] % rows == 0
    assert rows * shape[1] <= max(2 << 17, shape[1])


@pytest.mark.parametrize("compress", ["lossless", "quantised"])
def test_other_programs_open_a_compressed_image(tmp_path, compress):
    arrays = images()
    arrays[0][262:] = 7.0
    path = tmp_path / "a.fits"
    made = write(path, arrays, compress=compress, has_odd_card=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ccd = CCDData.read(path, hdu=1)
        with fits.open(path, disable_image_compression=True, checksum=True) as hdus:
            tables = [hdu.header["XTENSION"] for hdu in hdus[1:]]
    assert tables == ["BINTABLE"] * 3
    assert (str(ccd.unit), ccd.meta["OBJECT"]) == ("electron", "M 67")
    assert np.array_equal(ccd.data, made, equal_nan=True)
    assert (ccd.mask == (arrays[2] > 0)).all()
    assert np.allclose(ccd.uncertainty.array, arrays[1], rtol=1e-2)


@pytest.mark.skipif(shutil.which("fitsverify") is None, reason="fitsverify is not installed")
@pytest.mark.parametrize("compress", ["lossless", "quantised"])
def test_fitsverify_finds_no_fault_in_a_compressed_image(tmp_path, compress):
    write(tmp_path / "a.fits", images(), compress=compress, has_odd_card=False)
    command = ["fitsverify", "-q", tmp_path / "a.fits"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("verification OK")


def test_the_same_frame_makes_the_same_bytes_and_others_another_dither(tmp_path):
    for name in ("a", "b"):
        for folder in ("one", "two"):
            (tmp_path / folder).mkdir(exist_ok=True)
            write(tmp_path / folder / f"{name}.fits", images(), compress="quantised", step=60)
    a, b, again = (
        (tmp_path / name).read_bytes() for name in ("one/a.fits", "one/b.fits", "two/a.fits")
    )
    assert a == again
    assert a != b


def test_the_random_numbers_are_those_of_the_standard():
    """The standard's check: 10,000 numbers end with the seed 1043618065 (FITS 4.0, appendix I)."""
    seed = 1
    for _ in range(10000):
        seed = seed * 16807 % 2147483647
    assert seed == 1043618065
    assert quantising.randoms()[-1] == np.float32(seed / 2147483647)


def test_rows_are_read_back_once_they_are_written(tmp_path):
    made, (image, *_) = planes(), images()
    with compressed_images.product_writer(tmp_path / "a.fits", made, compress=None) as writer:
        writer.write(made[0], image[:50].copy())
        assert np.array_equal(writer.read(made[0], 10, 50), image[10:50], equal_nan=True)
        last = SHAPE[0]
        with pytest.raises(RuntimeError, match=rf"a\.fits: rows 40 to {last} are not written yet$"):
            writer.read(made[0], 40, last)


def test_nothing_is_left_where_a_frame_fails(tmp_path):
    made = planes()
    with compressed_images.product_writer(tmp_path / "a.fits", made, compress="lossless") as writer:
        writer.write(made[0], images()[0][:50].copy())
        with pytest.raises(RuntimeError, match=r"of header were written; .* were foreseen$"):
            writer.finish()
    assert list(tmp_path.iterdir()) == []
