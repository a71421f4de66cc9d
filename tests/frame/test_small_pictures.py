"""Small pictures of frames, made by every way to the same bytes, and the widths of stars."""

from __future__ import annotations

import io
import math
import re
import zlib
from collections import Counter
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.visualization import ZScaleInterval
from PIL import Image
from small_frames import biases, run_jobs, write_raw

from ccdflow import paths
from ccdflow.detector.star_width import star_width
from ccdflow.files import atomic_write
from ccdflow.frame import small_images
from ccdflow.frame.small_images import (
    MOST_SIDE_PIXELS,
    SQUARE_ROWS,
    SmallImage,
    pixels_per_small_pixel,
    small_image,
)
from ccdflow.kinds.reducing.small_pictures import values_and_picture
from ccdflow.kinds.reporting import sheet_tiles
from ccdflow.pages.contents import ShownFrame
from ccdflow.pages.pictures.small_picture import chunks, draw_small_picture, read_picture_values
from ccdflow.pages.sheet import Tile, sheet_section
from ccdflow.pages.time_strip import TimePanel, TimePanels, TimePoint, strip_section
from ccdflow.run.job_records import MADE, REFUSED
from ccdflow.run.nights import archive_counts

RNG = np.random.default_rng(4)


@pytest.mark.parametrize("shape", [(1, 1), (40, 64), (321, 100), (700, 1000), (1000, 333)])
@pytest.mark.parametrize(
    ("block", "read"), [(1, SQUARE_ROWS), (7, 1), (126, SQUARE_ROWS), (126, 1), (5000, SQUARE_ROWS)]
)
def test_a_small_image_is_the_mean_of_its_rows_and_blocks_change_no_bit(shape, block, read):
    frame = RNG.normal(100, 5, shape).astype(np.float32)
    small = SmallImage(shape, read)
    for first in range(0, shape[0], block):
        small.add(first, frame[first : first + block])
    small_one = small.result()
    np.testing.assert_array_equal(small_one, small_image(frame.astype(">f4"), read))
    step = pixels_per_small_pixel(shape)
    assert max(small_one.shape) <= MOST_SIDE_PIXELS
    assert small_one.shape == tuple(math.ceil(length / step) for length in shape)
    offsets = [n * step // min(read, step) for n in range(min(read, step))]
    for y in {0, small_one.shape[0] // 2, small_one.shape[0] - 1}:
        rows = [y * step + each for each in offsets if y * step + each < shape[0]]
        for x in {0, small_one.shape[1] - 1}:
            wanted = frame[rows, x * step : (x + 1) * step].mean(dtype=float)
            assert small_one[y, x] == pytest.approx(wanted, rel=1e-5)


def test_small_images_of_other_numbers_and_of_columns_are_the_same():
    frame = RNG.normal(100, 5, (700, 900)).astype(np.float32)
    wanted = small_image(frame)
    wide = np.repeat(frame, 2, axis=1)
    for other in (frame.astype(">f4"), frame.astype(float), wide[:, ::2], np.asfortranarray(frame)):
        np.testing.assert_array_equal(small_image(other), wanted)


def grey_of(content):
    """Return the greys of a picture's pixels."""
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize(("centre", "noise"), [(0.0, 1.0), (30_000.0, 90.0), (-5.0, 0.02)])
def test_greys_give_the_values_back(centre, noise):
    """To an eleventh of the noise about the sky, and to an eleventh of itself for a star."""
    image = RNG.normal(centre, noise, (60, 50)).astype(np.float32)
    image[10, 20] = centre + 2000 * noise
    image[0, 0] = np.nan
    content = draw_small_picture(image, key="abc", unit="electron")
    shown = read_picture_values(content)
    assert (shown.key, shown.unit, shown.width, shown.height) == ("abc", "electron", 50, 60)
    grey = grey_of(content)[::-1].astype(float)
    assert grey[0, 0] == 0
    steps = shown.low + (grey - 1) / 254 * (shown.high - shown.low)
    values = shown.centre + shown.scale * np.sinh(steps)
    off = np.abs(values - image)[1:]
    allowed = 0.09 * np.hypot(image[1:] - shown.centre, shown.scale) + 1e-3 * noise
    assert (off <= allowed).all()
    assert shown.scale == pytest.approx(noise, rel=0.1)
    assert content == draw_small_picture(image, key="abc", unit="electron")


@pytest.mark.parametrize(("noise", "least", "most"), [(20, 250, 254), (400, 30, 60)])
def test_a_picture_has_more_greys_where_the_noise_is_small_beside_the_light(noise, least, most):
    """Steps of the noise of a sky would be bands in the spectrum of a lamp."""
    image = np.linspace(0, 1000, 64) + np.random.default_rng(1).normal(0, noise, (64, 64))
    greys = np.unique(grey_of(draw_small_picture(image.astype(np.float32), key="k")))
    assert least <= greys.size <= most


def test_zscale_is_that_of_astropy():
    image = RNG.normal(400, 12, (90, 80)).astype(np.float32)
    image += np.linspace(0, 80, 90)[:, None].astype(np.float32)
    image[::13, ::11] += 5000
    low, high = read_picture_values(draw_small_picture(image, key="")).zscale
    wanted = ZScaleInterval(n_samples=7200).get_limits(image)
    assert (low, high) == pytest.approx(wanted, abs=0.05 * (wanted[1] - wanted[0]))


@pytest.mark.parametrize("image", [np.zeros((5, 4)), np.full((5, 4), np.nan), np.eye(1)])
def test_an_image_without_noise_has_its_picture(image):
    content = draw_small_picture(image.astype(np.float32), key="k")
    assert grey_of(content).shape == image.shape
    assert all(
        np.isfinite(each)
        for each in (read_picture_values(content).low, read_picture_values(content).high)
    )


def test_a_picture_that_is_cut_damaged_or_foreign_says_nothing():
    content = draw_small_picture(np.eye(9, dtype=np.float32), key="k")
    assert read_picture_values(content).key == "k"
    for length in range(len(content)):
        assert read_picture_values(content[:length]) is None
    at = content.index(b'"key":"k"') + 7
    assert read_picture_values(content[:at] + b"x" + content[at + 1 :]) is None
    stream = io.BytesIO()
    Image.new("L", (3, 3)).save(stream, "PNG")
    assert read_picture_values(stream.getvalue()) is None


# -- the width of stars ----------------------------------------------------------------------------


def sky(stars, *, fwhm=4.0, shape=(700, 900), long=1.0, flux=4000.0, noise=8.0):
    """A sky with gaussian stars at random places."""
    rng = np.random.default_rng(8)
    image = rng.normal(200, noise, shape)
    y, x = np.ogrid[: shape[0], : shape[1]]
    sigma = fwhm / 2.3548
    for _ in range(stars):
        y0, x0 = rng.uniform(30, np.array(shape) - 30)
        rows, columns = (
            slice(max(int(at - reach), 0), int(at + reach))
            for at, reach in ((y0, 25 * long), (x0, 25))
        )
        off = ((y[rows] - y0) / long) ** 2 + (x[:, columns] - x0) ** 2
        image[rows, columns] += flux * np.exp(-off / (2 * sigma**2))
    return image.astype(np.float32)


@pytest.mark.parametrize("fwhm", [3.0, 4.5, 7.0])
def test_the_width_of_gaussian_stars(fwhm):
    image = sky(40, fwhm=fwhm)
    width, stars = star_width(
        image, step=pixels_per_small_pixel(image.shape), small_image=small_image(image)
    )
    assert width == pytest.approx(fwhm, rel=0.08)
    assert stars >= 15


@pytest.mark.parametrize("fwhm", [3.0, 4.5, 6.0])
@pytest.mark.parametrize("factor", [4, 20])
def test_saturated_stars_do_not_count_to_the_width(fwhm, factor):
    """At half of its cut peak a saturated star is wider, by a factor of 2 in a long exposure."""
    faint, bright = sky(30, fwhm=fwhm), sky(30, fwhm=fwhm, flux=4000.0 * factor, noise=0)[::-1]
    response = np.random.default_rng(3).normal(1, 0.01, faint.shape)
    image = (np.minimum(faint + bright, 6000.0) / response).astype(np.float32)
    options = {"step": pixels_per_small_pixel(image.shape), "small_image": small_image(image)}
    width, stars = star_width(image, **options)
    assert width == pytest.approx(fwhm, rel=0.1)
    assert stars >= 10


def test_stars_with_a_pixel_without_a_value_do_not_count():
    """Each star has a pixel of NaN near its middle, as a bad column or a pattern of hits leaves."""
    image = sky(40, fwhm=4.5)
    options = {"step": pixels_per_small_pixel(image.shape), "small_image": small_image(image)}
    _, stars = star_width(image, **options)
    assert stars >= 15
    image[::5, ::5] = np.nan
    width, stars = star_width(image, **options)
    assert (math.isnan(width), stars) == (True, 0)


def test_a_frame_of_saturated_stars_alone_has_no_width():
    image = np.minimum(sky(30, fwhm=5.0, flux=80_000.0), 6000.0)
    options = {"step": pixels_per_small_pixel(image.shape), "small_image": small_image(image)}
    width, stars = star_width(image, **options)
    assert math.isnan(width)
    assert stars < 3


def test_cosmic_rays_trails_and_an_empty_sky_have_no_width():
    hits = sky(0)
    hits[tuple(RNG.integers(30, 600, (2, 200)))] += 9000
    for image in (hits, sky(0), sky(12, long=4.0)):
        width, stars = star_width(
            image, step=pixels_per_small_pixel(image.shape), small_image=small_image(image)
        )
        assert math.isnan(width)
        assert stars < 3


# -- in a run --------------------------------------------------------------------------------------

PROFILE = """\
recognise: {INSTRUME: TESTCAM}
site: {longitude: 0.0}
amplifiers:
  - {name: A, data: {python: '[:, 0:64]'}, overscan: {python: '[:, 66:]'}, gain: 1.5, read_noise: 6.0}
"""  # noqa: E501
ALL_KINDS = ("frame", "bias", "dark", "flat", "science", "sheet", "page", "index")


def run_of_five_frames(tmp_path, **config):
    """Four biases of another time each, a science frame with stars, and one that is cut."""
    raw = tmp_path / "raw"
    cards = {"INSTRUME": "TESTCAM", "DATE-OBS": "2020-02-29T22:10:00", "CCD-TEMP": -90.5}
    for number, frame in enumerate(biases(5, (200, 72))):
        kind = "BIAS" if number < 4 else "LIGHT"
        more = {"IMAGETYP": kind, "EXPTIME": 0.0 if number < 4 else 30.0, "OBJECT": kind.lower()}
        frame = frame.astype(float)
        if number == 4:
            frame[:, :64] += 60.0
        own = cards | more | {"DATE-OBS": f"2020-02-29T22:1{number}:00"}
        write_raw(raw / f"f{number}.fits", (frame.astype(np.uint16), own))
    (raw / "bad.fits").write_bytes((raw / "f0.fits").read_bytes()[:9000])
    config = {"pictures": {"per_type": 1}, "limits": {"settle": 0}} | config
    return run_jobs(raw, tmp_path / "results", {"test": PROFILE}, kinds=ALL_KINDS, **config)


def test_the_picture_that_a_frames_job_leaves_is_that_of_its_product(tmp_path):
    run = run_of_five_frames(tmp_path)
    folder = run.results / "nights/2020-02-29/frames"
    names = {path.name for path in folder.iterdir()}
    for number in range(5):
        product = f"reduced/f{number}.fits"
        path = run.results / paths.small_picture("2020-02-29", product)
        record = run.context.outcome(product)
        with fits.open(run.results / product) as hdus:
            rows = 1 if number < 4 else SQUARE_ROWS
            small = small_image(hdus[0].data, rows)
            wanted = draw_small_picture(small, key=record.key, rows=rows)
        assert path.read_bytes() == wanted
        names.discard(path.name)
    (left,) = names
    assert left.startswith("calibrated_f4.fits")


def test_without_pictures_there_are_none(tmp_path):
    run = run_of_five_frames(tmp_path, pictures={"per_type": 0})
    assert [path.name for path in (run.results / "nights/2020-02-29").iterdir()] == ["report.html"]
    assert "Contact sheet" not in (run.results / "nights/2020-02-29/report.html").read_text()


def test_the_sheet_marks_odd_frames_and_the_strip_has_drifting_figures(tmp_path):
    text = (run_of_five_frames(tmp_path).results / "nights/2020-02-29/report.html").read_text()
    for panel in ("Bias level", "Noise", "Sky", "Temperature"):
        assert f"<b>{panel}</b>" in text
    assert "Width of stars" not in text
    sky_ = float(text.split("<b>Sky</b> ")[1].split(" adu a second")[0])
    # 60 adu and the slope of 3 adu along the rows, in 30 s.
    assert sky_ == pytest.approx(63 / 30, abs=0.05)
    assert "<b>Temperature</b> −90.5 °C" in text
    marks = re.findall(r'class="mark" title="([^"]*)">([^<]*)<', text)
    assert Counter(word for _, word in marks) == {"warning": 5, "set aside": 1}
    # A grade like those of the other frames of its night is a note, and no mark.
    ((why, grade),) = re.findall(r'class="note" title="([^"]*)">([^<]*)<', text)
    assert grade == "grade C"
    assert "no flat" in why


@pytest.mark.parametrize(
    ("grades", "marked", "noted"),
    [("AAA", "", ""), ("CCC", "", "CCC"), ("AAC", "C", ""), ("BBBC", "C", "BBB"), ("AB", "", "B")],
)
def test_a_grade_is_odd_where_it_is_worse_than_the_nights_usual_one(grades, marked, noted):
    records = [
        SimpleNamespace(status=MADE, data={"grade": grade, "reasons": ["no dark", "old flat"]})
        for grade in grades
    ]
    not_calibrated = [None, SimpleNamespace(status=REFUSED, data={})]
    usual = sheet_tiles.usual_grade([*records, *not_calibrated])
    marks, notes = (
        [entry for record in records for entry in entries_of(record, usual)]
        for entries_of in (sheet_tiles.grade_marks, sheet_tiles.grade_notes)
    )
    assert marks == [(f"grade {grade}", "no dark; old flat") for grade in marked]
    assert notes == [(f"grade {grade}", "no dark; old flat") for grade in noted]


@pytest.mark.parametrize(
    ("second", "words"), [("cam", "science, 30\u00a0s"), ("other", "science, 30\u00a0s, cam")]
)
def test_a_tile_names_its_camera_where_the_night_has_another(second, words):
    frames = [ShownFrame("a.fits", "cam", "science", exptime=30.0), ShownFrame("b", second)]
    has_camera = sheet_tiles.has_several_cameras(frames)
    assert sheet_tiles.tile_caption(frames[0], has_camera=has_camera) == words


@pytest.mark.parametrize(
    ("highest", "saturation", "words"),
    [
        (64_700, None, "a patch of it reaches 65100 adu"),
        # The level of another amplifier was added.
        (65_140, None, "a patch of it reaches 65535 adu"),
        (60_000, 60_000, "a patch of it reaches 60400 adu"),
        (50_000, None, ""),
    ],
)
def test_a_saturated_patch_is_not_above_the_converters_top(highest, saturation, words):
    picture = {"centre": 0.0, "scale": 1.0, "high": math.asinh(highest)}
    levels = {"left": 380.0, "right": 400.0}
    assert sheet_tiles.saturated_patch(picture, levels, [saturation] * 2) == words


def test_a_packed_picture_of_an_earlier_version_is_read(tmp_path):
    content = draw_small_picture(np.eye(40, dtype=np.float32), key="k")
    lines = zlib.decompress(dict(chunks(content))[b"IDAT"])
    head, _, rest = content.partition(b"IDAT")
    packed = b"IDAT" + zlib.compress(lines, 6)
    tail = rest[len(zlib.compress(lines, 0)) + 4 :]
    size = (len(packed) - 4).to_bytes(4, "big")
    old = head[:-4] + size + packed + zlib.crc32(packed).to_bytes(4, "big") + tail
    assert len(old) < len(content) / 4
    assert read_picture_values(old) == read_picture_values(content)
    np.testing.assert_array_equal(grey_of(old), grey_of(content))
    path = tmp_path / paths.small_picture("2024-03-01", "reduced/a.fits")
    atomic_write.write_directly(path, old)
    row = SimpleNamespace(night="2024-03-01", facts={"type": "bias"})
    context = SimpleNamespace(results=tmp_path)
    assert values_and_picture(context, row, "reduced/a.fits", "k") == (
        read_picture_values(content),
        old,
    )


def test_a_frame_of_another_type_has_its_picture_anew(tmp_path):
    """A bias that turns out to be of the sky is drawn of as many rows as in a first run."""
    run = run_of_five_frames(tmp_path)
    (row,) = (each for each in run.context.rows_of("2020-02-29") if each.file == "f1.fits")
    key = run.context.outcome("reduced/f1.fits").key
    of_sky = replace(row, facts={**row.facts, "type": "science"})
    for each, rows in ((row, 1), (of_sky, SQUARE_ROWS), (row, 1)):
        shown, content = values_and_picture(run.context, each, "reduced/f1.fits", key)
        path = run.results / paths.small_picture("2020-02-29", "reduced/f1.fits")
        assert (shown.rows, path.read_bytes()) == (rows, content)


def test_the_overview_shows_the_last_run(tmp_path):
    run = run_of_five_frames(tmp_path)
    text = (run.results / paths.LAST_RUN).read_text()
    assert text.startswith("window.ccdflowLastRun={")
    assert '["reduced frames",5,"new"]' in text
    disk = {top: (files, size) for top, files, size in archive_counts.disk_used(run.context)}
    made = list((run.results / "reduced").iterdir())
    assert disk["reduced"] == (5, sum(path.stat().st_size for path in made))


# -- what the page is handed -----------------------------------------------------------------------


def test_the_strip_has_its_clock_and_scales():
    points = [TimePoint(22.0, 5.0, "bias", "a"), TimePoint(26.0, 9.0, "flat", "b", 1)]
    panel = TimePanel("Level", "adu", "what", tuple(points))
    strip = strip_section([panel, TimePanel("Nothing", "", "", ())]).content
    assert isinstance(strip, TimePanels)
    assert [each.name for each in strip.panels] == ["Level"]
    assert strip.image_types == ("bias", "flat")
    assert [strip.x(point) for point in points] == pytest.approx([19.2, 980.8], abs=0.1)
    assert [strip.y(panel, point) for point in points] == pytest.approx([93.1, 6.9], abs=0.1)
    assert [text for _, text in strip.ticks] == ["22:00", "23:00", "00:00", "01:00", "02:00"]
    assert strip_section([]) is None


@pytest.mark.parametrize(
    ("values", "decimals", "span"),
    [
        ((5.0, 9.0), 9, "5.0 to 9.0"),
        ((1137.3214, 1139.7649), 9, "1137.3 to 1139.8"),
        ((9.9611, 10.0544), 9, "9.96 to 10.05"),
        ((20202.31, 20471.07), 9, "20202 to 20471"),
        ((1.3372, 4.4673), 9, "1.3 to 4.5"),
        ((0.00121, 0.00135), 9, "0.00121 to 0.00135"),
        ((1139.613, 1139.688), 9, "1139.61 to 1139.69"),
        ((-80.45, -80.05), 1, "−80.5 to −80.0"),
        ((-80.46, -80.4599), 1, "−80.5"),
        ((-120.0, -95.0), 1, "−120 to −95"),
        ((1139.61, 1139.6101), 9, "1140"),
        ((2.76,), 9, "2.76"),
        ((20202.31,), 9, "20202"),
        ((0.0, 0.0), 9, "0"),
    ],
)
def test_a_range_has_the_digits_that_distinguish_its_ends(values, decimals, span):
    points = tuple(TimePoint(22.0, value, "science", "a") for value in values)
    assert TimePanel("Width", "pixels", "what", points, decimals).span == span


def test_the_sheet_is_in_the_order_of_time_and_its_data_harm_no_page():
    tiles = [Tile("z</script>.fits", "bias", time="2"), Tile("a.fits", "new", time="1"), Tile("b")]
    section = sheet_section(tiles)
    assert [tile.file for tile in section.content.tiles] == ["a.fits", "z</script>.fits", "b"]
    assert [tile.name for tile in section.content.tiles] == ["a", "script>", "b"]
    assert section.content.n_by_type == (("bias", 1), ("", 1), ("new", 1))
    assert "<" not in section.content.data
    assert asdict(tiles[0])["marks"] == ()


@pytest.mark.parametrize(
    ("shape", "step"),
    [((256, 100), 1), ((257, 100), 2), ((100, 512), 2), ((513, 100), 4), ((1025, 9), 6)],
)
def test_a_small_image_has_256_pixels_along_its_longer_side_at_most(shape, step):
    """Squares of an even side, of which every second row is read."""
    assert small_images.pixels_per_small_pixel(shape) == step
    assert max(shape) <= 256 * step
