"""Pages of nights and the overview: words, tables, links and pictures, as the HTML has them."""

import html.parser
import io
import math
import re
import sys
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import act, elements_and_picture, needs_chromium
from jinja2 import nodes
from PIL import Image

from ccdflow import pages
from ccdflow.pages import calendar, text_formatting
from ccdflow.pages.bias_html import combined_section, noise_section, trend_section
from ccdflow.pages.contents import (
    AmplifierFigures,
    CombinedBias,
    LeftOutBias,
    NamedFile,
    Picture,
    Section,
    ShownFrame,
)
from ccdflow.pages.frame_html import (
    aside_section,
    frames_section,
    pictures_section,
    provenance_section,
)
from ccdflow.pages.page import (
    IndexContent,
    NightContent,
    NightLine,
    index_page_html,
    night_page_html,
)
from ccdflow.pages.pictures import before_after, style
from ccdflow.pages.pictures.raster import description_chunk
from ccdflow.pages.rendering import escape_unprintable, template_environment
from ccdflow.pages.sheet import SmallPicture, Tile, sheet_section
from ccdflow.pages.text_formatting import figure_text
from ccdflow.pages.time_strip import TimePanel, TimePoint, strip_section

ODD_FILE = "a <b>&\"' {{x}}\n\t\udcff;é名.fits.gz"
VOID_ELEMENTS = {"meta", "link", "img", "br", "hr", "input"}


def png(colour=(250, 20, 200), size=(24, 10)):
    def chunk(name, data):
        checksum = zlib.crc32(name + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + name + data + checksum

    header = b"".join(length.to_bytes(4, "big") for length in size) + bytes([8, 2, 0, 0, 0])
    rows = (b"\0" + bytes(colour) * size[0]) * size[1]
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def picture(name):
    return Picture(png(), f"alt of {name}", caption=f"caption of {name}", title=f"title of {name}")


def frames(number, kind="bias", **values):
    return tuple(
        ShownFrame(f"{kind}/{each:03d}.fits.gz", **({"camera": "lfc", "image_type": kind} | values))
        for each in range(number)
    )


def night_content(**changes):
    values = {
        "night": "2016-01-16",
        "frames": (
            *frames(6, levels=(1140.234,), noises=(11.128,), exptime=0.0),
            *frames(3, "flat", filter="g'", exptime=70.001, object="flat_g"),
            ShownFrame(ODD_FILE, "lfc", status="set aside", reason="the gzip stream ends early"),
            ShownFrame(
                "kast/b1.fits", "kast_blue", "arc", status="passed by", levels=(949.04, 981.3)
            ),
        ),
        "before_after": (picture("before"),),
        "combined": (
            CombinedBias(
                "lfc_full", "lfc", "../../combined/a b;c.fits", ("m1.fits", "m2.fits", "m3.fits"),
                (LeftOutBias("bias/003.fits.gz", "level unlike the others", "level", 1190.5, 12.25),),  # noqa: E501
                recipe="average, clipped at 5 sigma", group="1x1, whole frame", noises=(4.9612,),
                predicted_noises=(4.9051,), n_rejected=1234, n_pixels=42270720,
                pictures=(picture("combined"),),
            ),
            CombinedBias("kast_full", "kast_blue", not_made="there are 2 of at least 3 frames"),
        ),
        "amplifiers": (
            AmplifierFigures(
                "lfc", "", 6, 1140.234, 3.41, -0.127, 0.041, 11.0212, 0.0031, 1.1, 12.5, 0.334,
                0.217, 4.9612, 4.9051,
            ),
            AmplifierFigures("kast_blue", "amp B", 2, 981.3),
        ),
        "quality": (picture("quality"),),
        "trend": (picture("trend"),),
        "recipes": (("lfc", "median of columns 2056 to 2080"),),
        "provenance": (("ccdflow", "0.1.0"), ("astropy", "8.0.2"), ("numpy", "2.4.6")),
        "notes": ("A raw file is gone: ccd.099.",),
        "index": "../../report.html",
    }  # fmt: skip
    return assemble_content(**(values | changes))


def assemble_content(
    night, frames=(), *, before_after=(), combined=(), amplifiers=(), quality=(), trend=(),
    recipes=(), provenance=(), notes=(), index="",
):  # fmt: skip
    """Return the content of a page, with the sections that the kinds make of these values."""
    return NightContent(
        night,
        tuple(text_formatting.unique_names(frame.camera for frame in frames)),
        (
            trend_section(trend),
            frames_section(frames),
            aside_section(frames),
            pictures_section(before_after),
            combined_section(
                combined, n_biases=sum(frame.image_type == "bias" for frame in frames)
            ),
            noise_section(amplifiers, quality),
            provenance_section(recipes, provenance),
        ),
        notes,
        index,
    )


def index(**changes):
    values = {
        "nights": (
            NightLine(
                "2016-01-16",
                "nights/2016-01-16/report.html",
                ("lfc",),
                (("bias", 6),),
                6,
                1,
                2,
                (("bias", 1, 2),),
            ),
            NightLine("run: 3", "nights/run: 3/report.html", (), (("", 1),), 0, 1),
        ),
        "aside": (ShownFrame(ODD_FILE, status="set aside", reason="it is empty"),),
        "sections": (trend_section((picture("trend"),)),),
        "provenance": (("ccdflow", "0.1.0"),),
        "notes": ("Two folders were left out.",),
    }
    return IndexContent(**(values | changes))


class Reader(html.parser.HTMLParser):
    """Collects what a browser would see, and finds elements that are not closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], Counter(), [], []
        self.rows = Counter()
        self.tables = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "table":
            self.tables.append(dict(attrs).get("class", ""))
        if tag == "tr" and "tbody" in self.open:
            self.rows[self.tables[-1]] += 1
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def values(self, name):
        return [value for _, key, value in self.attributes if key == name]


PAGES = {
    "night": lambda: night_page_html(night_content()),
    "index": lambda: index_page_html(index()),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_one_file_and_always_the_same(name):
    text = PAGES[name]()
    assert text == PAGES[name]()
    text.encode("utf-8")
    page = Reader(text)
    assert page.tags["script"] == 1
    assert page.tags["iframe"] == 0
    assert all(value.startswith("data:image/png;base64,") for value in page.values("src"))
    assert all(value.startswith(("./", "../", "#", "data:,")) for value in page.values("href"))
    assert not re.search(r"https?:|url\(|@import", text)


@pytest.mark.parametrize("sentence", ["a share of 76 % of it", "an odd ` and 76 %"])
def test_signs_of_print_are_no_escapes(sentence):
    section = Section(
        "part", "Part", (sentence,), (sentence,), (("Noise", sentence),), ("Share, 5 %",),
        ((sentence,),),
    )  # fmt: skip
    text = night_page_html(NightContent("2024-03-01", sections=(section,), notes=(sentence,)))
    assert "\\xa0" not in text
    assert text.count("76\N{NO-BREAK SPACE}%") == 5
    assert "Share, 5\N{NO-BREAK SPACE}%" in text


@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_read_aloud(name):
    page = Reader(PAGES[name]())
    assert ("html", "lang", "en") in page.attributes
    assert page.tags["h1"] == page.tags["main"] == page.tags["title"] == 1
    alts = page.values("alt")
    assert len(alts) == page.tags["img"]
    assert all(alts)
    assert set(page.values("scope")) <= {"col", "row", "colgroup"}
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in page.values("href") if value.startswith("#")} <= set(ids)
    assert set(page.values("aria-labelledby")) <= set(ids)


def test_every_figure_handed_over_is_on_the_page():
    text = Reader(night_page_html(night_content())).text
    for shown in (
        "2016-01-16", "lfc, kast_blue", "70.001", "1140.2", "11.13", "949.0 / 981.3", "flat_g",
        "g'", "set aside", "the gzip stream ends early", "passed by",
        "A raw file is gone: ccd.099.",
        "m1.fits", "m3.fits", "level unlike the others", "1190 adu", "12.25 adu", "4.96 adu",
        "4.91 adu", "1,234 of 42,270,720 (0.0029 %)", "average, clipped at 5 sigma",
        "1x1, whole frame", "Not made: there are 2 of at least 3 frames.", "1140.23", "3.41",
        "−0.127 ± 0.041",
        "11.0212 ± 0.0031", "12.12", "12.50", "1.10", "0.334", "0.217", "kast_blue amp B", "981.30",
        "median of columns 2056 to 2080", "0.1.0", "8.0.2", "2.4.6", "caption of trend",
    ):  # fmt: skip
        assert shown in text
    for name in ("before", "combined", "quality", "trend"):
        assert f"alt of {name}" in Reader(night_page_html(night_content())).values("alt")


def test_the_summary_names_the_steps_in_plain_words():
    text = Reader(night_page_html(night_content())).text
    assert (
        "11 frames, taken with lfc and kast_blue: 6 biases, 3 flats, 1 arc and 1 of unknown type."
        in text
    )
    assert "9 frames reduced: the level of the overscan was subtracted from 6 of them" in text
    assert "1 frame set aside" in text
    assert "1 frame not reduced (passed by)." in text
    assert "Lfc_full: 3 biases, noise of a pixel 4.96 adu (predicted 4.91 adu); 1 left out." in text
    assert "Kast_full: none was made, because there are 2 of at least 3 frames." in text


def test_words_of_files_stand_in_their_own_letters():
    note = "look at `overscan:` in <the> profile"
    page = night_page_html(replace(night_content(), notes=(note, "an odd ` alone")))
    assert "look at <code>overscan:</code> in &lt;the&gt; profile" in page
    assert "an odd ` alone" in page


@pytest.mark.parametrize(
    ("levels", "claim"),
    [
        (((9.0,), (9.0,)), "the level of the overscan was subtracted from each."),
        (((), ()), "no overscan was subtracted."),
        (((9.0,), ()), "subtracted from 1 of them, none from the others."),
    ],
)
def test_no_more_is_claimed_than_was_done(levels, claim):
    two = (replace(frame, levels=each) for frame, each in zip(frames(2), levels, strict=True))
    text = Reader(night_page_html(assemble_content("n", tuple(two)))).text
    assert "2 frames reduced: " in text
    assert claim in text


def test_every_frame_has_its_row():
    page = Reader(night_page_html(night_content()))
    assert page.rows == {"frames": 11, "aside": 1, "left-out": 1, "amplifiers": 2}


def test_hundreds_of_frames_are_folded_away_and_few_are_not():
    page = Reader(night_page_html(night_content(frames=(*frames(400, "science"), *frames(4)))))
    assert page.rows["frames"] == 404
    assert "400 frames" in page.text
    opened = [name for tag, name, _ in page.attributes if tag == "details"]
    assert opened == ["open"]  # the biases; the science frames and the members are folded


def test_names_are_shown_as_they_are_and_do_no_harm():
    text = night_page_html(night_content())
    page = Reader(text)
    assert page.tags["b"] == 0
    assert "a <b>&\"' {{x}}\\n\\t\\udcff;é名.fits.gz" in page.text
    assert "../../combined/a%20b%3Bc.fits" in page.values("href")
    harm = "</title><script>alert(1)</script>"
    harmed = Reader(
        night_page_html(
            night_content(
                night=harm,
                notes=(harm,),
                before_after=(Picture(png(), f'"{harm}', harm, harm),),
                recipes=((harm, harm),),
                provenance=((harm, harm),),
                combined=(CombinedBias(harm, harm, harm, not_made=harm),),
                amplifiers=(AmplifierFigures(harm, harm),),
                frames=(
                    ShownFrame(harm, harm, harm, harm, harm, harm, harm, time=harm, product=harm),
                ),
            )
        )
    )
    assert harmed.tags["script"] == 1
    assert harmed.tags["title"] == 1
    assert harmed.text.count("alert(1)") > 12


@pytest.mark.parametrize(
    ("path", "reference"),
    [
        ("a: b.fits", "./a%3A%20b.fits"),
        ("../x/caf\udce9.fits", "../x/caf%E9.fits"),  # a name in Latin-1 on the disk
        ("javascript:alert(1)", "./javascript%3Aalert%281%29"),
        ("//host/x", ".///host/x"),
        (".hidden#1?.fits", "./.hidden%231%3F.fits"),
    ],
)
def test_links_lead_to_files_whatever_their_names(path, reference):
    page = Reader(
        night_page_html(night_content(frames=(ShownFrame("x", product=path),), combined=()))
    )
    assert reference in page.values("href")


def test_a_night_without_anything_has_its_page():
    page = Reader(night_page_html(assemble_content("2016-01-17")))
    assert "No frame of this night was found." in page.text
    assert "Set aside" not in page.text
    assert page.tags["img"] == page.tags["table"] == 0


def test_the_page_of_a_night_without_biases_has_a_sentence():
    text = Reader(night_page_html(assemble_content("n", frames(2, "science")))).text
    assert "2 frames, taken with lfc: 2 science frames." in text
    assert "The night has no biases to combine." in text
    assert "There are not two biases of one kind to measure them from." in text
    assert "No frame had to be set aside." in text


def test_biases_that_were_not_combined_are_not_called_missing():
    text = Reader(night_page_html(assemble_content("n", frames(2)))).text
    assert "No biases were combined." in text
    assert "The night has no biases to combine." not in text


def test_one_camera_is_not_repeated_in_every_row():
    assert ">Camera</th>" in night_page_html(night_content())
    one = night_content(frames=frames(3), combined=())
    assert ">Camera</th>" not in night_page_html(one)


def test_figures_that_are_not_known_are_a_dash():
    unknown = AmplifierFigures("lfc", "A", n_biases=1)
    known = AmplifierFigures("lfc", "B", n_biases=5, level=1140.25, read_noise=4.5)
    text = night_page_html(assemble_content("n", frames(1), amplifiers=(unknown, known)))
    assert "nan" not in Reader(text).text.lower()
    assert re.findall(r'<th scope="row">(lfc .)</th>(.*?)</tr>', text) == [
        ("lfc A", '<td class="number">1</td>' + '<td class="number">–</td>' * 2),
        ("lfc B", "".join(f'<td class="number">{each}</td>' for each in (5, "1140.25", "4.500"))),
    ]


def test_a_picture_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"title of x: a picture of .* is no PNG"):
        night_page_html(night_content(trend=(Picture(b"GIF89a..", "alt", title="title of x"),)))
    bad = CombinedBias("c", pictures=(Picture(png(), " "),))
    with pytest.raises(ValueError, match=r"a picture has no alternative text$"):
        night_page_html(night_content(combined=(bad,)))
    with pytest.raises(ValueError, match=r"alt: a picture of All nights is no PNG: it is b''$"):
        index_page_html(index(sections=(trend_section((Picture(b"", "alt"),)),)))


def test_the_overview_links_every_night_and_adds_up():
    page = Reader(index_page_html(index()))
    assert "./nights/2016-01-16/report.html" in page.values("href")
    assert "./nights/run%3A%203/report.html" in page.values("href")
    assert page.rows == {"nights": 2, "aside": 1, "reasons": 1}
    assert "2 nights, 10 frames: 6 reduced, 2 set aside, 2 neither." in page.text
    assert "1 combined bias made, 1 group of biases without one." in page.text
    assert "Two folders were left out." in page.text
    assert "6 biases" in page.text
    assert "1 of unknown type" in page.text
    assert "All nights: 10 frames, 6 reduced, 2 set aside, 2 neither; 1 combined bias." in page.text


@needs_chromium
def test_the_calendar_is_one_stop_of_the_tab_key_and_arrows_go_on(tmp_path):
    lines = tuple(
        NightLine(f"2016-01-{day:02}", f"nights/{day}/report.html", ("lfc",), (("bias", 1),), 1, 0)
        for day in range(1, 21)
    )
    page = tmp_path / "report.html"
    page.write_text(index_page_html(index(nights=lines)), "utf-8")
    script = """
    const nights = [...document.querySelectorAll(".months a")];
    const stops = () => nights.filter((each) => each.tabIndex === 0).map((each) => each.innerText);
    const found = [stops()];
    nights[0].focus();
    for (const key of ["ArrowRight", "ArrowDown", "End", "ArrowDown", "ArrowUp", "ArrowLeft",
                       "Home", "ArrowLeft", "Enter"]) {
      document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      found.push([document.activeElement.innerText, ...stops()]);
    }
    return found;
    """
    first, *others = act(page, script)
    assert first == ["1"]
    assert others == [[day, day] for day in ("2", "9", "20", "20", "13", "12", "1", "1", "1")]


def test_an_overview_of_nothing_is_a_page():
    page = Reader(index_page_html(IndexContent()))
    assert "No night has frames yet." in page.text
    assert page.tags["table"] == 0


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (math.nan, 4, "–"),
        (math.inf, 4, "–"),
        (0.0, 4, "0"),
        (1234567.0, 3, "1234567"),
        (11.02149, 4, "11.02"),
        (-0.3449, 2, "−0.34"),
        (0.00029, 2, "0.00029"),
        (2.9e-7, 2, "2.9e−07"),
    ],
)
def test_figures_keep_their_significant_digits(value, digits, text):
    assert figure_text(value, digits) == text


def test_letters_that_cannot_be_printed_are_escaped():
    assert escape_unprintable("a\u202eb\x00\udc80 é名") == "a\\u202eb\\x00\\udc80 é名"


@pytest.mark.browser
@needs_chromium
@pytest.mark.parametrize("name", PAGES)
def test_a_browser_renders_the_page(name, tmp_path):
    page = tmp_path / f"{name}.html"
    page.write_text(PAGES[name](), encoding="utf-8")
    text, shot = elements_and_picture(page, width=900, height=5000)
    rendered, given = Reader(text), Reader(page.read_text(encoding="utf-8"))
    assert rendered.text == given.text
    assert rendered.rows == given.rows
    assert rendered.tags["img"] == given.tags["img"] > 0
    pixels = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)
    assert pixels.shape[1] == 900
    drawn = (np.abs(pixels - (250, 20, 200)).max(axis=2) < 40).sum()
    each = 800 * 330  # what one picture takes of a window of this width
    assert drawn > 0.8 * each * rendered.tags["img"]


@pytest.mark.parametrize(
    ("values", "text"),
    [((), ""), ((math.nan,), ""), ((2.94, math.nan), "2.94"), ((2.9, 2.71, 2.8), "2.71 to 2.90")],
)
def test_figures_of_several_amplifiers_are_a_range(values, text):
    assert text_formatting.span_text(values) == text


def test_a_fault_stands_with_its_bias():
    bias = CombinedBias(
        "lfc_full", product="a.fits", members=("m",), remarks=("its noise is high",)
    )
    text = night_page_html(night_content(combined=(bias,)))
    assert "<li>Lfc_full: its noise is high.</li>" in text
    assert '<p class="missing">Its noise is high.</p>' in text


@pytest.mark.parametrize(
    ("grades", "uncalibrated", "level", "state"),
    [
        ((("A", 1), ("B", 3)), 0, 4, "calibrated: 1 of grade A, 3 of grade B"),
        ((("B", 2), ("C", 2)), 0, 3, "calibrated: 2 of grade B, 2 of grade C"),
        ((("C", 8),), 0, 2, "calibrated: 8 of grade C"),
        ((), 4, 2, "4 not calibrated"),
        ((), 0, 4, "2 of 2 combined biases"),
    ],
)
def test_a_night_is_complete_if_no_calibrated_frame_lacks_a_step(
    grades, uncalibrated, level, state
):
    line = NightLine(
        "2016-01-16", "p.html", ("lfc",), (("bias", 8),), 8,
        combined=(("bias", 2, 2),),
        grades=grades, n_uncalibrated=uncalibrated,
    )  # fmt: skip
    assert calendar.completeness_step(line) == level
    assert calendar.words_on_state(line).endswith(f", {state}")
    text = Reader(index_page_html(IndexContent(nights=(line,)))).text
    assert ("Calibrated frames" in text) == bool(grades or uncalibrated)


def test_the_overview_counts_combined_darks_and_flats_as_well_as_biases():
    combined = (("bias", 1, 1), ("dark", 3, 5), ("flat", 2, 3))
    first = NightLine("2016-01-15", n_reduced=24, combined=combined)
    second = NightLine("2016-01-16", combined=(("dark", 1, 1),))
    text = Reader(index_page_html(IndexContent(nights=(first, second)))).text
    made = "1 combined bias, 4 combined darks and 2 combined flats"
    assert f"{made} made, 2 groups of darks and 1 group of flats without one." in text
    assert f"All nights: 24 frames, 24 reduced, 0 set aside; {made}." in text
    assert "24 24 0 1 bias, 3 of 5 darks , 2 of 3 flats" in text
    assert calendar.completeness_step(first) == 3  # 30 of 33
    assert calendar.words_on_state(first).endswith(
        ", 1 of 1 combined biases, 3 of 5 combined darks, 2 of 3 combined flats"
    )
    text = Reader(
        index_page_html(IndexContent(nights=(NightLine("2016-01-15", n_reduced=2),)))
    ).text
    assert "No combined bias, dark or flat made." in text


def test_frames_without_a_date_are_no_night():
    nights = (NightLine("undated", "u.html", n_reduced=2), NightLine("2016-01-16", "n.html"))
    text = Reader(index_page_html(IndexContent(nights=nights))).text
    assert "1 night and 2 frames without a date, 2 frames: 2 reduced, 0 set aside." in text
    text = Reader(night_page_html(assemble_content("undated", frames(2)))).text
    assert "Frames without a date" in text
    assert "undated" not in text


def test_blanks_that_keep_a_line_together_are_no_escapes():
    assert escape_unprintable("30\N{NO-BREAK SPACE}s\x07") == "30\N{NO-BREAK SPACE}s\\x07"


def test_columns_in_which_nothing_stands_are_not_shown():
    figures = AmplifierFigures("cam", "A", 5, 1000.0, 0.5, read_noise=4.0, gain=2.0)
    table = Section(
        "t", "T", headings=("One", "Two", "Three"), rows=(("a", "–", "-"), ("b", "", "c"))
    )
    frame = ShownFrame("f.fits", "cam", "bias", levels=(9.0,))
    content = NightContent(
        "n", sections=(frames_section([frame]), noise_section([figures], ()), table)
    )
    page = night_page_html(content)
    heads = re.findall(r'<th scope="col(?:group)?"[^>]*>([^<]*)', page)
    assert heads == [
        "File", "Level (adu)", "Status",
        "Amplifier", "Biases", "Bias level (adu)", "Read noise", "Gain (e⁻/adu)",
        "level", "span", "adu", "e⁻",
        "One", "Three",
    ]  # fmt: skip
    assert re.findall(r'colspan="(\d)"', page) == ["2", "2"]
    assert re.findall(r'data-col="(\d)"', page) == ["0", "1", "6", "2", "3", "4", "5"]


def test_a_name_in_words_has_its_file_on_hovering():
    plain = NamedFile("flat g", file="combined/n/flat_cam_g.fits")
    told_apart = NamedFile("flat <g>", path="../../c/f_a1b2c3.fits", file="c/f_a1b2c3.fits")
    table = Section("t", "T", headings=("Master",), rows=((plain,), (told_apart,)))
    page = night_page_html(NightContent("n", sections=(table,)))
    assert '<span title="combined/n/flat_cam_g.fits">flat g</span>' in page
    (link,) = re.findall(
        r'<a class="whole" href="([^"]*)" title="([^"]*)">flat &lt;g&gt;</a>', page
    )
    assert link[0] == "../../c/f_a1b2c3.fits"
    assert link[1].startswith("c/f_a1b2c3.fits (the six characters at its end are of")


def relative_luminance(colour):
    """Return the luminance of ``#rrggbb`` as WCAG 2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    dark, light = sorted(relative_luminance(each) for each in (one, other))
    return (light + 0.05) / (dark + 0.05)


def test_days_of_the_calendar_can_be_read_on_both_halves_of_their_ground():
    """The checker cannot judge text on a ground of two colours."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    css = Path(pages.__file__).with_name("templates").joinpath("style.css").read_text("utf-8")
    rule = re.search(r"\.l-0, \.l-1, \.l-2, \.l-3 \{ color: (#\w+); .*?\}", css)
    grounds = re.findall(r"(#\w{6}) var\(--done\)", rule[0])
    full = re.search(r"\.l-4 \{ background: (#\w+); color: (#\w+); \}", css).groups()
    assert len(grounds) == 2
    assert min(contrast(rule[1], ground) for ground in grounds) > 9
    assert contrast(*full) > 6
    # The edge of a day on the paper, light and dark: what is no text needs 3.
    edge = re.search(r"\.level \{.*solid (#\w+); \}", css)[1]
    papers = re.findall(r"--paper: (#\w{6});", css)
    assert len(papers) == 2
    assert min(contrast(edge, paper) for paper in papers) > 3


def test_words_of_pictures_can_be_read_on_their_grounds():
    grounds = {
        style.INK: (style.PAPER, style.WHITE),
        style.MUTED_INK: (style.PAPER, style.WHITE, before_after._DATA_GROUND),
        before_after._USED_INK: (before_after._USED_GROUND,),
        before_after.DATA_COLOUR: (before_after._DATA_GROUND,),
        before_after._CLAIMED_INK: (
            style.WHITE,
            before_after._USED_GROUND,
            before_after._DATA_GROUND,
        ),
    }
    contrasts = {
        (text, ground): round(contrast(text, ground), 2)
        for text, others in grounds.items()
        for ground in others
    }
    assert {pair: ratio for pair, ratio in contrasts.items() if ratio < 4.5} == {}


def test_a_remark_has_no_line_break_between_a_number_and_its_unit():
    frame = ShownFrame("a.fits", "cam", "flat", remark="off by 1.25 % at -80.35 C")
    text = night_page_html(NightContent("2024-03-01", ("cam",), (frames_section([frame]),)))
    assert '<div class="remark">off by 1.25\u00a0% at −80.35\u00a0°C</div>' in text


def rich_pages():
    """Render pages in which something stands in every place of a template."""
    values = {"width": 64, "height": 48, "unit": "adu", "centre": 0.0, "scale": 1.0} | {
        "low": 0.0, "high": 1.0, "zscale": [0.0, 1.0]
    }  # fmt: skip
    small_picture = SmallPicture("frames/a.png", "reduced", "../../reduced/a.fits", values)
    marks = (("grade C", "no dark"),)
    tiles = [Tile("a.fits", "science", "M 51", "20:00", marks, (small_picture,), marks)]
    content = io.BytesIO()
    explained = description_chunk("A panel for each frame.")
    Image.new("RGB", (24, 200)).save(content, "PNG", pnginfo=explained)
    night = night_content(before_after=(Picture(content.getvalue(), "frames"),))
    point = TimePoint(20.0, 1140.0, "science", "a.fits: 1140 adu", 0)
    table = Section(
        "steps", "Steps", paragraphs=("A text.",), facts=(("flat", "helps"),),
        headings=("Step", "Time"), rows=(("dark", "2 s"),), hints=("The step", "Seconds"),
        pictures=(picture("steps"),),
    )  # fmt: skip
    panel = TimePanel("Level", "adu", "Mean level of the overscan", (point,))
    sections = (sheet_section(tiles), strip_section([panel]), table, *night.sections)
    night_page_html(replace(night, sections=sections))
    night_page_html(night_content())
    night_page_html(assemble_content("2016-01-16"))
    nights = [replace(line, grades=(("A", 1),), n_uncalibrated=1) for line in index().nights]
    index_page_html(index(nights=tuple(nights), last_run="last_run.js"))
    index_page_html(index())


def test_pages_reach_every_name_in_their_templates(monkeypatch):
    """No import checks a name in a template: each is taken from the values of a page here."""
    environment = template_environment()
    take_attribute, reached = environment.getattr, set()

    def note_attribute(value, name):
        code = sys._getframe(1)
        reached.add((Path(code.f_code.co_filename).name, code.f_lineno, name))
        return take_attribute(value, name)

    monkeypatch.setattr(environment, "getattr", note_attribute)
    rich_pages()
    templates = {
        name: environment.get_template(name) for name in environment.list_templates(["j2"])
    }
    reached = {
        (template, templates[template].get_corresponding_lineno(line), name)
        for template, line, name in reached
    }
    named = {
        (template, node.lineno, node.attr)
        for template in templates
        for node in environment.parse(
            environment.loader.get_source(environment, template)[0]
        ).find_all(nodes.Getattr)
    }
    assert len(named) > 200
    assert named - reached == set()
