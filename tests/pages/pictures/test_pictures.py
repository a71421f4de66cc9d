"""Pictures: the colours and places of pixels drawn, memory, and threads that draw at once."""

import io
import math
import threading
import weakref
from inspect import signature
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from refusals import refusal_of

from ccdflow.errors import UserError
from ccdflow.pages.pictures import (
    before_after,
    combined_picture,
    matplotlib_figure,
    step_picture,
    style,
)
from ccdflow.pages.pictures import trend_picture as trends
from ccdflow.pages.pictures.ageing_picture import ageing_picture
from ccdflow.pages.pictures.before_after import before_after_picture
from ccdflow.pages.pictures.bias_picture import AmplifierNight, night_quality_picture
from ccdflow.pages.pictures.combined_picture import CombinedBiasValues, combined_bias_picture
from ccdflow.pages.pictures.coverage_picture import coverage_picture
from ccdflow.pages.pictures.frame_content import FrameImages, OverscanStrip
from ccdflow.pages.pictures.image_rows import image_rows
from ccdflow.pages.pictures.night_axis import positions_of_nights
from ccdflow.pages.pictures.raster import Raster
from ccdflow.pages.pictures.trend_picture import TrendPoint, trend_picture

NY, NX, DATA = 240, 100, 68
LEVEL, NOISE = 1140.0, 6.0
LEAK = (300.0, 60.0, 12.0)
HEADLINE = 50  # pixels that a headline of one line takes, to half of one


def frame(*, kind="flat", light=5000.0, **changes):
    """Simulate a frame of 68 image and 32 overscan columns, the first three with leaked light."""
    rng = np.random.default_rng(20160116)
    raw = rng.normal(LEVEL, NOISE, (NY, NX))
    raw[:, :DATA] += light
    raw[:, DATA : DATA + 3] += np.array(LEAK) * (light > 0)
    raw = np.round(raw).astype(np.uint16)
    reduced = (raw[:, :DATA] - np.median(raw[:, 75:], axis=1)[:, None]).astype(np.float32)
    values = {
        "name": "ccd.014.0.fits.gz",
        "image_type": kind,
        "raw": raw,
        "reduced": reduced,
        "strips": (OverscanStrip((0, NY, 75, NX)),),
        "data": ((0, NY, 0, DATA),),
        "header_biassec": "[69:100,1:239]",
        "header_region": (0, 239, DATA, NX),
    }
    return FrameImages(**(values | changes))


def transpose_frame(upright):
    """Turn a frame so that its overscan lies in rows above the image."""
    turn = [(x0, x1, y0, y1) for y0, y1, x0, x1 in (upright.strips[0].region, upright.data[0])]
    return FrameImages(
        name=upright.name, image_type=upright.image_type,
        raw=upright.raw.T, reduced=upright.reduced.T,
        strips=(OverscanStrip(turn[0]),), data=(turn[1],), along="columns",
    )  # fmt: skip


def combined_panels(**changes):
    rng = np.random.default_rng(5)
    image = rng.normal(0.5, 2.0, (70, 110)).astype(np.float32)
    values = {"name": "bias.fits", "image": image, "n_members": 6, "noises": (2.0,)}
    values["predicted_noises"] = (1.9,)
    return CombinedBiasValues(**(values | changes))


def amplifiers(number=2, **changes):
    values = {
        "hours": (1.0, 2.5, 6.0),
        "levels": (949.0, 949.5, 948.0),
        "pair_noise": (3.9, 4.1),
        "claimed_noise": 3.7,
        "row_structure": 0.2,
        "column_structure": 0.3,
        "row_error": 0.1,
        "column_error": 0.2,
        "combined_noise": ((3, 2.3),),
    }
    return [AmplifierNight(f"amp{each}", **(values | changes)) for each in range(number)]


def trend():
    return [
        TrendPoint(night, "lfc", amplifier, 1140.0 + day, 10.0, 1.02)
        for day, night in enumerate(("2016-01-16", "2016-01-17", "2016-03-02"))
        for amplifier in ("A", "B")
    ]


def pixels(png):
    image = Image.open(io.BytesIO(png))
    return np.asarray(image.convert("RGB")).astype(int)


def count(png, colour):
    return int(like(pixels(png), colour).sum())


def part(png, left, top, width, height):
    """Pixels of a region of a picture, in inches from its left edge and from below the headline."""
    y0, y1, x0, x1 = (round(110 * each) for each in (top, top + height, left, left + width))
    return pixels(png)[y0 + HEADLINE : y1 + HEADLINE, x0:x1]


def like(colours, colour):
    """Return the mask of pixels of a colour, within the error of a palette of 256 colours."""
    wanted = np.array([round(255 * each) for each in to_rgb(colour)])
    return np.abs(colours - wanted).max(axis=-1) <= 6


def drawn_pixels(png, box, shape):
    """Colours at the centres of the pixels of an image (ny, nx) that is drawn in a box."""
    inside = part(png, *box)
    ny, nx = shape
    rows = ((ny - 0.5 - np.arange(ny)) * inside.shape[0] / ny).astype(
        int
    )  # the first is the lowest
    columns = ((np.arange(nx) + 0.5) * inside.shape[1] / nx).astype(int)
    return inside[rows][:, columns]


def chunks(png):
    names, at = [], 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        names.append(png[at + 4 : at + 8].decode())
        at += 12 + length
    return names


DRAWINGS = {
    "overview": lambda: before_after_picture([frame(), frame(kind="bias", light=0.0)]),
    "combined": lambda: combined_bias_picture(combined_panels()),
    "quality": lambda: night_quality_picture(amplifiers(), title="night"),
    "trend": lambda: trend_picture(trend(), highlight="2016-01-17"),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_same_values_give_the_same_bytes_whatever_the_user_has_set(name):
    first = DRAWINGS[name]()
    with matplotlib.rc_context({"font.size": 23, "savefig.dpi": 33, "axes.facecolor": "red"}):
        assert DRAWINGS[name]() == first
        assert matplotlib.rcParams["font.size"] == 23
    assert set(chunks(first)) == {"IHDR", "PLTE", "pHYs", "iTXt", "IDAT", "IEND"}  # no time
    assert pixels(first).shape[1] == 1320


def test_threads_that_draw_at_once_give_the_bytes_of_one_alone():
    alone = {name: DRAWINGS[name]() for name in ("trend", "overview", "quality")}
    drawings = []
    threads = [
        threading.Thread(target=lambda name=name: drawings.append((name, DRAWINGS[name]())))
        for name in list(alone) * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(drawings) == 6
    assert all(alone[name] == png for name, png in drawings)


def test_arrays_handed_to_a_picture_are_not_changed():
    given = frame()
    bias = combined_panels()
    arrays = (given.raw, given.reduced, bias.image)
    before = [array.tobytes() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    before_after_picture([given])
    combined_bias_picture(bias)
    assert [array.tobytes() for array in arrays] == before


BAND = "#ddece6"


def test_the_used_overscan_is_marked_and_nothing_where_none_was_used():
    assert count(before_after_picture([frame()]), BAND) > 5000
    assert count(before_after_picture([frame(strips=())]), BAND) == 0


def test_the_headers_section_is_marked_only_where_another_was_used():
    assert count(before_after_picture([frame()]), before_after.CLAIMED_COLOUR) > 200
    same = frame(header_biassec="[76:100,1:240]", header_region=(0, NY, 75, NX))
    assert count(before_after_picture([same]), before_after.CLAIMED_COLOUR) == 0


@pytest.mark.parametrize(
    "raw",
    [
        np.full((40, 30), np.nan),
        np.full((40, 30), 7, dtype=">i2"),
        np.where(np.eye(40, 30) > 0, np.nan, 5.0),
        np.add.outer(np.arange(40) ** 2, np.arange(30)).astype(">f4"),
    ],
    ids=["all NaN", "constant, big-endian", "some NaN", "rising, big-endian"],
)
def test_pixels_of_every_sort_are_drawn(raw):
    """Each pixel is at its place, the first row lowest; pixels that are not finite are blank."""
    strips, data = (OverscanStrip((0, 40, 22, 30)),), ((0, 40, 0, 20),)
    given = frame(
        raw=raw, reduced=raw[:, :20] * 1.0, strips=strips, data=data, header_biassec="",
        header_region=None,
    )  # fmt: skip
    png = before_after_picture([given])
    assert pixels(png).shape[1] == 1320
    tall = 2.5 * 40 / 30
    for image, box in ((raw, (0.75, 0.55, 2.5, tall)), (raw[:, :20], (4.4, 0.55, tall / 2, tall))):
        colours = drawn_pixels(png, box, image.shape)
        finite = np.isfinite(image)
        np.testing.assert_array_equal(like(colours, style.FAINT_INK), ~finite)
        light = colours.sum(axis=2).mean(axis=1)
        if np.unique(image[finite]).size <= 1:
            assert len(np.unique(colours[finite], axis=0)) <= 1
        else:
            assert (np.diff(light) >= -6).all()
            assert light[-1] - light[0] > 400
    profile = part(png, 8.35, 0.85, 3.4, 3.0)
    if np.isnan(raw).all():
        assert count(png, BAND) == 0
        assert like(profile, pixels(png)[0, 0] / 255).mean() > 0.97  # a sentence, no panel
    else:
        assert like(profile, BAND).mean() > 0.2
        assert (profile.sum(axis=2) < 400).any(axis=0).mean() > 0.9  # the line goes across


def test_a_value_off_scale_has_its_column(monkeypatch):
    """The text may stand over another part: the first columns of a strip are narrow."""
    texts, write = [], Raster.draw_text

    def note(self, x, y, text, *rest, **more):
        texts.append(text)
        return write(self, x, y, text, *rest, **more)

    monkeypatch.setattr(Raster, "draw_text", note)
    leak = frame(light=1e-6)
    for given, line in ((leak, "column 69"), (transpose_frame(leak), "row 69")):
        texts.clear()
        before_after_picture([given])
        place = texts.index("off scale:")
        assert texts[place + 2] == line
        value, unit = texts[place + 1].split(maxsplit=1)
        assert unit == "adu in"
        assert float(value) == pytest.approx(LEVEL + LEAK[0], abs=2)


def test_overscan_of_other_shapes_is_drawn():
    upright = frame()
    turned = transpose_frame(upright)
    strips = (OverscanStrip((0, NY, 0, 10), "L"), OverscanStrip((0, NY, 90, NX), "R"))
    sides = frame(strips=strips, data=((0, NY, 10, DATA),))
    quadrants = frame(
        strips=(OverscanStrip((0, 99, 80, NX), "low"), OverscanStrip((99, NY, 80, NX), "high"))
    )
    drawn = [before_after_picture([given]) for given in (upright, turned, sides, quadrants)]
    assert len(set(drawn)) == 4
    assert all(count(png, BAND) > 2000 for png in drawn)


def test_a_picture_takes_its_frames_one_by_one():
    alive = []

    def frames():
        for light in (0.0, 10.0, 5000.0):
            given = frame(light=light)
            alive.append(weakref.ref(given.raw))
            assert sum(ref() is not None for ref in alive) <= 2
            yield given
            del given

    assert before_after_picture(frames()).startswith(b"\x89PNG")


def test_more_frames_than_can_be_drawn_are_not_drawn(monkeypatch):
    monkeypatch.setattr(before_after, "MOST_FRAMES", 2)
    two, three = before_after_picture([frame()] * 2), before_after_picture([frame()] * 3)
    assert two != three  # the third says that there were three
    assert abs(pixels(two).shape[0] - pixels(three).shape[0]) < 40


def test_names_that_no_font_has_are_drawn_as_escapes():
    name = "a $x_{1$ \\frac\n\udcff名.fits"
    assert style.drawable_text(name) == "a $x_{1$ \\frac\\n\\udcff\\u540d.fits"
    given = frame(name=name, header_biassec="[\n$:_", header_region=None)
    assert before_after_picture([given]).startswith(b"\x89PNG")
    assert combined_bias_picture(combined_panels(name=name)).startswith(b"\x89PNG")


def test_a_picture_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no frame to draw"):
        before_after_picture([])
    with pytest.raises(ValueError, match="no amplifier"):
        night_quality_picture([], title="night")
    with pytest.raises(ValueError, match="no night"):
        trend_picture([])
    with pytest.raises(UserError, match=r"bias\.fits: .*no finite pixel"):
        combined_bias_picture(combined_panels(image=np.full((4, 5), np.nan)))


def test_the_picture_of_a_combined_bias_has_its_noise_and_the_prediction():
    sentence = combined_picture.combined_sentence(
        combined_panels(rejected_fraction=0.00012, recipe="average")
    )
    assert "6 biases combined (average)" in sentence
    assert "noise of a pixel 2.00 adu, predicted from the read noise 1.90 adu" in sentence
    assert "0.012 % of the values rejected" in sentence


@pytest.mark.parametrize("step", [0.05, 0.1, 0.25, 1.0])
def test_bins_hold_as_many_possible_values_as_their_neighbours(step):
    """Means of ten whole numbers: bins of other widths would make a comb of a smooth curve."""
    values = np.arange(-60, 61) * step
    clipped = np.arange(-60, 61) * step * 10 / 9
    edges = combined_picture.bin_edges(np.concatenate([np.repeat(values, 20), clipped]), 0.02, 5.4)
    counts, _ = np.histogram(values, edges)
    inside = counts[np.abs((edges[1:] + edges[:-1]) / 2) < min(5.4, values[-1]) - 0.5 - step]
    assert len(set(inside)) == 1
    assert 10 <= len(edges) <= 130


def test_bins_of_values_without_a_step_are_sixty():
    values = np.random.default_rng(1).normal(0, 0.9, 20_000)
    edges = combined_picture.bin_edges(values, 0.0, 5.4)
    np.testing.assert_allclose(edges, np.linspace(-5.4, 5.4, 61), atol=1e-9)


@pytest.mark.parametrize(
    ("shape", "boxes"),
    [
        ((110, 70), ((0.75, 2.7, 4.24), (5.2, 6.6, 1.15), (5.2, 6.6, 1.15), (5.2, 6.6, 1.15))),
        ((60, 200), ((0.75, 4.3, 1.55), (0.75, 4.9, 2.0), (6.9, 4.9, 2.0), (6.9, 4.9, 2.1))),
    ],
    ids=["tall", "wide"],
)
def test_tall_and_wide_combined_biases_are_drawn(shape, boxes):
    """The lower right quarter is bright: in the image, and in the lines along rows and columns."""
    image = np.random.default_rng(2).normal(size=shape)
    image[: shape[0] // 2, shape[1] // 2 :] += 30
    png = combined_bias_picture(
        combined_panels(image=image, noises=(), predicted_noises=(math.nan,))
    )
    tops = (0.35, 0.35, 2.22, 4.1) if shape[0] > shape[1] else (0.35, 3.37, 3.37, 0.35)
    picture, by_column, by_row, spread = (
        part(png, left, top, *size) for (left, *size), top in zip(boxes, tops, strict=True)
    )
    low, right = picture.shape[0] // 2, picture.shape[1] // 2
    light = picture.sum(axis=2)
    for dark in (light[:low, :right], light[:low, right:], light[low:, :right]):
        assert light[low:, right:].mean() - dark.mean() > 400
    for panel, rises in ((by_column, True), (by_row, False)):
        marked = panel[..., 2] - panel[..., 0] > 40  # blue
        assert marked.any(axis=0).mean() > 0.9
        left, right = (
            np.nonzero(half)[0].mean() for half in np.array_split(marked, 2, axis=1)
        )  # rows of the picture, from above
        assert abs(left - right) > 0.4 * panel.shape[0]
        assert (left > right) == rises
    marked = spread[..., 2] - spread[..., 0] > 40
    assert 0.05 < marked.mean() < 0.5
    assert marked[-20:-5].any(axis=1).all()  # bars stand on the axis


def test_figures_that_are_missing_leave_their_panel_empty():
    bare = night_quality_picture([AmplifierNight()], title="night")
    full = night_quality_picture(amplifiers(), title="night")
    assert count(full, style.SERIES[0]) > 40  # the second lies upon most of it
    assert count(bare, style.SERIES[0]) == 0


def test_many_amplifiers_are_drawn():
    """Two bars for each amplifier, of its colour and as long as its structure."""
    two, nine = (night_quality_picture(amplifiers(n), title="night") for n in (2, 9))
    assert pixels(two).shape[1] == pixels(nine).shape[1] == 1320
    # Half an inch for the bars, one more line for the sentence on colours.
    assert pixels(nine).shape[0] - pixels(two).shape[0] == pytest.approx(110 * (0.5 + 0.17), abs=2)
    bars = part(nine, 1.65, 3.45, 4.1, 2.7)
    for number in range(9):
        colour = 0.4 + 0.6 * np.array(to_rgb(style.SERIES[number % 8]))
        for place, value in ((2 * number, 0.2), (2 * number + 1, 0.3)):
            rows = np.array([place + 0.3, place + 0.9]) / 18.2 * len(bars)
            marked = like(bars[slice(*rows.astype(int))], colour).mean(axis=1)
            assert marked.max() == pytest.approx(value / (1.15 * 0.5), abs=0.02)


def test_many_nights_are_drawn():
    """Each line across its panel at its height, in its colour; a panel without values is empty."""
    points = [
        TrendPoint(f"night {number}", "cam", f"amp{number % 9}", 1.0, math.nan, 2.0)
        for number in range(300)
    ]
    png = trend_picture(points)
    assert pixels(png).shape[:2] == (pytest.approx(110 * (0.45 + 6.4 + 0.2 + 0.17), abs=1), 1320)
    levels, noises, ratios = (part(png, 0.75, 0.35 + 2.05 * n, 11.05, 1.35) for n in range(3))
    # The levels lie low: the legend has the upper half of their panel.
    for panel, height in ((levels, 0.22), (ratios, 0.78)):
        for colour in style.SERIES:
            rows, columns = np.nonzero(like(panel, colour))
            assert np.ptp(columns) > 0.85 * panel.shape[1]
            assert 1 - np.median(rows) / len(panel) == pytest.approx(height, abs=0.03)
    assert not any(like(noises, colour).any() for colour in style.SERIES)
    assert like(noises, "#ffffff").mean() > 0.9


def test_nights_that_are_dates_lie_at_their_days():
    assert list(positions_of_nights(["2016-01-16", "2016-01-18"]).values()) == [735979.0, 735981.0]
    assert list(positions_of_nights(["2016-01-16", "run 3"]).values()) == [0.0, 1.0]


def test_fonts_are_open_for_the_thread_that_draws_alone():
    # All live at once: a thread may have the number of one that has ended.
    barrier, counts = threading.Barrier(3), []

    def work():
        barrier.wait()
        with matplotlib_figure.drawing():
            figure, _ = matplotlib_figure.new_figure("a title", "an explanation", height=1)
            matplotlib_figure.png_bytes(figure)
            handles = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
            counts.append(sum(path.readlink().suffix == ".ttf" for path in handles))
        barrier.wait()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(counts)) == 1
    assert counts[0] > 0


def test_the_curve_of_noise_stands_on_the_peak_of_the_pixels():
    rng = np.random.default_rng(5)
    values = rng.normal(100.0, 2.0, 20000)
    values[:8000] += rng.exponential(20.0, 8000)
    assert np.median(values) > 101.0
    assert combined_picture.middle_of_noise(values, np.median(values), [2.0]) == pytest.approx(
        100, abs=0.5
    )


def test_legends_over_the_nights_have_units(monkeypatch):
    labels = []
    for module in (trends, step_picture):
        monkeypatch.setattr(
            module, "legend", lambda axes: labels.extend(axes.get_legend_handles_labels()[1])
        )
    points = [TrendPoint(f"2024-01-0{n}", "cam", "A", 950.0, 3.0) for n in (1, 2)]
    trend_picture(points)
    gains = step_picture.AmplifierLine("A", {"2024-01-01": 1.2, "2024-01-02": 1.2})
    step_picture.step_picture([step_picture.FigurePanel("gain", "e-/adu", (gains,))])
    assert labels == ["A: 950.0 adu", "A: 1.2 e⁻/adu"]


def test_a_combined_bias_without_a_value_has_no_picture():
    image = np.full((70, 110), np.nan, np.float32)
    assert refusal_of(combined_bias_picture, combined_panels(image=image)) == (
        UserError,
        "bias.fits: the combined bias has no finite pixel; look at its frames: all their pixels "
        "are NaN or infinite",
    )


@pytest.mark.parametrize(
    ("draw", "nothing"),
    [
        (ageing_picture, "there are no masters to compare"),
        (before_after_picture, "there is no frame to draw"),
        (image_rows, "there is no image to draw"),
        (night_quality_picture, "there is no amplifier to draw"),
        (step_picture.step_picture, "there is no night to draw"),
        (trend_picture, "there is no night to draw"),
    ],
)
def test_a_picture_of_nothing_is_an_error(draw, nothing):
    """A page without its subject has no picture: an empty one would pass for a finding."""
    texts = {name: "x" for name in ("title", "explanation") if name in signature(draw).parameters}
    with pytest.raises(ValueError, match=f"^{nothing}$"):
        draw([], **texts)


@pytest.mark.parametrize(
    ("nights", "labels", "nothing"),
    [
        ([], ["bias"], "there is no night to draw"),
        (["2024-03-01"], [], "there is no kind of frame to draw"),
    ],
)
def test_a_matrix_without_rows_or_columns_is_an_error(nights, labels, nothing):
    with pytest.raises(ValueError, match=f"^{nothing}$"):
        coverage_picture(nights, labels, {}, title="x", explanation="x")
