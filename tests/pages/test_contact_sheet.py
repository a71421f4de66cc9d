"""The contact sheet and the strip of time in a browser: clicks, keys, sorting, size."""

from __future__ import annotations

import html.parser
from dataclasses import asdict

import numpy as np
import pytest
from browser import AXE, AXE_OPTIONS, act, needs_axe, needs_chromium

from ccdflow.pages.bias_html import noise_section
from ccdflow.pages.contents import AmplifierFigures, ShownFrame
from ccdflow.pages.frame_html import aside_section, frames_section, provenance_section
from ccdflow.pages.page import (
    IndexContent,
    NightContent,
    NightLine,
    index_page_html,
    night_page_html,
)
from ccdflow.pages.pictures.small_picture import draw_small_picture, read_picture_values
from ccdflow.pages.sheet import (
    SheetTiles,
    SmallPicture,
    Tile,
    sheet_section,
)
from ccdflow.pages.time_strip import TimePanel, TimePoint, strip_section

KINDS = ("bias", "flat", "science")
# Level, span, drift and so on of an amplifier; all are there, so that no column is left out.
FIGURES = (1000.0, 0.5, 0.1, 0.02, 4.1, 0.01, 1.1, 4.5, 0.3, 0.2, 1.8, 1.8)
ODD_FILE = "a <b>&\"' {{x}}.fits"
pytestmark = pytest.mark.browser


def picture(folder, name, what, seed):
    """Write a small picture with a star, and return what the page knows of it."""
    image = np.random.default_rng(seed).normal(100.0, 5.0, (40, 20)).astype(np.float32)
    image[20, 10] = 30_016
    content = draw_small_picture(image, key="k", unit="adu")
    (folder / "frames").mkdir(exist_ok=True)
    (folder / "frames" / f"{name}.png").write_bytes(content)
    path = f"frames/{name}.png"
    return SmallPicture(
        path, what, f"../../{what}/{name}.fits", asdict(read_picture_values(content))
    )


def tiles(folder, number):
    """Frames of three types by turns; every third is science and calibrated as well."""
    shown = []
    for n in range(number):
        kind = KINDS[n % 3]
        pictures = [picture(folder, f"f{n}", "reduced", n)]
        if kind == "science":
            pictures.append(picture(folder, f"c{n}", "calibrated", n + 1000))
        marks = (("grade B", "dark of another night"),) if n == 5 else ()
        time = f"2024-03-01T{n // 60:02d}:{n % 60:02d}:00"
        notes = (("grade C", "no dark"),) if n == 2 else ()
        words = f"{kind}, V, 5 s"
        shown.append(Tile(f"f{n}.fits", kind, words, time, marks, tuple(pictures), notes))
    gone = Tile(ODD_FILE, "science", "science", "", (("set aside", "it is empty"),))
    return [*shown, gone]


def page_of_night(folder, number):
    """Write the page of a night of so many frames, and return its path."""
    own = tiles(folder, number)
    points = tuple(
        TimePoint(n / 60, 1000.0 + n, tile.image_type, f"{tile.file}: {1000 + n} adu", n)
        for n, tile in enumerate(own[:-1])
    )
    frames = [
        ShownFrame(
            tile.file,
            "cam",
            tile.image_type,
            object="M 51",
            filter="V",
            time=f"2024-03-01T20:{n % 60:02d}",
            exptime=float(n),
            levels=(1000.0 - n,),
            noises=(4.0,),
        )
        for n, tile in enumerate(own[:-1])
    ]
    frames.append(ShownFrame(ODD_FILE, "cam", "science", "set aside", "it is empty"))
    page = NightContent(
        "2024-03-01",
        ("cam",),
        (
            sheet_section(own),
            strip_section([TimePanel("Bias level", "adu", "Mean level of the overscan", points)]),
            frames_section(frames),
            aside_section(frames),
            noise_section([AmplifierFigures("cam", name, 5, *FIGURES) for name in "AB"], ()),
            provenance_section([("cam", "median of [1:5]")], [("ccdflow", "1")]),
        ),
        index="../../report.html",
    )  # fmt: skip
    path = folder / "report.html"
    path.write_text(night_page_html(page), "utf-8")
    return path


OPEN_TILE = """
const tile = (n) => document.querySelector(`.tile[data-open="${n}"]`);
const large = document.getElementById("large");
const text = (name) => document.getElementById(`large-${name}`).textContent;
const press = (key) => document.activeElement.dispatchEvent(
  new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const picture = document.getElementById("large-picture");
"""


@needs_chromium
@pytest.mark.parametrize("width", [1300, 400])
def test_a_click_opens_a_frame_and_keys_go_on(tmp_path, width):
    page = page_of_night(tmp_path, 9)
    script = (
        OPEN_TILE
        + """
    const seen = [];
    const note = () => seen.push([text("name"), picture.src.split("/").pop(), large.open]);
    tile(2).click(); note();
    press("ArrowRight"); note();
    press("ArrowLeft"); press("ArrowLeft"); note();
    press("ArrowLeft"); press("ArrowLeft"); note();
    press("ArrowRight"); note();
    document.getElementById("large-close").click();
    const box = picture.getBoundingClientRect();
    return [seen, large.open, document.activeElement === tile(0)];
    """
    )
    seen, is_open, is_back = act(page, script, width=width)
    # A frame that is calibrated is shown so at first; the last follows on the first.
    assert seen == [
        ["f2.fits", "c2.png", True], ["f3.fits", "f3.png", True], ["f1.fits", "f1.png", True],
        ["f8.fits", "c8.png", True], ["f0.fits", "f0.png", True],
    ]  # fmt: skip
    assert (is_open, is_back) == (False, True)


@needs_chromium
def test_scales_and_states_of_a_frame(tmp_path):
    page = page_of_night(tmp_path, 6)
    script = (
        OPEN_TILE
        + """
    const table = () => document.querySelector("#shades feFuncR").getAttribute("tableValues")
      .split(" ").map(Number);
    const seen = [];
    const note = () => seen.push([picture.style.filter, picture.src.split("/").pop(), text("what"),
      table().length, table()[0], table().at(-1), table().filter((v) => v > 0 && v < 1).length]);
    tile(2).click(); note();
    press("z"); note();
    press("l"); note();
    press("c"); note();
    document.querySelector('[data-scale="asinh"]').click(); note();
    tile(0).click(); note();
    const states = [...document.querySelectorAll("#large-states button")].map((b) => b.disabled);
    await picture.decode();
    return [seen, states, picture.naturalWidth, picture.naturalHeight];
    """
    )
    seen, disabled, wide, tall = act(page, script)
    filters = [line[0] for line in seen]
    assert filters == ["", 'url("#shades")', 'url("#shades")', 'url("#shades")', "", ""]
    assert [line[1] for line in seen] == ["c2.png"] * 3 + ["f2.png"] * 2 + ["f0.png"]
    # The star, 30,016 over 100 +- 5: zscale ends at the noise, the others at the star.
    assert "asinh from 8" in seen[0][2]
    assert "to 30016 adu" in seen[0][2]
    zscale = seen[1]
    limits = [
        float(word) for word in zscale[2].split("zscale from ")[1].split(" adu")[0].split(" to ")
    ]
    assert 80 < limits[0] < 95
    assert 105 < limits[1] < 140
    assert zscale[3:6] == [256, 0, 1]
    # On the linear scale all of the noise is black: five greys below 1 % of the star.
    assert seen[2][3:6] == [256, 0, 1]
    assert zscale[6] > 20
    assert disabled == [False, True]
    assert (wide, tall) == (20, 40)


@needs_chromium
def test_order_choice_and_the_marked_ones(tmp_path):
    page = page_of_night(tmp_path, 9)
    script = (
        OPEN_TILE
        + """
    const shown = () => [...document.querySelectorAll("#sheet-tiles > li")]
      .filter((each) => each.checkVisibility())
      .map((each) => each.querySelector(".name").textContent);
    const seen = [shown()];
    const press2 = (query) => { document.querySelector(query).click(); seen.push(shown()); };
    press2('[data-order="type"]');
    press2('[data-only="flat"]');
    tile(1).click(); press("ArrowLeft"); seen.push([text("name")]); large.close();
    press2('[data-only="odd"]');
    press2('[data-only=""]');
    press2('[data-order="time"]');
    return seen;
    """
    )
    by_time, by_type, flats, before, odd, everything, again = act(page, script)
    assert by_time == [*(f"f{n}" for n in range(9)), ODD_FILE.removesuffix(".fits")]
    assert by_type == ["f0", "f3", "f6", "f1", "f4", "f7", "f2", "f5", "f8", by_time[-1]]
    assert flats == ["f1", "f4", "f7"]
    assert before == ["f7.fits"]
    assert odd == ["f5", by_time[-1]]
    assert everything == by_type
    assert again == by_time


@needs_chromium
def test_a_dot_of_the_strip_opens_its_frame(tmp_path):
    page = page_of_night(tmp_path, 6)
    script = (
        OPEN_TILE
        + """
    const dot = document.querySelector('.points [data-open="4"]');
    dot.dispatchEvent(new MouseEvent("click", { bubbles: true }));
    return [text("name"), dot.querySelector("title").textContent, dot.getBoundingClientRect().x];
    """
    )
    name, words, _ = act(page, script)
    assert (name, words) == ("f4.fits", "f4.fits: 1004 adu")


@needs_chromium
def test_tables_sort_by_number_and_filter(tmp_path):
    page = page_of_night(tmp_path, 45)
    script = """
    const table = document.querySelector('table.frames');
    table.closest("details").open = true;
    const column = (place) => [...table.tBodies[0].rows].filter((row) => !row.hidden)
      .map((row) => row.cells[place].textContent);
    const heads = [...table.tHead.querySelectorAll("th")];
    const button = (name) => heads.find((head) => head.textContent.startsWith(name))
      .querySelector("button");
    button("Level").click();
    const rising = column(5);
    const sorted = heads.map((head) => head.getAttribute("aria-sort")).filter(Boolean);
    button("Level").click();
    const falling = column(5);
    const input = table.closest("details").querySelector("input");
    input.value = "F27"; input.dispatchEvent(new Event("input"));
    const said = table.closest("details").querySelector("[role=status]").textContent;
    return [rising, sorted, falling, column(0), said, button("Level").title];
    """
    rising, sorted_, falling, filtered, count, title = act(page, script)
    # f0, f3 ... f42 are biases, of levels 1000, 997 ...: as text, 1000 would come before 973.
    levels = [f"{1000 - n:.1f}" for n in range(0, 45, 3)]
    assert falling == levels
    assert rising == levels[::-1]
    assert sorted_ == ["ascending"]
    assert (filtered, count) == (["f27.fits"], "1 of 15 rows")
    assert title == "Level of the overscan in adu, one for each amplifier"


@needs_chromium
def test_five_hundred_frames_are_a_small_page_that_loads_only_the_pictures_in_view(tmp_path):
    page = page_of_night(tmp_path, 500)
    assert page.stat().st_size < 2e6
    script = """
    const images = [...document.querySelectorAll("#sheet-tiles img")];
    return [images.length, images.filter((image) => image.loading === "lazy").length,
      images.slice(0, 20).every((image) => image.naturalWidth === 20)];
    """
    assert act(page, script) == [500, 500, True]


@needs_chromium
@pytest.mark.parametrize("width", [1300, 400])
def test_nothing_is_wider_than_the_window(tmp_path, width):
    page = page_of_night(tmp_path, 30)
    script = """
    for (const each of document.querySelectorAll("details")) each.open = true;
    const beyond = [...document.querySelectorAll("body *")]
      .filter((each) => !each.closest(".scroll, .drawing, .skip, .clock"))
      .filter((each) => each.getBoundingClientRect().right > window.innerWidth)
      .map((each) => each.outerHTML.slice(0, 90));
    return [beyond, window.innerWidth];
    """
    beyond, window = act(page, script, width=width)
    assert beyond == []
    assert window == width


@needs_chromium
@pytest.mark.parametrize("width", [1300, 400])
def test_a_wide_table_is_marked_as_such_and_the_clock_can_be_read(tmp_path, width):
    script = """
    const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    await frame();
    const table = document.querySelector("table.amplifiers").closest(".scroll");
    const told = () => [table.previousElementSibling.checkVisibility(),
      table.classList.contains("on-left"), table.classList.contains("on-right")];
    const seen = [told()];
    for (const place of [40, 9999]) { table.scrollLeft = place; await frame(); seen.push(told()); }
    const labels = [...document.querySelectorAll(".clock span")]
      .filter((each) => each.checkVisibility()).map((each) => each.getBoundingClientRect());
    const clock = document.querySelector(".clock").getBoundingClientRect();
    const apart = labels.every((each, n) => n === 0 || each.left > labels[n - 1].right);
    const inside = labels.every((each) => each.left >= clock.left && each.right <= clock.right);
    const grade = document.querySelector(".note");
    return [seen, labels.length > 2, apart, inside, grade.textContent, grade.title,
      grade.closest("li").className];
    """
    seen, *clock, grade, why, group = act(page_of_night(tmp_path, 30), script, width=width)
    fits = [[False, False, False]] * 3
    wide = [[True, False, True], [True, True, True], [True, True, False]]
    assert seen == (fits if width == 1300 else wide)
    assert clock == [True, True, True]
    # The usual grade of a night is said, and is no mark.
    assert (grade, why, group) == ("grade C", "no dark", "")


def overview(folder, number):
    """Write an overview of so many nights, and return its path."""
    nights = tuple(
        NightLine(f"{2000 + n // 300}-{1 + n % 300 // 25:02d}-{1 + n % 25:02d}",
                  f"nights/{n}/report.html", ("cam",), (("bias", 10),), 10 - n % 2, n % 2, 0,
                  (("bias", 1, 1),))
        for n in range(number)
    )  # fmt: skip
    aside = tuple(
        ShownFrame(f"f{n}.fits", "cam", "bias", "set aside", "it is empty") for n in range(9)
    )
    page = IndexContent(
        nights, aside, last_run=".ccdflow/last_run.js", provenance=(("ccdflow", "1"),)
    )
    (folder / ".ccdflow").mkdir()
    (folder / ".ccdflow/last_run.js").write_text(
        'window.ccdflowLastRun={"ended":"2024-03-02 08:00","made":[["frames",12,"new"]],'
        '"failed":[["reduced/x.fits","it <b>broke</b>"]],"disk":[["reduced",12,3400000]]};\n'
    )
    path = folder / "report.html"
    path.write_text(index_page_html(page), "utf-8")
    return path


@needs_chromium
def test_the_overview_holds_with_3000_nights(tmp_path):
    page = overview(tmp_path, 3000)
    assert page.stat().st_size < 4e6
    script = """
    const years = [...document.querySelectorAll(".year")];
    const days = (year) => [...year.querySelectorAll(".days a")];
    return [years.length, years.filter((year) => year.open).length,
      years[0].querySelector("summary").textContent, days(years[0]).length,
      days(years[0]).slice(0, 2).map((day) => [day.className, day.title]),
      document.getElementById("last-run").textContent,
      document.querySelector(".reasons").tBodies[0].textContent.trim().split(/\\s+/).join(" ")];
    """
    years, opened, summary, days, first, last, reasons = act(page, script)
    assert (years, opened, days) == (10, 1, 300)
    assert summary == "2009: 300 nights, 3000 frames"
    assert first == [
        ["level l-4", "2009-01-01: 10 of 10 frames reduced, 1 of 1 combined biases"],
        ["level l-3", "2009-01-02: 9 of 10 frames reduced, 1 set aside, 1 of 1 combined biases"],
    ]
    assert "ended on 2024-03-02 08:00; 1 job failed." in last
    assert "frames12new" in last
    assert "it <b>broke</b>" in last
    assert "reduced123.4" in last
    assert reasons == "it is empty9cam"


@needs_chromium
@needs_axe
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("which", ["night", "large", "overview"])
def test_axe_finds_no_fault(tmp_path, which, dark):
    page = overview(tmp_path, 40) if which == "overview" else page_of_night(tmp_path, 12)
    opened = "document.querySelector('.tile[data-open]').click();" if which == "large" else ""
    script = (
        opened
        + """
    for (const each of document.querySelectorAll("details")) each.open = true;
    const found = await axe.run(document, OPTIONS);
    return [found.violations.map((each) => [each.id, each.nodes.length, each.nodes[0].html,
      each.nodes[0].failureSummary]), found.passes.length];
    """
    )
    script = script.replace("OPTIONS", AXE_OPTIONS[dark])
    violations, passes = act(page, script, scripts=(AXE,), is_dark=dark)
    assert violations == []
    assert passes > (0 if dark else 20)


class Reader(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.titles = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "th" and dict(attrs).get("scope") == "col":
            self.titles.append(dict(attrs).get("title", ""))


def test_every_column_has_a_text_on_hovering(tmp_path):
    (tmp_path / "o").mkdir()
    for page in (page_of_night(tmp_path, 3), overview(tmp_path / "o", 3)):
        titles = Reader(page.read_text()).titles
        assert len(titles) > 3
        assert all(titles)


def test_frames_of_one_folder_are_named_alike():
    tiles = tuple(Tile(file) for file in ("ccd.014.0.fits", "darks/ccd.013.0.fits"))
    assert SheetTiles(tiles).names == ["ccd.014.0", "ccd.013.0"]
    more = (*tiles, Tile("darks/ccd.014.0.fits"))
    assert SheetTiles(more).names == ["ccd.014.0", "darks/ccd.013.0", "darks/ccd.014.0"]
