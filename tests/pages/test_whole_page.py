"""Pages of a simulated night with everything on them: hints, headings, names, axe finds nothing."""

import html.parser
import re
from collections import Counter
from dataclasses import replace
from unittest import mock

import pytest
import small_chain
from astropy.io import fits
from browser import AXE, AXE_OPTIONS, CHROMIUM, act
from small_frames import run_jobs

from ccdflow.kinds import CHAIN
from ccdflow.kinds.calibrating.saturated_frames import field_and_light, unusual_saturation
from ccdflow.kinds.calibrating.science import SCIENCE
from ccdflow.kinds.explaining import product_explanation
from ccdflow.kinds.reporting.overview import OVERVIEW
from ccdflow.run import job_records

SATURATED_FRAME, STAR_FRAME = "science_g1.fits", "science_g2.fits"
TYPES = {"bias": ("bias", "biases"), "dark": ("dark", "darks"), "flat": ("flat", "flats")}


class Headings(html.parser.HTMLParser):
    """The headings of the tables of a page, and the names of its elements."""

    def __init__(self, text):
        super().__init__()
        self.columns, self.ids, self.labels = [], [], []
        self._section, self._column = "", None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        if tag == "section":
            self._section = given["aria-labelledby"]
            self.labels.append(self._section)
        elif tag == "th" and given.get("scope") in ("col", "colgroup"):
            self._column = [self._section, given.get("title", ""), ""]

    def handle_data(self, data):
        if self._column is not None:
            self._column[2] += data.strip()

    def handle_endtag(self, tag):
        if tag == "th" and self._column is not None:
            self.columns.append(tuple(self._column))
            self._column = None


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """The run on the tiny night, with sections of all kinds."""
    top = tmp_path_factory.mktemp("pages")
    chain = small_chain.make(top / "raw")
    # Twelve pixels are 1 in 867 of the frame, nine 1 in 1,156: the core of a bright star.
    for name, columns in ((SATURATED_FRAME, slice(20, 24)), (STAR_FRAME, slice(20, 23))):
        with fits.open(chain.raw / name, mode="update") as hdus:
            hdus[0].data[50:53, columns] = 65535
    return run_jobs(
        chain.raw, top / "results", {"simcam": chain.profile},
        kinds=[kind.name for kind in CHAIN], pictures={"per_type": 1}, detector={"enabled": True},
    )  # fmt: skip


@pytest.fixture(scope="module")
def pages(night):
    """The page of the night and the overview: [path, path]."""
    results = night.results
    return [results / f"nights/{small_chain.NIGHT}/report.html", results / "report.html"]


def test_every_column_of_every_table_has_a_name_and_a_word_on_hovering(pages):
    headings = [column for page in pages for column in Headings(page.read_text("utf-8")).columns]
    sections = {section for section, _, _ in headings}
    assert {"darks-and-flats", "calibrated", "choices", "detector"} <= sections
    lacking = [(section, name) for section, hint, name in headings if not hint or not name]
    # A kind says it in `Section.hints`, or `ccdflow.pages.glossary` does.
    assert headings
    assert lacking == []


def test_the_overview_counts_combined_darks_and_flats_and_is_made_again_with_them(night, pages):
    text = re.sub(r"\s+", " ", pages[1].read_text("utf-8"))
    n_made = {kind: len([*night.results.glob(f"combined/*/{kind}_*.fits")]) for kind in TYPES}
    assert min(n_made.values()) >= 1
    assert max(n_made.values()) >= 2
    phrases = [
        f"{n_made[kind]} combined {words[n_made[kind] != 1]}" for kind, words in TYPES.items()
    ]
    assert f"{phrases[0]}, {phrases[1]} and {phrases[2]} made." in text
    context = night.context
    earlier_basis, outcome = OVERVIEW.basis(context, None), context.outcome
    for kind in TYPES:
        product = next(group.product for group in context.groups.values() if group.kind == kind)
        failed = {product: replace(outcome(product), status=job_records.FAILED, reason="no disk")}

        def changed_outcome(_, product, failed=failed):
            return failed.get(product) or outcome(product)

        with mock.patch.object(type(context), "outcome", changed_outcome):
            assert OVERVIEW.basis(context, None)[kind] != earlier_basis[kind]


def test_a_unit_stands_in_brackets_behind_its_heading(pages):
    """One way of writing it: `hint_of` finds a word by the heading without its unit."""
    headings = {name for page in pages for _, _, name in Headings(page.read_text("utf-8")).columns}
    assert {"Gain (e⁻/adu)", "Read noise (e⁻)", "Exposure (s)"} <= headings
    assert not [name for name in headings if "e-" in name]
    units = r"(?:m?s|adu|e⁻(?:/adu)?|%|pixels?)"
    assert [name for name in headings if re.search(rf"(?:, | ){units}$", name)] == []


def test_two_numbers_of_hot_pixels_have_their_criteria(pages):
    text = pages[0].read_text("utf-8").replace("\N{NO-BREAK SPACE}", " ")
    assert "Hot (0.5 e⁻/s above neighbours)" in {name for _, _, name in Headings(text).columns}
    assert "by five errors, or not linear in time." in text
    numbers = re.findall(r"\d+ hot pixels \(([^)]*)\), glow", text)
    assert len(numbers) >= 2
    assert set(numbers) == {"5 e⁻/s above neighbours"}
    assert "a glow is not counted." in text


def test_a_calibrated_frame_in_its_table_leads_to_its_file(pages):
    text = pages[0].read_text("utf-8")
    section = re.search(r'(?s)<section aria-labelledby="calibrated">.*?</section>', text)[0]
    table = re.search(r"(?s)<tbody>.*?</tbody>", section)[0]
    links = re.findall(r'<th [^>]*><a [^>]*href="([^"]+)"', table)
    frames = [link for link in links if "/calibrated/" in link]
    assert len(frames) == table.count("<tr")
    assert len(frames) >= 2
    assert all((pages[0].parent / link).resolve().is_file() for link in frames)


def test_explain_tells_that_products_of_a_detector_are_no_frames(pages):
    results = pages[1].parent
    explanations = {}
    for path in (results / "detector" / "simcam").rglob("*.fits"):
        product = path.relative_to(results).as_posix()
        explanations[path.name.partition("_10")[0]] = "\n".join(
            product_explanation.explain_product(results, product)
        )
    assert f"odd, camera simcam\n  night    {small_chain.NIGHT}\n" in explanations["pixels"]
    assert "  from     combined/" in explanations["pixels"]
    assert "map of bad pixels" in explanations["bad_pixels_all"]
    assert (
        f"1 with darks or flats; a pixel of the mask, that of {small_chain.NIGHT},"
        in (explanations["bad_pixels_all"])
    )
    assert "  from     detector/simcam/" in explanations["bad_pixels_all"]
    for text in explanations.values():
        assert not re.search("unknown|None|frames combined|no overscan", text)


def test_no_page_shows_a_character_as_an_escape(pages):
    assert len(pages) > 1
    for page in pages:
        text = re.sub(r"(?s)<script.*?</script>", "", page.read_text("utf-8"))
        assert re.findall(r".{20}\\\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|[nrt])", text) == []


def test_no_two_parts_of_a_page_have_one_name(pages):
    assert len(pages) > 1
    for page in pages:
        seen = Headings(page.read_text("utf-8"))
        assert seen.ids
        assert [name for name, count in Counter(seen.ids).items() if count > 1] == []
        assert seen.labels
        assert [name for name, count in Counter(seen.labels).items() if count > 1] == []
        assert set(seen.labels) <= set(seen.ids)


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize(("dark", "ground"), [(False, "light"), (True, "dark")])
def test_a_page_of_everything_fits_and_axe_finds_no_fault(pages, dark, ground):
    look = """
    const [red] = getComputedStyle(document.body).backgroundColor.match(/\\d+/g);
    const ground = red > 127 ? "light" : "dark";
    for (const each of document.querySelectorAll("details")) each.open = true;
    const wide = [...document.querySelectorAll(".scroll")]
      .filter((each) => each.scrollWidth > each.clientWidth + 1).map((each) => each.ariaLabel);
    const found = window.axe ? (await axe.run(document, OPTIONS)).violations : [];
    return [ground, wide, document.documentElement.scrollWidth,
      found.map((each) => [each.id, each.nodes[0].html])];
    """
    assert len(pages) > 1
    for page in pages:
        scripts = (AXE,) if AXE.is_file() else ()
        script = look.replace("OPTIONS", AXE_OPTIONS[dark])
        assert act(page, script, scripts=scripts, is_dark=dark) == [ground, [], 1300, []]


def test_a_frame_with_many_saturated_pixels_is_marked_and_one_with_a_saturated_star_is_not(pages):
    text = pages[0].read_text("utf-8")
    tiles = re.findall(r"<li data-kind.*?</li>", text)
    marked = {
        name[1]: why[1]
        for tile in tiles
        if (why := re.search(r'title="([^"]*)">saturated<', tile))
        and (name := re.search(r'class="name">([^<]*)<', tile))
    }
    counts = {}
    for name in (SATURATED_FRAME, STAR_FRAME):
        with fits.open(pages[0].parents[2] / "calibrated" / name) as hdus:
            counts[name] = int((hdus["MASK"].data & 1).astype(bool).sum())
            assert hdus[0].header["NSAT"] == counts[name]
    assert counts == {SATURATED_FRAME: 12, STAR_FRAME: 9}
    assert marked == {"science_g1": "12 pixels of it, 1 in 867"}
    # The table has the number of both.
    section = re.search(r'(?s)<section aria-labelledby="calibrated">.*?</section>', text)[0]
    place = [name for which, _, name in Headings(text).columns if which == "calibrated"].index(
        "Saturated (pixels)"
    )
    shown = {}
    for row in re.findall(r"(?s)<tr.*?</tr>", section):
        cells = re.findall(r"(?s)<t[hd][^>]*>(.*?)</t[hd]>", row)
        shown |= {name: int(cells[place]) for name in counts if name in cells[0]}
    assert shown == counts


@pytest.mark.parametrize(
    ("saturated", "pixels", "others", "why"),
    [
        # The guide's night, EFOSC2 and ISIS: bright stars are usual, lost lines of a spectrum not.
        (102, 8_454_144, [79], ""),
        (47, 1_048_576, [37, 35], ""),
        (5262, 1_979_817, [5043], "5262 pixels of it, 1 in 376"),
        # A satellite's trail in one of three frames of a field.
        (900, 8_454_144, [79, 102], "900 pixels of it; 90 in the median of 2 frames alike"),
        (900, 8_454_144, [310, 205], ""),
        (900, 8_454_144, [79], ""),
        # A field with bright stars: all frames of it have many.
        (800, 8_454_144, [0, 0, 0], ""),
        (0, 100, [0, 0], ""),
    ],
)
def test_saturated_pixels_are_unusual_by_their_part_or_beside_frames_alike(
    saturated, pixels, others, why
):
    assert unusual_saturation(saturated, pixels, others) == why


def test_frames_alike_have_one_field_one_light_and_one_exposure(night):
    row = next(
        row for row in night.context.rows_of(small_chain.NIGHT) if row.file == SATURATED_FRAME
    )
    same = replace(row, facts={**row.facts, "exptime": 60.04})
    assert field_and_light(same) == field_and_light(replace(row, file="another.fits"))
    for change in ({"exptime": 70.0}, {"object": "field_9"}, {"filter": "r"}, {"type": "flat"}):
        other = replace(row, facts={**row.facts, **change})
        assert field_and_light(other) != field_and_light(row)


def test_the_line_of_a_watch_warns_of_unusual_saturation_alone(night):
    texts = {}
    for name in (SATURATED_FRAME, STAR_FRAME):
        record = night.context.outcome(f"calibrated/{name}")
        [(file, text, warnings)] = SCIENCE.frame_reports(night.context, record)
        texts[file] = text.partition("saturated ")[2].partition("  ")[0], warnings
    assert texts == {
        SATURATED_FRAME: ("12 px", ["saturated: 12 pixels of it, 1 in 867"]),
        STAR_FRAME: ("9 px", []),
    }
