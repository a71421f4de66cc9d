"""Pictures made of pixels: colours that are exact, text, lines, scales and their numbers."""

import ast
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ccdflow.pages.pictures import image_panel, style
from ccdflow.pages.pictures.frame_content import shrink
from ccdflow.pages.pictures.plot_panel import PlotPanel
from ccdflow.pages.pictures.raster import Raster, new_picture, write_heading
from ccdflow.pages.pictures.scales import (
    AsinhScale,
    LinearScale,
    nice_ticks,
    scale_of,
    tick_labels,
    upright_ticks,
)
from ccdflow.pages.rendering import panels_height

PAGES = Path(image_panel.__file__).parent


def pixels_of(raster):
    """Return the colours of a picture's pixels, (ny, nx, 3), as its PNG has them."""
    return np.asarray(Image.open(io.BytesIO(raster.png())).convert("RGB")).astype(int)


def rgb(colour):
    return [int(colour[at : at + 2], 16) for at in (1, 3, 5)]


def test_boxes_have_their_colours_to_the_edge():
    raster = Raster(8, 6, ground="#ffffff")
    raster.fill(2, 1, 5, 4, "#123456")
    raster.outline(0, 0, 8, 6, "#aa0000")
    pixels = pixels_of(raster)
    assert (pixels[2:4, 2:5] == rgb("#123456")).all()
    assert (pixels[[0, -1]] == rgb("#aa0000")).all()
    assert (pixels[:, [0, -1]] == rgb("#aa0000")).all()
    assert (pixels[1:4, 1] == 255).all()
    assert (pixels[4, 1:-1] == 255).all()


def test_a_colour_too_many_is_the_nearest_one():
    raster = Raster(1, 1, ground="#000000")
    for level in range(1, 256):
        raster.colour_number(f"#{level:02x}0000")
    assert raster.colour_number("#100000") == 16
    assert raster.colour_number("#400100") == 64
    raster.fill(0, 0, 1, 1, "#400100")
    assert pixels_of(raster).tolist() == [[rgb("#400000")]]


def test_letters_lie_between_their_colour_and_whatever_ground_they_are_on():
    raster = Raster(200, 40, ground="#ffffff")
    raster.fill(100, 0, 200, 40, "#0000ff")
    raster.draw_text(100, 20, "MMMMMMMM", "#ff0000", points=14, anchor="mm")
    pixels = pixels_of(raster)
    left, right = pixels[:, :100], pixels[:, 100:]
    assert (left == rgb("#ff0000")).all(axis=2).sum() > 100
    assert (right == rgb("#ff0000")).all(axis=2).sum() > 100
    assert (left[..., 1] == left[..., 2]).all()  # from white to red
    assert (left[..., 0] == 255).all()
    assert (right[..., 1] == 0).all()  # from blue to red
    assert (abs(right[..., 0] + right[..., 2] - 255) <= 1).all()


@pytest.mark.parametrize("place", [(-30, 10), (195, 10), (100, -3), (100, 45), (-500, 10)])
def test_text_beyond_the_edge_is_cut(place):
    """In its own place: the same text further in shows the same pixels."""
    raster, wide = Raster(200, 40), Raster(1400, 240)
    raster.draw_text(*place, "some words", style.INK)
    wide.draw_text(place[0] + 600, place[1] + 100, "some words", style.INK)
    np.testing.assert_array_equal(pixels_of(raster), pixels_of(wide)[100:140, 600:800])


def test_upright_text_is_as_tall_as_it_was_wide():
    flat, turned = Raster(200, 200), Raster(200, 200)
    flat.draw_text(100, 100, "row (pixels)", style.INK, anchor="mm")
    turned.draw_text(100, 100, "row (pixels)", style.INK, is_upright=True)
    sizes = []
    for raster in (flat, turned):
        rows, columns = np.nonzero((pixels_of(raster) != rgb(style.PAPER)).any(axis=2))
        sizes.append([np.ptp(rows), np.ptp(columns)])
        assert abs((rows.min() + rows.max()) / 2 - 100) < 2
        assert abs((columns.min() + columns.max()) / 2 - 100) < 2
    assert sizes[0] == sizes[1][::-1]


def test_a_line_goes_through_its_points_and_ends_at_its_box():
    raster = Raster(100, 60, ground="#ffffff")
    raster.polyline([(0, 30), (50, 30), (150, -40)], "#000000", 2, (10, 5, 90, 55))
    pixels = pixels_of(raster)[..., 0]
    assert (pixels[29:31, 12:45] == 0).all()
    assert (pixels[:, :10] == 255).all()
    assert (pixels[:5] == 255).all()
    assert pixels[8, 80] == 0  # half of the way up to (150, -40)


def test_the_same_picture_is_the_same_bytes_without_further_text():
    def draw():
        raster, above = new_picture("Title\n\udcff", "Text " * 60, 2.0)
        write_heading(raster, "x" * 300, 0.15, above, 5.0)
        return raster

    png = draw().png()
    assert png == draw().png()
    pixels = pixels_of(draw())
    assert pixels.shape[1] == 1320
    marked = (pixels[50:80] != rgb(style.PAPER)).any(axis=(0, 2))
    assert marked[17:500].any()
    assert not marked[round(110 * 5.2) :].any()  # the name was shortened


@pytest.mark.parametrize(
    ("low", "high", "most", "whole", "expected"),
    [
        (0.5, 2048.5, 2, True, [1000, 2000]),
        (0.5, 4128.5, 4, True, [1000, 2000, 3000, 4000]),
        (0.5, 3.5, 4, True, [1, 2, 3]),
        (0.5, 1.5, 4, True, [1]),
        (-0.31, 0.29, 6, False, [-0.3, -0.2, -0.1, 0.0, 0.1, 0.2]),
        (-0.31, 0.29, 5, False, [-0.2, 0.0, 0.2]),
        (1139.9991, 1140.0009, 5, False, [1139.9995, 1140.0, 1140.0005]),
        (0, 1e9, 5, False, [0, 5e8, 1e9]),
    ],
)
def test_ticks_are_round_values(low, high, most, whole, expected):
    assert nice_ticks(low, high, most, is_whole=whole) == pytest.approx(expected, abs=1e-12)


def test_ticks_are_few_and_inside_whatever_the_range():
    rng = np.random.default_rng(4)
    for _ in range(300):
        low = rng.normal() * 10.0 ** rng.integers(-6, 7)
        high = low + 10.0 ** rng.uniform(-4, 5)
        most = int(rng.integers(2, 9))
        ticks = nice_ticks(low, high, most)
        assert 1 <= len(ticks) <= most
        assert low - 1e-6 * (high - low) <= min(ticks, default=low)
        assert max(ticks, default=high) <= high + 1e-6 * (high - low)
        assert len(set(tick_labels(ticks))) == len(ticks)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([1000, 2000], ["1000", "2000"]),
        ([-0.5, 0.0, 0.5], ["−0.5", "0.0", "0.5"]),
        ([0.0031, 0.0032], ["0.0031", "0.0032"]),
        ([5e8, 1e9], ["5e+08", "1e+09"]),
        ([2e-9, 4e-9], ["2e−09", "4e−09"]),
        ([], []),
        ([0.0], ["0"]),
    ],
)
def test_numbers_have_the_digits_that_tell_them_apart(values, texts):
    assert tick_labels(values) == texts


def test_a_scale_leaves_out_extremes_and_a_curved_one_keeps_stars():
    values = np.arange(1001.0)
    assert (LinearScale.of(values).low, LinearScale.of(values).high) == (30.0, 960.0)
    assert LinearScale.of(np.full(9, np.nan)) == LinearScale(0.0, 1.0)
    assert LinearScale.of(np.full(9, 7.0)) == LinearScale(6.5, 7.5)
    sky = np.random.default_rng(1).normal(100, 5, 5000)
    sky[:9] = 40_000
    curved = scale_of(sky, "asinh")
    assert curved.high == 40_000
    assert curved.place(np.array([curved.low, 40_000])) == pytest.approx([0, 1])
    assert 0.1 < curved.place(np.array([100.0]))[0] < 0.4  # a straight scale: 0.001
    numbers, texts = curved.ticks()
    assert len(numbers) >= 4
    assert all(curved.low <= number <= curved.high for number in numbers)
    assert len(set(texts)) == len(texts)
    assert isinstance(scale_of(np.full(100, 3.0), "asinh"), LinearScale)
    assert AsinhScale.of(np.arange(9.0)) is None


@pytest.mark.parametrize("level", [0.0, 3.0, -1e9])
def test_equal_values_have_no_scale_that_is_even_about_them(level):
    """Values that differ by rounding alone have none either, even with one other value."""
    values = np.full(1000, level)
    assert AsinhScale.of(values) is None
    values[7] = level + 100
    assert AsinhScale.of(values) is None
    assert AsinhScale.of(level + np.arange(1000.0) * 1e-9 * abs(level)) is None


def test_an_image_of_the_panels_own_size_is_drawn_value_for_value():
    shades = [rgb(each) for each in image_panel.shades()]
    image = np.linspace(0, 1, 220)[:, None] * np.ones((1, 110))
    raster = Raster(400, 400)
    corners = image_panel.draw_image(
        raster, (1.0, 0.5, 1.0, 2.0), shrink(image, 220), "adu", "Image", names_rows=True
    )
    left, top, right, bottom = corners
    assert (left, top, right, bottom) == (110, 55, 220, 275)
    drawn = pixels_of(raster)[top:bottom, left:right][::-1]
    expected = LinearScale.of(image).place(image).clip(0, 1) * 48
    np.testing.assert_array_equal(drawn, np.array(shades)[np.minimum(expected.astype(int), 47)])


def test_a_panel_draws_values_at_their_places():
    raster = Raster(330, 330)
    panel = PlotPanel(raster, (1.0, 1.0, 1.0, 1.0), (0.0, 11.0), (0.0, 11.0))
    panel.band(2, 4, "#00ff00")
    panel.bars(np.array([5.0, 6.0, 7.0]), [3.0, 20.0], "#0000ff")
    panel.curve([0, 9, 9], [np.nan, 0, 5], "#ff0000", 2)
    pixels = pixels_of(raster)
    green, blue, red = (
        np.argwhere((pixels == each).all(axis=2))
        for each in ([0, 255, 0], [0, 0, 255], [255, 0, 0])
    )
    assert green.min(axis=0).tolist() == [110, 130]
    assert green.max(axis=0).tolist() == [219, 149]
    assert blue[blue[:, 1] < 170][:, 0].min() == 190
    assert blue.min(axis=0).tolist() == [110, 160]
    assert len(red) > 10
    assert red.min(axis=0).tolist() == [170, 199]
    assert red.max(axis=0).tolist() == [219, 200]


@pytest.mark.parametrize("words", ["a line", "many words " * 40])
def test_a_narrow_window_cuts_off_the_text_below_the_panels_and_no_more(words):
    picture, _ = new_picture("a title", words, 1.0)
    empty, _ = new_picture("a title", "", 1.0)
    assert panels_height(empty.png()) == empty.pixels.shape[0]
    kept = panels_height(picture.png())
    ink = np.argwhere((pixels_of(picture) != rgb(style.PAPER)).any(axis=2))[:, 0]
    # The title's letters end in the first half inch; all others are those of the text.
    text = ink[ink > style.pixels(0.5)]
    assert kept <= text.min() < kept + style.pixels(0.17)
    assert kept >= style.pixels(0.45 + 1.0)


def test_the_pictures_of_a_night_do_not_load_matplotlib():
    """The import takes as long as all the drawing: only pictures of many nights need it."""
    wanted = {
        "before_after", "image_rows", "combined_picture", "bias_picture", "coverage_picture",
    }  # fmt: skip
    done = set()
    while wanted:
        name = wanted.pop()
        done.add(name)
        for node in ast.walk(ast.parse((PAGES / f"{name}.py").read_text("utf-8"))):
            if not isinstance(node, ast.ImportFrom | ast.Import):
                continue
            module = getattr(node, "module", None)
            of_it = [f"{module}.{each.name}" if module else each.name for each in node.names]
            assert of_it
            assert not any(each.startswith("matplotlib") for each in of_it), name
            below = [each.partition("ccdflow.pages.pictures.")[2] for each in of_it]
            wanted |= {each.partition(".")[0] for each in below if each} - done
    assert "image_panel" in done


def test_an_upright_scale_has_two_numbers_or_more():
    """On the colour scale of a low panel, the single number 20,000 did not show the level."""
    assert LinearScale(4_000.0, 36_000.0).ticks(2)[1] == ["10000", "20000", "30000"]
    rng = np.random.default_rng(5)
    for _ in range(300):
        low = rng.normal() * 10.0 ** rng.integers(-6, 7)
        high = low + 10.0 ** rng.uniform(-4, 5)
        for most in (2, 3, 6):
            ticks = upright_ticks(low, high, most)
            assert 2 <= len(ticks) <= 2 * most + 1
            if len(nice_ticks(low, high, most)) > 1:
                assert ticks == nice_ticks(low, high, most)
    assert upright_ticks(0.5, 1.5, 2, is_whole=True) == [1]


def test_text_in_a_panel_stands_between_the_lines_of_its_scale():
    raster = Raster(330, 330)
    panel = PlotPanel(raster, (1.0, 0.5, 1.0, 2.0), (0.0, 11.0), (0.0, 8.0))
    panel.axes("", "", "")
    faint = (pixels_of(raster)[:, 150] == rgb(style.FAINT_INK)).all(axis=1)
    lines = np.flatnonzero(faint).tolist()
    assert len(lines) >= 3
    for start in range(panel.corners[1] + 20, panel.corners[3] - 60):
        place = panel.between_lines(start, 28)
        assert start <= place <= start + 32
        assert len(faint[place - 2 : place + 28]) == 30
        assert not faint[place - 2 : place + 28].any()
    # No room: the place that was asked for.
    assert panel.between_lines(panel.corners[3] - 10, 28) == panel.corners[3] - 10


def test_no_line_below_a_picture_begins_with_a_unit():
    for number in range(40):
        text = "x" * number + " the noise of a pixel is 0.005 % of 3.78 adu" * 9
        lines = style.explanation_lines(text)
        assert " ".join(lines) == text
        assert not [line for line in lines if line.startswith(("%", "adu"))]
