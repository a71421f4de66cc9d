"""The workflow gives its pages the right figures, and no false claim."""

import html
import re

import numpy as np
import pandas as pd
import pytest
from small_frames import bias_cards, biases, run_jobs, write_raw
from workflow.stand_ins import stand_in, use_stand_ins

from ccdflow.kinds.masters.bias import BIAS_KIND
from ccdflow.kinds.masters.group_queries import trend_groups
from ccdflow.kinds.reporting import figures, frame_pictures
from ccdflow.run.context import JobContext
from ccdflow.run.job import Group
from ccdflow.run.raw_frames.inventory_table import read_inventory

KINDS = ("frame", "bias", "frames picture", "bias picture", "page", "bias table", "index")
PROFILE = """\
recognise: {INSTRUME: TESTCAM}
amplifiers:
  - {name: A, data: {python: '[:, 0:64]'}, overscan: {python: '[:, 66:]'}, gain: 1.5, read_noise: %s}
"""  # noqa: E501
NIGHT = "2020-02-29"
PAGE = f"nights/{NIGHT}/report.html"


@pytest.fixture(autouse=True)
def no_drawing(monkeypatch):
    use_stand_ins(monkeypatch)


def run_night(tmp_path, profile=PROFILE % 6.0, **config):
    config = {"pictures": {"per_type": 1}} | config
    return run_jobs(
        tmp_path / "raw", tmp_path / "results", {"test": profile}, kinds=KINDS, **config
    )


def text_of(run, page=PAGE):
    page = (run.results / page).read_text()
    page = re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(page).split())


def fill(raw, frames, **cards):
    for number, frame in enumerate(frames):
        write_raw(raw / f"b{number}.fits", (frame, bias_cards(number, **cards)))


@pytest.mark.parametrize(
    ("claim", "sentence"), [(6.0, ""), (9.0, "% less than the 9"), (4.0, "% more than the 4")]
)
def test_a_page_warns_of_a_read_noise_unlike_the_claimed_one(claim, sentence, tmp_path):
    """The simulated read noise is 4 adu, 6 electrons."""
    fill(tmp_path / "raw", biases(5))
    text = text_of(run_night(tmp_path, PROFILE % claim))
    assert ("that are claimed" in text) == bool(sentence)
    assert "“Claimed” is the value of the header or of the camera's profile." in text
    if sentence:
        percent = {9.0: 33, 4.0: 50}[claim]
        match = re.search(r"test A: the read noise is ([\d.]+) electrons, (\d+) " + sentence, text)
        assert float(match[1]) == pytest.approx(6, rel=0.06)
        assert int(match[2]) == pytest.approx(percent, abs=8)


def test_amplifiers_without_signal_are_named(tmp_path):
    pixels = list(biases(6))
    for frame in pixels[1:]:
        frame[:, :64] = 65535
    fill(tmp_path / "raw", pixels)
    run = run_night(tmp_path, bias={"enabled": False})
    wanted = (
        "test: amplifier A is saturated throughout in 5 frames (b1.fits, b2.fits, b3.fits ...)."
    )
    assert wanted in text_of(run)


def test_a_page_claims_no_overscan_of_a_camera_without_one(tmp_path):
    """The level is that of the pixels, and drifts by 15 adu an hour."""
    for n, frame in enumerate(biases(5)):
        write_raw(tmp_path / f"raw/b{n}.fits", (frame + np.uint16(n // 2), bias_cards(2 * n)))
    run = run_night(tmp_path, "recognise: {INSTRUME: TESTCAM}\noverscan: none")
    text = text_of(run)
    assert "5 frames reduced: no overscan was subtracted." in text
    assert "No overscan was subtracted, and the pixels [1:72,1:40] were kept" in text
    (row,) = pd.read_csv(run.results / "bias_quality.csv").to_dict("records")
    assert row["level"] == pytest.approx(1003.5, abs=0.5)
    assert row["level_span"] == pytest.approx(2, abs=0.4)
    # The levels 0, 0, 1, 1, 2 adu at every two minutes scatter by 0.32 adu about their line.
    assert row["drift_an_hour"] == pytest.approx(15, abs=3)
    assert row["drift_an_hour_error"] == pytest.approx(3, rel=0.3)
    header = run.open(row["product"])[0].header
    assert not {"BIASLVL", "OVERSCAN"} & set(header)
    assert header["IMGLEVEL"] == pytest.approx(1003.5, abs=0.5)


@pytest.mark.parametrize("count", [1, 2])
def test_biases_too_few_to_combine_have_their_read_noise_or_a_sentence(count, tmp_path):
    fill(tmp_path / "raw", biases(count))
    run = run_night(tmp_path)
    (row,) = pd.read_csv(run.results / "bias_quality.csv").to_dict("records")
    reason = f"{count} frame{'s' * (count > 1)}, fewer than the minimum of 3"
    assert (row["frames"], row["note"]) == (count, reason)
    text = text_of(run)
    assert f"none was made, because {reason}" in text
    if count == 1:
        assert np.isnan(row["read_noise"])
        assert "There are not two biases of one kind to measure them from." in text
    else:
        assert row["read_noise"] == pytest.approx(4, abs=4 * row["read_noise_error"])
        # N pixels give a noise to a fraction 1 / sqrt(2 N).
        assert row["read_noise_error"] == pytest.approx(4 / (2 * 40 * 72) ** 0.5, rel=0.15)
        assert np.isnan([row["combined_noise"], row["predicted_noise"]]).all()
        assert f"{row['read_noise']:.3f} ± {row['read_noise_error']:.3f}" in text


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ({}, "The median of the overscan [67:72,1:40] was subtracted row by row, and the pixels"),
        (
            {"model": "spline", "order": 2, "statistic": "mean"},
            "The spline of order 2 through the mean of the overscan [67:72,1:40]",
        ),
        ({"trim": False}, "and the frame was left whole (sections from the profile)."),
        ({"subtract": False}, "No overscan was subtracted, and the pixels [1:64,1:40] were kept"),
    ],
)
def test_the_page_has_the_recipe(recipe, sentence, tmp_path):
    fill(tmp_path / "raw", biases(1))
    assert sentence in text_of(run_night(tmp_path, reduction=recipe))


def test_a_picture_of_a_frame_shows_its_pixels_strips_and_regions(tmp_path):
    profile = PROFILE % 6.0 + "  - {name: B, data: {python: '[:, 64:66]'}}\n"
    (frame,) = biases(1)
    cards = bias_cards(0, BIASSEC="[65:72,1:40]")
    write_raw(tmp_path / "raw/b0.fits.gz", (None, cards), (frame, {"EXTNAME": "CHIP"}))
    run = run_night(tmp_path, profile)
    panels = frame_pictures.frame_images(run.context, run.context.store.rows["b0.fits.gz"])
    np.testing.assert_array_equal(panels.raw, frame)
    level = np.median(frame[:, 66:], axis=1)[:, None]
    np.testing.assert_array_equal(panels.reduced[:, :64], (frame[:, :64] - level).astype("f4"))
    (strip,) = panels.strips
    assert (strip.region, strip.amplifier) == ((0, 40, 66, 72), "A")
    assert panels.data == ((0, 40, 0, 64), (0, 40, 64, 66))
    assert panels.header_region == (0, 40, 64, 72)
    assert (panels.image_type, panels.along) == ("bias", "rows")


def test_the_overview_counts_the_frames_of_a_night_by_status(tmp_path):
    fill(tmp_path / "raw", biases(4))
    (tmp_path / "raw/bad.fits").write_bytes(b"no FITS")
    run = run_night(tmp_path)
    text = text_of(run, "report.html")
    assert "1 night and 1 frame without a date, 5 frames: 4 reduced, 1 set aside. " in text
    assert "2020-02-29 test 4 biases 4 4 0 1 bias Without a date: 1 frame Night" in text
    assert "undated – 1 0 1 –" in text
    assert re.search(
        r"Reason Frames Cameras SIMPLE: not a FITS file[^.]* 1 – 1 frame set aside", text
    )
    assert "bad.fits – – SIMPLE: not a FITS file" in text


def light_one_frame(frames, number, *, adu):
    """Return frames of which one has some adu of light more on its science pixels."""
    frames = list(frames)
    frames[number][:, :64] += np.uint16(adu)
    return frames


def test_a_page_shows_a_bias_that_is_left_out_beside_its_frame(tmp_path):
    """The light in the bias is three quarters of the noise of a pixel."""
    fill(tmp_path / "raw", light_one_frame(biases(8), 5, adu=3))
    run = run_night(tmp_path)
    (row,) = pd.read_csv(run.results / "bias_quality.csv").to_dict("records")
    text = text_of(run)
    (why,) = re.findall(r"left out: b5.fits \((.*?\))\)", row["note"])
    level, median = map(float, re.findall(r"(?:level is|group has) ([\d.]+)", why))
    assert level - median == pytest.approx(3, abs=0.3)
    assert text.count(f"reduced not in the combined bias: {why}") == 1
    # In the list of frames to look at as well.
    assert text.count(f"test: b5.fits: not in the combined bias: {why}.") == 1
    assert text.count("not in the combined bias:") == 2
    inventory = read_inventory(run.results / "inventory.csv").set_index("file")["reason"]
    # Six columns are too few for a level a row, and each frame is warned of for that.
    outs = inventory.str.extract(r"(left out of its combined bias: [^;]*)", expand=False).dropna()
    assert outs.to_dict() == {"b5.fits": f"left out of its combined bias: {why}"}
    rest = inventory.str.replace(r"left out of its combined bias: [^;]*; ", "", regex=True)
    assert rest.str.startswith("warning: no card has the longitude").all()


def test_light_of_a_quarter_of_the_noise_passes(tmp_path):
    fill(tmp_path / "raw", light_one_frame(biases(8), 5, adu=1))
    assert "left out" not in text_of(run_night(tmp_path))
    (row,) = pd.read_csv(tmp_path / "results/bias_quality.csv").to_dict("records")
    assert row["frames"] == 8


def test_a_page_warns_of_a_combined_bias_noisier_than_predicted(tmp_path):
    """Every other frame has another pattern: variance 16 / 8 + 4 where 16 / 8 + 1 is expected.

    With a difference P of the patterns (rms 4 adu) and white noise s (4 adu) pairs of neighbours
    have s^2 + P^2 / 2, so s^2 / n + P^2 / (2 n) is predicted; halves leave s^2 / n + P^2 / 4.
    """
    pattern = np.random.default_rng(8).choice([-2, 2], (40, 64))
    frames = list(biases(8))
    for number, frame in enumerate(frames):
        frame[:, :64] = frame[:, :64] + pattern * (-1) ** number
    fill(tmp_path / "raw", frames)
    run = run_night(tmp_path)
    (row,) = pd.read_csv(run.results / "bias_quality.csv").to_dict("records")
    ratio = np.sqrt((16 / 8 + 4) / (16 / 8 + 1))
    assert row["combined_noise"] / row["predicted_noise"] == pytest.approx(ratio, rel=0.06)
    percent = round(100 * (row["combined_noise"] / row["predicted_noise"] - 1))
    sentence = (
        f"{percent} % more than the {row['predicted_noise']:.3g} adu that the read noise predicts"
    )
    assert sentence in row["note"]
    assert sentence in text_of(run)
    assert any(sentence in line for line in run.lines)


def test_a_page_reports_that_combining_is_switched_off(tmp_path):
    fill(tmp_path / "raw", biases(4))
    run = run_night(tmp_path, bias={"enabled": False})
    assert "Combining biases is switched off in the configuration" in text_of(run)
    assert "Combining biases is switched off in the configuration" in text_of(run, "report.html")


def group(camera, **shared):
    return Group(
        f"combined/n/{camera}{shared}.fits", "n", camera, tuple(shared.items()), (), kind="bias"
    )


def test_groups_are_named_by_their_differences():
    groups = [
        group("lfc", ccdsum="1 1", part="DETECTOR SITe, CHIPID 0", gain="1.1"),
        group("lfc", ccdsum="2 2", part="DETECTOR SITe, CHIPID 0", gain="1.1"),
        group("lfc", ccdsum="2 2", part="DETECTOR SITe, CHIPID 1", gain="1.1"),
        group("kast", ccdsum="1 1", part="", gain="None"),
    ]
    assert list(figures.names_of_groups(groups).values()) == [
        "lfc 1x1 CHIPID 0",
        "lfc 2x2 CHIPID 0",
        "lfc 2x2 CHIPID 1",
        "kast",
    ]


def saturate_frames(frames, *, which):
    frames = list(frames)
    for number in which:
        frames[number][:] = 65535
    return frames


def test_biases_that_are_saturated_make_no_combined_bias(tmp_path):
    fill(tmp_path / "raw", saturate_frames(biases(4), which=range(4)))
    run = run_night(tmp_path)
    assert not list(run.results.glob("combined/*/*"))
    (row,) = pd.read_csv(run.results / "bias_quality.csv").to_dict("records")
    assert row["note"] == "all of them are saturated throughout"
    assert np.isnan(row["product"])
    assert "all of them are saturated throughout" in text_of(run)


def test_a_saturated_bias_is_left_out_for_that(tmp_path):
    fill(tmp_path / "raw", saturate_frames(biases(6), which=[2]))
    run = run_night(tmp_path)
    (row,) = pd.read_csv(run.results / "bias_quality.csv").to_dict("records")
    assert row["note"] == "left out: b2.fits (its amplifier A is saturated throughout)"
    assert row["frames"] == 5


def test_nights_without_noise_cost_no_page(tmp_path):
    """The noise of such frames is 0 of 0 predicted."""
    raw = tmp_path / "raw"
    for n, frame in enumerate(biases(8)):
        if n < 4:
            frame[:] = 1000
            frame[:, 0] += np.arange(len(frame), dtype=np.uint16) % 2
        cards = bias_cards(n) | {"DATE-OBS": f"2020-03-0{1 + n // 4}T23:0{n}:00"}
        write_raw(raw / f"b{n}.fits", (frame, cards))
    run = run_night(tmp_path)
    assert {path.parent.name for path in run.results.glob("nights/*/report.html")} == {
        "2020-03-01",
        "2020-03-02",
    }
    assert "All nights" in text_of(run, "report.html")


def test_groups_of_several_nights_are_shown_on_the_last_of_them(tmp_path):
    for n, frame in enumerate(biases(8)):
        cards = bias_cards(n) | {"DATE-OBS": f"2020-03-0{1 + n // 4}T23:0{n}:00"}
        write_raw(tmp_path / f"raw/b{n}.fits", (frame, cards))
    run = run_night(tmp_path, bias={"group_by": ["ccdsum"]})
    (row,) = pd.read_csv(run.results / "bias_quality.csv").to_dict("records")
    assert (row["night"], row["frames"]) == ("all", 8)
    sentence = "combined with those of other nights: see night 2020-03-02."
    first, last = (text_of(run, f"nights/2020-03-0{n}/report.html") for n in (1, 2))
    assert sentence in first
    assert sentence not in last
    assert "Combined bias: 8 biases, noise of a pixel" in last
    assert f"{row['group']}.fits" in last
    assert "1 combined bias made." in text_of(run, "report.html")


def test_the_trend_has_a_line_for_each_kind_of_biases(tmp_path, monkeypatch):
    """Biases of two binnings have two levels: what joins them is no trend."""
    for night in (1, 2):
        for ccdsum, level in (("1 1", 1000), ("2 2", 1400)):
            for number, frame in enumerate(biases(3, level=level)):
                cards = bias_cards(number, CCDSUM=ccdsum) | {
                    "DATE-OBS": f"2020-03-0{night}T02:0{number}:00"
                }
                write_raw(tmp_path / f"raw/n{night}_{ccdsum[0]}_{number}.fits", (frame, cards))
    drawn = []

    def trend_picture(points, **named):
        drawn.append({(p.camera, p.amplifier, p.night): p.level for p in points})
        return stand_in(points, **named)

    monkeypatch.setattr("ccdflow.pages.pictures.trend_picture.trend_picture", trend_picture)
    run_night(tmp_path)
    lines = {}
    for (camera, amplifier, _), level in drawn[-1].items():
        lines.setdefault((camera, amplifier), []).append(level)
    assert lines == {
        ("test 1x1", "A"): [pytest.approx(1000, abs=1)] * 2,
        ("test 2x2", "A"): [pytest.approx(1400, abs=1)] * 2,
    }


def test_a_page_shows_the_figures_of_thirty_nights_and_none_after_its_own(tmp_path):
    """A new night does not draw the pages of all nights before it again."""
    nights = [f"2020-{month:02}-{day:02}" for month in (3, 4) for day in range(1, 21)]
    context = JobContext(
        settings={}, raw=tmp_path, results=tmp_path, store=None, ledger={}, chain=()
    )
    for night in reversed(nights):
        for product in (f"combined/{night}/b.fits", f"combined/{night}/a.fits"):
            context.groups[product] = Group(product, night, "test", (), (), (night,), kind="bias")
    for place in (0, 28, 29, 30, 39):
        products = [group.product for group in trend_groups(BIAS_KIND, context, nights[place])]
        shown = nights[max(0, place - 29) : place + 1]
        assert products == [f"combined/{night}/{x}.fits" for night in shown for x in "ab"]
        assert len(shown) == min(place + 1, 30)
