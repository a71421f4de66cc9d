"""Products of several image HDUs, and packed ones: cards that only one of the headers has."""

import re
from pathlib import Path

import numpy as np
import pytest
import small_chain
from astropy.io import fits
from small_frames import run_jobs
from verified_chain import MADE_KINDS, first_product, verify_all_rows

from ccdflow.verify import table
from ccdflow.verify.calibrated import calibrated_verdict, grading
from ccdflow.verify.comparing import extensions, source_cards
from ccdflow.verify.comparing.comparing import Differs
from ccdflow.verify.comparing.extensions import extension_name
from ccdflow.verify.reading.accounts import NamedMaster
from ccdflow.verify.reading.verdict import NotedProduct

AMPLIFIER = """\
  - {{name: {}, hdu: {}, data: {{python: "[:, {}]"}}, overscan: {{python: "[:, {}]"}}, gain: {},
     read_noise: 5.0, saturation: 65535}}
"""
PROFILE = (
    'recognise: {INSTRUME: "SIMCAM"}\nsite: {longitude: 0.0}\nlayout: extensions\n'
    "reduction: {model: polynomial, order: 1}\namplifiers:\n"
    + AMPLIFIER.format("A", 1, "0:52", "103:107", 1.2)
    + AMPLIFIER.format("B", 2, "52:103", "119:123", 1.55)
)


@pytest.fixture(scope="module")
def night_of_extensions(tmp_path_factory):
    """A night of two image HDUs with a narrow overscan: (raw folder, results folder)."""
    top = tmp_path_factory.mktemp("extensions")
    counts = {"darks": ((60.0, 4),), "flats": (("g", 4),), "science": (("g", 60.0, 1),)}
    chain = small_chain.make(top / "raw", **counts)
    for path in chain.raw.glob("*.fits"):
        data, header = fits.getdata(path, header=True)
        images = [fits.ImageHDU(data, name=name) for name in ("IM1", "IM2")]
        fits.HDUList([fits.PrimaryHDU(None, header), *images]).writeto(path, overwrite=True)
    run_jobs(chain.raw, top / "results", {"simcam": PROFILE}, kinds=MADE_KINDS)
    return chain.raw, top / "results"


def test_calibrated_frames_read_the_model_of_the_overscan_from_the_first_header(
    night_of_extensions,
):
    """Rows share the noise of a model: it is a sixth of the noise of one row's median."""
    product = first_product(night_of_extensions[1], "calibrated/science")
    with fits.open(night_of_extensions[1] / product) as hdus:
        assert (hdus[0].header["OSCMODEL"], "OSCMODEL" in hdus[1].header) == ("polynomial", False)
        assert hdus[1].header["OSCNOISE"] == pytest.approx(0.43, rel=0.1)
    outcome = verify_all_rows(product, night_of_extensions)
    assert (outcome.verdict, outcome.reason) == ("verified", "")


@pytest.mark.parametrize("kind", ["dark", "flat", "bias"])
def test_combined_frames_are_clipped_as_their_images_say(night_of_extensions, kind):
    product = first_product(night_of_extensions[1], f"combined/{kind}")
    outcome = verify_all_rows(product, night_of_extensions)
    assert (outcome.verdict, outcome.reason) == ("verified", "")


def verdict_on_change(night, kind, change, **options):
    """Return the verdict on a product that was changed, its sums right again."""
    product = first_product(night[1], kind)
    path = night[1] / product
    sound = path.read_bytes()
    try:
        with fits.open(path, memmap=False, **options) as hdus:
            change(hdus)
            hdus.writeto(path, overwrite=True, checksum=True)
        outcome = verify_all_rows(product, night)
    finally:
        path.write_bytes(sound)
    return outcome.verdict, outcome.reason


def test_an_image_that_says_another_clipping_than_the_first_header_differs(night_of_extensions):
    def change(hdus):
        hdus[2].header["CLIPDEV"] = "mad"

    verdict, reason = verdict_on_change(night_of_extensions, "combined/bias", change)
    assert (verdict, reason) == ("differs", "CLIPDEV is noise, and its card has mad")
    assert verdict_on_change(night_of_extensions, "combined/dark", change)[0] == "differs"


@pytest.mark.parametrize("kind", ["combined/bias", "calibrated/science"])
def test_an_image_of_another_name_differs(night_of_extensions, kind):
    def change(hdus):
        hdus[1].header["EXTNAME"] = "IM3"

    expected = "differs", "EXTNAME is IM1 in its source, and its card has IM3"
    assert verdict_on_change(night_of_extensions, kind, change) == expected


@pytest.fixture(
    scope="module", params=["quantised", pytest.param("lossless", marks=pytest.mark.torture)]
)
def packed_night(tmp_path_factory, request):
    """The tiny night with packed calibrated frames: (raw folder, results folder)."""
    top = tmp_path_factory.mktemp(request.param)
    counts = {"biases": 3, "darks": ((60.0, 3),), "flats": (("g", 3),)}
    chain = small_chain.make(top / "raw", science=(("g", 60.0, 1),), **counts)
    options = {"kinds": MADE_KINDS, "calibrate": {"compress": request.param}}
    run_jobs(chain.raw, top / "results", {"simcam": chain.profile}, **options)
    return chain.raw, top / "results"


def test_the_first_header_of_a_packed_frame_is_compared(packed_night):
    """Anybody reads it there, though the header of the image behind it is the right one."""
    outcome = verify_all_rows(first_product(packed_night[1], "calibrated/science"), packed_night)
    assert (outcome.verdict, outcome.reason) == ("verified", "")
    as_tables = {"disable_image_compression": True}
    for keyword, value in (
        ("OBJECT", "another"), ("EXPTIME", 61.0), ("FLATIM", "combined/x.fits"), ("OBSERVER", "me"),
        ("SKYLVL", None), ("MFNOISE", None), ("BUNIT", None), ("CALGRADE", None),
    ):  # fmt: skip

        def change(hdus, keyword=keyword, value=value):
            hdus[0].header[keyword] = value
            if value is None:
                del hdus[0].header[keyword]

        outcome = verdict_on_change(packed_night, "calibrated/science", change, **as_tables)
        assert outcome[0] == "differs", keyword
        assert f"the card {keyword} is not in the header " in outcome[1]

    def rename(hdus):
        hdus[1].header["EXTNAME"] = "OTHER"

    verdict, reason = verdict_on_change(packed_night, "calibrated/science", rename, **as_tables)
    assert (verdict, "EXTNAME" in reason) == ("differs", True)


@pytest.mark.parametrize("keyword", ["BIASIM", "DARKIM", "FLATIM", "BPMIM"])
def test_a_verdict_does_not_hold_where_a_product_that_the_frame_names_is_gone(tmp_path, keyword):
    """By the names in cards, in which a percent sign is written as %25."""
    source = tmp_path / "detector" / "2024-03-01" / "pixels_5%.fits"
    source.parent.mkdir(parents=True)
    source.write_bytes(b"one")
    frame = fits.PrimaryHDU()
    frame.header[keyword] = "detector/2024-03-01/pixels_5%25.fits"
    frame.writeto(tmp_path / "frame.fits")
    content = (tmp_path / "frame.fits").read_bytes()

    def content_hash():
        product = "calibrated/frame.fits"
        return table.hash_and_key(product, content, tmp_path, tmp_path, NotedProduct("science"))[0]

    first_hash = content_hash()
    assert content_hash() == first_hash
    source.write_bytes(b"other")
    hash_of_replaced = content_hash()
    source.unlink()
    assert len({first_hash, hash_of_replaced, content_hash()}) == 3


@pytest.mark.parametrize(
    ("kind", "hdu", "keywords"),
    [
        ("reduced/science", 1, ("BIASLVL", "OVERRMS", "OSCAXIS", "LTV1", "BUNIT")),
        ("combined/bias", 0, ("DATE-BEG", "DATE-END", "CLIPSIG", "CLIPITER")),
        ("combined/bias", 1, ("RNOISE", "CNOISE", "CLIPDEV", "TRIM", "NAMPS")),
        ("combined/dark", 0, ("BIASDT",)),
        ("combined/dark", 1, ("NHOT", "DARKRT", "MBNOISE", "EXPTIME", "AMPGAIN", "MODFC")),
        ("combined/flat", 1, ("MDNOISE", "FLATSN", "AMPSAT", "DATASEC")),
        ("calibrated/science", 0, ("RAWFILE", "BIASDT", "FLATDT", "DARKDTMP", "FLATLVL")),
        ("calibrated/science", 1, ("BUNIT", "GAIN", "MODRN", "SKYLVL")),
    ],
)
def test_a_card_that_was_deleted_differs_and_is_named(night_of_extensions, kind, hdu, keywords):
    for keyword in keywords:

        def change(hdus, keyword=keyword):
            del hdus[hdu].header[keyword]

        verdict, reason = verdict_on_change(night_of_extensions, kind, change)
        assert (verdict, keyword in reason) == ("differs", True), (keyword, reason)


@pytest.mark.parametrize(
    ("kind", "bits"),
    [
        ("combined/dark", (16, 64, 128, 256, 16384)),
        ("combined/flat", (4, 8, 64, 256, 16384)),
        ("calibrated/science", (16, 32, 64, 1024, 2048, 4096, 8192, 16384)),
    ],
)
def test_bits_that_no_mask_of_a_kind_has_differ(night_of_extensions, kind, bits):
    """This night has no cosmic rays looked for, no bad pixels named and no saturated pixel."""
    for bit in bits:

        def change(hdus, bit=bit):
            mask = hdus["MASK1"].data
            assert not (mask & (bit | 1)).any()
            mask[33, 44] |= bit

        verdict, reason = verdict_on_change(night_of_extensions, kind, change)
        assert (verdict, reason.startswith("1 pixels of the mask ")) == ("differs", True), bit


@pytest.mark.parametrize(
    ("cards", "reason"),
    [
        ({"COSMICS": "found"}, "there is no card NCOSMIC"),
        ({"NCOSMIC": 0}, "COSMICS should be found or discarded, and its card has None"),
        ({"NCOSMIC": 0, "COSMICS": "lost"}, "and its card has lost"),
        ({"NCOSMIC": 0, "COSMICS": "discarded"}, ""),
        ({"NCOSMIC": 1, "COSMICS": "discarded"}, "NCOSMIC is 0"),
    ],
)
def test_the_cards_on_cosmic_rays_agree_with_the_mask(night_of_extensions, cards, reason):
    def change(hdus):
        hdus[1].header.update(cards)

    verdict, why = verdict_on_change(night_of_extensions, "calibrated/science", change)
    assert (verdict == "differs", reason in why) == (bool(reason), True), why


def test_the_cards_on_bad_pixels_come_together(night_of_extensions):
    def change(hdus):
        hdus[0].header["BPMNTS"] = 0

    verdict, reason = verdict_on_change(night_of_extensions, "calibrated/science", change)
    assert (verdict, reason) == (
        "differs",
        "BPMIM, BPMKEY and BPMNTS should be there together, and the header has only BPMNTS",
    )


def test_the_number_of_tables_of_bad_pixels_is_that_of_those_named():
    first = fits.Header([("BPMIM", "a"), ("BPMKEY", "k"), ("BPMIM02", "b"), ("BPMNTS", 2)])
    calibrated_verdict.check_named_tables(first)
    first["BPMNTS"] = 1
    with pytest.raises(Differs, match="BPMNTS is 2, and its card has 1"):
        calibrated_verdict.check_named_tables(first)


def test_the_noise_of_the_bias_of_a_frame_without_a_dark_is_that_of_some_rows(tmp_path):
    """Amplifiers of 52 and 51 columns have as many of each fourth column: neither is the median."""
    counts = {"darks": (), "flats": (("g", 3),), "science": (("g", 60.0, 1),)}
    chain = small_chain.make(tmp_path / "raw", **counts)
    run_jobs(chain.raw, tmp_path / "results", {"simcam": chain.profile}, kinds=MADE_KINDS)
    product = first_product(tmp_path / "results", "calibrated/science")
    header = fits.getheader(tmp_path / "results" / product)
    assert ("DARKIM" in header, header["MBNOISE"] > 1) == (False, True)
    outcome = verify_all_rows(product, (chain.raw, tmp_path / "results"))
    assert (outcome.verdict, outcome.reason) == ("verified", "")


@pytest.mark.parametrize(
    ("masters", "grade", "lines", "reason"),
    [
        ("bdf", "A", (), ""),
        ("bf", "A", (), "there is no DARKIM, and no line of HISTORY says why"),
        ("bf", "C", ("grade C: no dark",), ""),
        ("bf", "A", ("grade A: no dark",), "CALGRADE is C by its HISTORY"),
        ("bf", "A", ("without dark: none is needed",), ""),
        ("bd", "A", ("without flat: no step of this frame",), ""),
        ("bd", "A", ("without flat: because",), "does not write: 'without flat: because'"),
        ("bdf", "C", ("grade C: no dark",), "DARKIM names a dark"),
        ("bf", "B", ("grade B: dark left out: more noise than structure",), ""),
        ("bdf", "A", ("grade A: no UNCERT: the bias level is still in the pixels",), ""),
        ("bdf", "A", ("grade A: no UNCERT: the moon",), "a reason that ccdflow has not"),
        ("bdf", "B", ("grade B: bias 2 nights before",), "which its cards do not give"),
        ("bdfs", "B", ("grade B: dark scaled down by 0.6",), "no reason 'dark scaled down by 0.5'"),
        ("bdf", "B", ("grade B: dark temperature unknown",), "and DARKDTMP is there"),
        ("bdf", "B", ("grade B: dark 2 C warmer",), "and DARKDTMP is 0.0"),
        ("bdf", "A", ("grade A: all is well",), "a reason that ccdflow has not"),
        ("bdf2", "A", (), "no reason 'bias 2 nights before'"),
        ("bdf2", "B", ("grade B: bias 2 nights before",), ""),
        ("bdf2", "A", ("grade B: bias 2 nights before",), "CALGRADE is A, and HISTORY has B"),
        ("bdfs", "B", ("grade B: dark scaled down by 0.5",), ""),
        ("bdfs", "A", (), "no reason 'dark scaled down by"),
        ("bdft", "A", (), "has no 'dark temperature unknown'"),
        ("bdft", "B", ("grade B: dark temperature unknown",), ""),
    ],
)
def test_a_grade_follows_from_the_steps_that_the_header_names(masters, grade, lines, reason):
    header = fits.Header({"CALGRADE": grade, "BIASDT": 2 if "2" in masters else 0})
    if "t" not in masters:
        header["DARKDTMP"] = 0.0
    for line in lines:
        header.add_history(f"ccdflow: {line}")
    factors = (0.5 if "s" in masters else 1.0,)
    named = {
        kind: NamedMaster("x", "y", factors if kind == "dark" else ())
        for kind in ("bias", "dark", "flat")
        if kind[0] in masters
    }
    if not reason:
        grading.check_grade(header, named)
        return
    with pytest.raises(Differs, match=re.escape(reason)):
        grading.check_grade(header, named)


def test_a_line_of_history_that_ccdflow_does_not_write_differs(night_of_extensions):
    def change(hdus):
        hdus[0].header.add_history("ccdflow: this is a lie")

    for kind in ("reduced/science", "calibrated/science"):
        verdict, reason = verdict_on_change(night_of_extensions, kind, change)
        assert (verdict, "this is a lie" in reason) == ("differs", True)


def test_the_comment_of_an_older_header_version_is_no_difference():
    """A reduced frame with a new header, and a calibrated frame made of it before."""
    new = fits.Header([("OSCAXIS", "rows", "part of the image with one overscan level")])
    old = fits.Header([("OSCAXIS", "rows", "what of the image has a level of its own")])
    for product, source in ((old, new), (new, old)):
        source_cards.check_cards(product, [source], source_cards.CALIBRATED_ORIGINS)
    other = fits.Header([("OSCAXIS", "rows", "another comment")])
    with pytest.raises(Differs, match="the comment of OSCAXIS is not that of its source"):
        source_cards.check_cards(other, [new], source_cards.CALIBRATED_ORIGINS)


@pytest.mark.parametrize("gain", [1.000004999, 10.315166, 2.5999951, 9.9999949])
def test_a_mean_gain_is_no_difference_beyond_the_digits_of_its_card(gain):
    card = float(f"{gain:.6g}")
    pixels = np.linspace(100, 60_000, 500, dtype=np.float32)
    steps = np.abs(pixels * gain - pixels * card) / (pixels * gain * np.finfo(np.float32).eps)
    allowed = calibrated_verdict.allowed_float_steps(fits.Header({"GAINMEAS": card}))
    assert steps.max() <= allowed <= 45
    assert calibrated_verdict.allowed_float_steps(fits.Header()) == 2


def test_one_function_writes_the_names_of_extensions():
    assert [extension_name("MASK", hdu) for hdu in (0, 1, 12)] == ["MASK", "MASK1", "MASK12"]
    pattern = re.compile(r"""\bhdu or ['"]{2}|\bif (?:\w+\.)?hdu else ["']""")
    assert pattern.search('name = f"MASK{hdu}" if hdu else "MASK"')
    folder = Path(extensions.__file__).parents[1]
    places = [p.name for p in folder.rglob("*.py") for _ in pattern.finditer(p.read_text("utf-8"))]
    assert places == ["extensions.py"]
