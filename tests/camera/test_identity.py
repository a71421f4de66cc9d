"""Frames of another device, window, binning or setting are groups of their own."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from astropy.io import fits
from small_frames import LFC_LIKE, begin, bias_cards, biases, run_jobs, write_raw

from ccdflow.camera import identity
from ccdflow.camera.facts import ProfileFacts, default_cards, frame_facts
from ccdflow.camera.identity import (
    differing_cards_in_words,
    differing_keywords,
    setting_of,
    value_of_card_text,
)
from ccdflow.detector.frame_figures import frame_statistics
from ccdflow.detector.member_selection import Thresholds
from ccdflow.detector.two_populations import split_populations
from ccdflow.run.context import PlanContext

PROFILE = LFC_LIKE.format(name="TESTCAM")

# Dialects of acquisition programs, each with two values that must not be averaged.
UNLIKE_CARDS = {
    "window of MaxIm": {"XORGSUBF": (0, 64)},
    "window in y": {"YORGSUBF": (10, 500)},
    "LTV": {"LTV1": (0.0, -200.0)},
    "STARTX": {"STARTX": (1, 201)},
    "Andor's HSTART": {"HSTART": (1, 201)},
    "ESO STRX": {"HIERARCH ESO DET WIN1 STRX": (1, 201)},
    "ESO WIN STRX": {"HIERARCH ESO WIN STRX": (1, 201)},
    "SUBRECT": {"SUBRECT": ("0, 63, 63, 0", "200, 163, 263, 100")},
    "SUBFRAME": {"SUBFRAME": ("0,0,64,64", "8,0,64,64")},
    "X_START": {"X_START": (0, 12)},
    "COLSTART": {"COLSTART": (0, 12)},
    "FIRSTROW": {"FIRSTROW": (0, 12)},
    "ROIX0": {"ROIX0": (0, 12)},
    "CCDWXOFF": {"CCDWXOFF": (0, 12)},
    "PRD-MIN1": {"PRD-MIN1": (1, 101)},
    "CNPIX2": {"CNPIX2": (0, 50)},
    "XOFFSET as a whole number": {"XOFFSET": (0, 12)},
    "BINNING of one number": {"BINNING": (1, 2)},
    "CCDSUM of one number": {"CCDSUM": ("1", "2")},
    "HBIN": {"HBIN": (1, 2)},
    "CCDBINX": {"CCDBINX": (1, 2)},
    "DET-BIN1": {"DET-BIN1": (1, 2)},
    "XFACTOR": {"XFACTOR": (1, 2)},
    "XBINNING alone": {"XBINNING": (1, 2)},
    "TELESCOP": {"TELESCOP": ("North", "South")},
    "CAM-ID": {"CAM-ID": ("83F010771", "83F011167")},
    "SERIALNO": {"SERIALNO": ("SN1001", "SN1002")},
    "CAMSN": {"CAMSN": ("A1", "B2")},
    "DETSERNO": {"DETSERNO": ("A1", "B2")},
    "CAMERA": {"CAMERA": ("cam01", "cam02")},
    "CCDSERNO": {"CCDSERNO": (17, 18)},
    "OFFSET": {"OFFSET": (10, 50)},
    "BLKLEVEL": {"BLKLEVEL": (10, 50)},
    "PEDESTAL": {"PEDESTAL": (0, 100)},
    "CGAIN": {"CGAIN": ("HCG", "LCG")},
    "EGAIN": {"EGAIN": (0.25, 1.0)},
    "GAINMODE": {"GAINMODE": (0, 1)},
    "PREAMP": {"PREAMP": ("1x", "4x")},
    "SET-TEMP": {"SET-TEMP": (-10.0, -30.0)},
    "CCD-TSET": {"CCD-TSET": (-60, -80)},
    "SETPOINT": {"SETPOINT": (-10, -20)},
    "READOUTM": {"READOUTM": ("Fast", "Low Noise")},
    "PIXRATE": {"PIXRATE": (1, 3)},
    "HSSPEED": {"HSSPEED": (1.0, 3.0)},
}


def run_biases(tmp_path, cards, **config):
    """Run six biases, the last three with the second value of each card."""
    for number, frame in enumerate(biases(6)):
        mine = {name: values[number // 3] for name, values in cards.items()}
        write_raw(tmp_path / "raw" / f"b{number}.fits", (frame, bias_cards(number, **mine)))
    return run_jobs(tmp_path / "raw", tmp_path / "results", {"test": PROFILE}, **config)


def groups(run):
    return sorted(
        (product, tuple(record.data["members"]))
        for product, record in run.records.items()
        if record.kind == "bias"
    )


FIRST_BIASES, LAST_BIASES = ("b0.fits", "b1.fits", "b2.fits"), ("b3.fits", "b4.fits", "b5.fits")


@pytest.fixture(scope="module")
def members_of(tmp_path_factory):
    """Return {dialect: members of each combined bias}, planned together, a night for each."""
    top = tmp_path_factory.mktemp("dialects")
    nights = {}
    for place, (dialect, cards) in enumerate(UNLIKE_CARDS.items()):
        day = date(2020, 3, 2) + timedelta(days=place)
        nights[(day - timedelta(days=1)).isoformat()] = dialect
        for number, frame in enumerate(biases(6)):
            mine = {name: values[number // 3] for name, values in cards.items()}
            mine["DATE-OBS"] = f"{day}T02:{number:02d}:00"
            path = top / "raw" / f"{place}" / f"b{number}.fits"
            write_raw(path, (frame, bias_cards(number, **mine)))
    running = begin(top / "raw", top / "results", {"test": PROFILE})
    running.lock.close()
    members = {dialect: [] for dialect in UNLIKE_CARDS}
    for group in PlanContext.of(running.context).groups.values():
        if group.kind == "bias":
            names = tuple(sorted(file.rpartition("/")[2] for file in group.files))
            members[nights[group.product.split("/")[1]]].append(names)
    return members


@pytest.mark.parametrize("dialect", UNLIKE_CARDS)
def test_unlike_frames_are_never_averaged(dialect, members_of):
    assert sorted(members_of[dialect]) == [FIRST_BIASES, LAST_BIASES]


def test_the_name_tells_the_groups_apart_and_is_as_before_where_there_is_one(tmp_path):
    alike = run_biases(tmp_path / "one", {"OFFSET": (10, 10), "TELESCOP": ("T", "T")})
    ((name, members),) = groups(alike)
    assert name == "combined/2020-02-29/bias_test_64x40.fits"
    assert members == FIRST_BIASES + LAST_BIASES
    both = run_biases(tmp_path / "two", {"OFFSET": (10, 50), "TELESCOP": ("T", "T")})
    assert [name for name, _ in groups(both)] == [
        "combined/2020-02-29/bias_test_64x40_OFFSET10.fits",
        "combined/2020-02-29/bias_test_64x40_OFFSET50.fits",
    ]


@pytest.mark.parametrize(
    "cards",
    [
        {"CCD-TEMP": (-10.0, -13.0)},  # as a sensor wanders, not what it was set to
        {"XOFFSET": (0.25, 12.5)},  # a dither in arc seconds
        {"SET-TEMP": (-10.02, -9.97)},
        {"WINDDIR": (10, 200)},
        {"CAM_TARG": (0, 90)},
        {"OBSERVER": ("A", "B")},
        {"TELESCOP": ("Shane 3m", "SHANE  3M")},
    ],
)
def test_cards_of_no_setting_or_of_equal_ones_divide_no_group(cards, tmp_path):
    ((_, members),) = groups(run_biases(tmp_path, cards))
    assert members == FIRST_BIASES + LAST_BIASES


@pytest.mark.parametrize(
    ("cards", "left"),
    [
        ({"HSTART": (1, 5)}, "window"),
        ({"PIXRATE": (1, 3)}, "readmode"),
        ({"HBIN": (1, 2)}, "ccdsum"),
    ],
)
def test_frames_are_averaged_over_a_key_left_out_of_group_by(cards, left, tmp_path):
    by = [key for key in ("night", "ccdsum", "window", "readmode", "gain") if key != left]
    ((_, members),) = groups(run_biases(tmp_path, cards, bias={"group_by": by}))
    assert members == FIRST_BIASES + LAST_BIASES


@pytest.mark.parametrize(
    ("cards", "wanted"),
    [
        ({"CCDSUM": "2"}, "2 2"), ({"BINNING": 3}, "3 3"), ({"HBIN": 2, "VBIN": 4}, "2 4"),
        ({"CCDBINX": 1, "CCDBINY": 2}, "1 2"), ({"DET-BIN1": 2, "DET-BIN2": 2}, "2 2"),
        ({"XBINNING": 4}, "4 4"), ({"XFACTOR": 2, "YFACTOR": 1}, "2 1"),
        ({"BINNING": "2x1"}, "2 1"),
        ({"CCDSUM": "2 1", "HBIN": 4, "VBIN": 4}, "2 1"), ({"BINNING": 1000}, ""), ({}, ""),
    ],
)  # fmt: skip
def test_binning_in_any_dialect_is_in_the_table(cards, wanted):
    header = fits.Header({"SIMPLE": True, "NAXIS": 2, "NAXIS1": 64, "NAXIS2": 40, **cards})
    facts = frame_facts([header], default_cards(), (), ProfileFacts(), file="a/b.fits")
    assert facts.ccdsum == wanted


def test_the_setting_of_many_images_is_short_and_tells_them_apart():
    def headers(shift):
        images = [fits.Header({"NAXIS": 2, "LTV1": -(100 * i + shift)}) for i in range(64)]
        return [fits.Header({"NAXIS": 0, "TELESCOP": "A"}), *images]

    first_headers, other = (setting_of(headers(shift), range(1, 65)) for shift in (0, 1))
    assert len(first_headers) < 60
    assert differing_keywords([first_headers, other]) == ["LTV1"]
    assert differing_keywords([first_headers, first_headers]) == []


# -- two kinds by their pixels -----------------------------------------------------------------


def statistics(frames, levels):
    return [
        frame_statistics(f.astype(np.float32), [lv]) for f, lv in zip(frames, levels, strict=True)
    ]


def test_two_kinds_are_seen_and_one_is_not():
    rng = np.random.default_rng(4)
    frames = rng.normal(0, 4, (9, 64, 96))
    assert split_populations(statistics(frames, [500.0] * 9)) is None
    # Frames whose level drifts are of one kind.
    assert split_populations(statistics(frames, np.linspace(500, 700, 9))) is None
    assert split_populations(statistics(frames, [500, 620] * 4 + [501])) == (
        (0, 2, 4, 6, 8),
        (1, 3, 5, 7),
    )
    pattern = frames.copy()
    pattern[5:, :, 48:] += 3
    assert split_populations(statistics(pattern, [500.0] * 9)) == ((0, 1, 2, 3, 4), (5, 6, 7, 8))


def test_frames_of_two_numbers_of_bright_pixels_are_two_kinds():
    frames = statistics(np.random.default_rng(4).normal(0, 4, (9, 64, 96)), [500.0] * 9)
    few, many = 0.5 * Thresholds().bright, 2.5 * Thresholds().bright
    for bright, expected in ((few, None), (many, ((0, 1, 2, 3, 4), (5, 6, 7, 8)))):
        changed = [replace(each, bright_fraction=0.0) for each in frames[:5]]
        changed += [replace(each, bright_fraction=bright) for each in frames[5:]]
        assert split_populations(changed) == expected


def test_cards_between_two_kinds():
    one = [
        {"A": "1", "MYTEMP": f"{t}", "DATE-OBS": "x", "N": f"{n}"} for n, t in enumerate((20, 20.5))
    ]
    other = [
        {"A": "2", "MYTEMP": f"{t}", "DATE-OBS": "y", "N": f"{n}"} for n, t in enumerate((31, 31.5))
    ]
    assert differing_cards_in_words(one, other) == [
        "A (1 and 2)",
        "MYTEMP (20 to 20.5 and 31 to 31.5)",
    ]
    assert value_of_card_text("MODE    = 'it''s   '           / a comment".ljust(80)) == "it"
    assert value_of_card_text("HIERARCH ESO DET X = 12 / twelve".ljust(80)) == "12"


def test_frames_that_are_left_out_name_the_card_that_differs(tmp_path):
    frames = list(biases(12))
    for number in (10, 11):
        frames[number][:, :64] += 12
    for number, frame in enumerate(frames):
        cards = bias_cards(number, WARMUP="done" if number < 10 else "no")
        write_raw(tmp_path / "raw" / f"b{number:02d}.fits", (frame, cards))
    run = run_jobs(tmp_path / "raw", tmp_path / "results", {"test": PROFILE})
    (record,) = (r for r in run.records.values() if r.kind == "bias")
    assert record.status == "made"
    assert [file for file, *_ in record.data["left_out"]] == ["b10.fits", "b11.fits"]
    # The frame's own value is the first: it has "no", and the members have "done".
    ending = "; cards differ from those of the others: WARMUP (no and done)"
    for _, text, *_ in record.data["left_out"]:
        assert text.endswith(ending)
    header = fits.getheader(tmp_path / "results" / record.product)
    history = "".join(str(line).ljust(72) for line in header["HISTORY"])
    assert history.count(ending.removeprefix("; ")) == 2


@pytest.mark.parametrize(
    ("sizes", "named", "n_others", "values"),
    [
        ((4, 8), "b4.fits, b5.fits and 2 more", 4, "no and done"),
        ((5, 9), "b5.fits, b6.fits and 2 more", 5, "no and done"),
        ((4, 9), "b0.fits, b1.fits and 2 more", 5, "done and no"),
    ],
    ids=["as many", "fewer last", "fewer first"],
)
def test_a_refused_group_names_the_card_that_differs(tmp_path, sizes, named, n_others, values):
    """No dialect knows WARMUP; the levels after overscan subtraction differ by three noises.

    The values of the card stand in the order of the frames in the sentence.
    """
    n_done, n_frames = sizes
    frames = list(biases(n_frames))
    for number in range(n_done, n_frames):
        frames[number][:, :64] += 12
    for number, frame in enumerate(frames):
        cards = bias_cards(
            number, WARMUP="done" if number < n_done else "no", CCDTEMP=-80.0 - number / 100
        )
        write_raw(tmp_path / "raw" / f"b{number}.fits", (frame, cards))
    run = run_jobs(tmp_path / "raw", tmp_path / "results", {"test": PROFILE})
    (record,) = (r for r in run.records.values() if r.kind == "bias")
    assert record.status == "refused"
    assert f"; two kinds: {named}, and {n_others} others; " in record.reason
    assert record.reason.endswith(f"these cards differ: WARMUP ({values})")


@pytest.mark.parametrize(
    ("keyword", "is_decisive"),
    [
        ("ESO DET CHIP1 ID", True), ("ESO DET OUT1 ID", True), ("DETNAM", True), ("CCDNAME", True),
        ("SERIALNO", True), ("QUADID", True), ("ESO DET WIN1 STRX", True),
        ("XORGSUBF", True), ("COADDS", True), ("READMODE", True), ("WINDOW", True),
        # A kind of exposure, a moment, the instrument (a profile may have several names of it), the
        # telescope (some cameras write the kind there), a dither, a temperature that was set.
        ("CCDTYPE", False), ("READTIME", False), ("INSTRUME", False),
        ("TELESCOP", False), ("XOFFSET", False),
        ("SET-TEMP", False),
    ],
)  # fmt: skip
def test_cards_that_keep_a_master_from_a_frame_though_all_masters_have_them_alike(
    keyword, is_decisive
):  # fmt: skip
    by = ("night", "ccdsum", "window", "readmode", "gain")
    assert identity.is_decisive(keyword, by) is is_decisive


def test_cards_that_masters_are_not_grouped_by_keep_none_from_a_frame():
    assert not identity.is_decisive("XORGSUBF", ("night", "gain"))


def test_a_setting_of_a_million_keeps_its_digits():
    """The text '1.1e+06' would be that of 1,100,000 and of 1,100,049 alike."""
    texts = [
        setting_of([fits.Header({"INSTRUME": "PROBE", "GAIN": value})], [0])
        for value in (999_999, 1_100_000, 1_100_049)
    ]
    assert texts == [f"GAIN={digits}|INSTRUME=PROBE" for digits in ("999999", "1100000", "1100049")]
