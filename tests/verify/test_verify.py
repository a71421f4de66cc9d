"""Products made again by ccdproc: sound ones are verified, and no change passes."""

import bz2
import gzip
import lzma
import os
import sys
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from edited_products import card, rewrite
from small_frames import LFC_LIKE, bias_cards, biases, run_jobs, write_raw
from verified_chain import copy_folders

from ccdflow.verify import selection, table, verdicts

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import verify as command  # noqa: E402 - a script of the project

FRAME = "reduced/b3.fits"


@pytest.fixture(scope="module")
def combined_biases(tmp_path_factory):
    """Five biases with outliers, reduced and combined: (raw folder, results folder)."""
    top = tmp_path_factory.mktemp("night")
    rng = np.random.default_rng(5)
    for number, frame in enumerate(biases(5), start=1):
        frame.ravel()[rng.integers(0, frame.size, 9)] += np.uint16(900)
        write_raw(top / "raw" / f"b{number}.fits.gz", (frame, bias_cards(number)))
    run_jobs(top / "raw", top / "results", {"cam": LFC_LIKE.format(name="TESTCAM")},
             bias={"clip_by": "mad"})  # fmt: skip
    return top / "raw", top / "results"


@pytest.fixture
def copy(combined_biases, tmp_path):
    """A copy of the night that a test may change."""
    return copy_folders(combined_biases, tmp_path)


def combined_product(results):
    (product,) = [name for name in selection.files_of(results) if name.startswith("combined/")]
    return product


def look(product, folders, **options):
    raw, results = folders
    return verdicts.verify(product, raw=raw, results=results, **options)


def test_sound_products_are_verified_to_the_last_pixel(combined_biases):
    frame = look(FRAME, combined_biases)
    assert (frame.verdict, frame.pixels, frame.largest) == ("verified", 40 * 64, 0.0)
    combined = look(combined_product(combined_biases[1]), combined_biases, compares_all_rows=True)
    assert (combined.verdict, combined.pixels) == ("verified", 40 * 64)
    # The bands cover all rows.
    covered = look(combined_product(combined_biases[1]), combined_biases)
    assert (covered.pixels, covered.compared) == (40 * 64, combined.compared)
    assert combined.compared == "float32 rounding with ccdproc, all rows"


def add(value):
    def change(hdu):
        hdu.data[7, 11] += value

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (add(0.5), "at least 1 pixel differs"),
        (card("BIASLVL", 1003.0), "the level is 100"),
        (card("OVERRMS", 9.0), "the noise is "),
        (card("RAWFP", "00000000-1"), "RAWFP is 00000000-1, and the raw file has "),
        (card("RAWFILE", "b2.fits.gz"), "RAWFP is "),
        (card("OVERSCAN", "[68:72,1:40]"), " pixels differ"),
        (card("TRIM", "[2:65,1:40]"), " pixels differ"),
        (card("OSCSTAT", "mean"), " pixels differ"),
    ],
)
def test_a_changed_frame_with_right_checksums_differs(copy, change, reason):
    rewrite(copy[1] / FRAME, change)
    outcome = look(FRAME, copy)
    assert outcome.verdict == "differs"
    assert reason in outcome.reason


def test_a_member_exchanged_under_the_same_name_makes_the_combined_bias_differ(copy):
    results = copy[1]
    rewrite(results / FRAME, add(40.0))
    outcome = look(combined_product(results), copy)
    assert (outcome.verdict, outcome.reason) == ("differs", "at least 1 pixel differs")
    # The pixel of the exchanged member is clipped: one value of five is gone.
    assert 0 < outcome.largest < 5


@pytest.mark.parametrize("change", [card("IMGLEVEL", 7.5), card("CLIPSIG", 2.0), add(1e-3)])
def test_a_changed_combined_bias_differs(copy, change):
    product = combined_product(copy[1])
    rewrite(copy[1] / product, change)
    assert look(product, copy, compares_all_rows=True).verdict == "differs"


def test_a_flipped_bit_anywhere_is_found(copy):
    rng = np.random.default_rng(8)
    for product in (FRAME, combined_product(copy[1])):
        path = copy[1] / product
        sound = path.read_bytes()
        for _ in range(60):
            changed = bytearray(sound)
            # Half of the bits are in the header.
            where = rng.integers(0, len(sound) if rng.random() < 0.5 else 2880 * 2)
            changed[where] ^= 1 << int(rng.integers(0, 8))
            path.write_bytes(changed)
            assert look(product, copy).verdict != "verified", where
        path.write_bytes(sound)
        assert look(product, copy).verdict == "verified"


def test_a_raw_frame_that_was_replaced_is_found_and_one_that_is_gone_is_no_success(copy):
    raw, _ = copy
    content = bytearray(gzip.decompress((raw / "b3.fits.gz").read_bytes()))
    content[2880 + 700] ^= 1
    (raw / "b3.fits.gz").write_bytes(gzip.compress(bytes(content)))
    assert look(FRAME, copy).verdict == "differs"
    (raw / "b3.fits.gz").unlink()
    outcome = look(FRAME, copy)
    assert (outcome.verdict, outcome.reason) == (
        "cannot be made again",
        "the raw file b3.fits.gz is missing",
    )


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("b3.fits", bytes),
        ("b3.fits.bz2", bz2.compress),
        ("b3.fits.xz", lzma.compress),
        ("b3.fits", gzip.compress),
        ("b3.fits.gz", bytes),
        ("b3.fits.gz", lzma.compress),
    ],
)
def test_a_raw_frame_that_was_packed_in_another_way_is_the_same(copy, name, pack):
    """The content tells the packing, as in the reduction of the frame."""
    raw, _ = copy
    content = gzip.decompress((raw / "b3.fits.gz").read_bytes())
    (raw / "b3.fits.gz").unlink()
    (raw / name).write_bytes(pack(content))
    outcome = look(FRAME, copy)
    assert (outcome.verdict, outcome.pixels, outcome.largest) == ("verified", 40 * 64, 0.0)


def test_masters_of_a_camera_quieter_than_one_adu_are_verified(tmp_path):
    """Bytes, 99 % of which are equal: their noise is that of rounding, whatever the profile has."""
    profile = LFC_LIKE.format(name="TESTCAM").replace("1.5", "20.0").replace("6.0", "4.0")
    # The median of 22 columns.
    raw, results = tmp_path / "raw", tmp_path / "results"
    rng = np.random.default_rng(6)
    for number in range(9):
        kind = {} if number < 5 else {"IMAGETYP": "DARK", "EXPTIME": 60.0}
        frame = rng.choice((20, 21, 22), (40, 88), p=(0.005, 0.99, 0.005)).astype(np.uint8)
        write_raw(raw / f"b{number}.fits.gz", (frame, bias_cards(number, **kind)))
    run = run_jobs(raw, results, {"cam": profile}, kinds=("frame", "bias", "dark"))
    masters = [product for product in run.records if product.startswith("combined/")]
    bias, dark = (run.open(product)[0].header for product in sorted(masters))
    # An earlier prediction, by the profile's read noise and the level's rounding: 0.35, and 1.
    assert (bias["CLIPRN"], dark["MODFC"]) == pytest.approx((12**-0.5, 0.5**0.5), rel=1e-3)
    assert "times the predicted noise" in str(dark["HISTORY"])
    outcomes = [
        look(product, (raw, results), compares_all_rows=True) for product in (FRAME, *masters)
    ]
    assert [(each.verdict, each.reason) for each in outcomes] == [("verified", "")] * 3


def test_the_command_verifies_a_sample_once(copy, capsys):
    raw, results = copy
    words = [f"raw={raw}", f"results={results}"]
    assert command.main(words) == 0
    assert "2 of 2 products verified with ccdproc" in capsys.readouterr().out
    before = (results / table.TABLE_FILE).stat().st_mtime_ns
    assert command.main(words) == 0
    assert "(0 now, the others before)" in capsys.readouterr().out
    assert (results / table.TABLE_FILE).stat().st_mtime_ns == before
    assert command.main([*words, "--all"]) == 0
    assert "6 of 6 products verified" in capsys.readouterr().out
    assert len(table.read_verdicts(results)[0]) == 6


def test_the_command_fails_where_something_differs(copy, capsys):
    raw, results = copy
    words = [f"raw={raw}", f"results={results}"]
    assert command.main([*words, "--all"]) == 0
    rewrite(results / FRAME, add(1.0))
    assert command.main([*words, FRAME]) == 1
    out = capsys.readouterr().out
    assert f"differs: {FRAME}: at least 1 pixel differs" in out
    # The combined bias has a member that changed: its verdict holds no more.
    assert command.main([*words, combined_product(results)]) == 1


def test_the_command_names_the_wrong_word(copy, capsys):
    raw, results = copy
    assert command.main([f"raw={raw}"]) == 1
    assert "results: is not given; write results=FOLDER" in capsys.readouterr().err
    assert command.main([f"raw={raw}", f"results={results}", "reduced/nothing.fits"]) == 1
    assert "there is no such product" in capsys.readouterr().err


def test_frames_of_the_first_version_of_the_header_are_verified(tmp_path):
    """One raw file is gone, and the two biases do not tell their members' clipping."""
    with tarfile.open(ROOT / "tests/data/results_of_38e4045.tar.xz") as archive:
        # Python 3.11.2 of Debian 12 has no filters.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(tmp_path)
    raw, results = tmp_path / "raw", tmp_path / "results"
    outcomes = {product: look(product, (raw, results)) for product in selection.files_of(results)}
    assert Counter((v.verdict, v.cause) for v in outcomes.values()) == {
        ("verified", ""): 13, ("cannot be made again", "missing"): 1,
        ("cannot be made again", "older"): 2,
    }  # fmt: skip
    product = "reduced/2024-03-01/b0.fits"
    path = results / product
    sound = path.read_bytes()
    for change in (card("OVERSCAN", "[42:48,1:24]"), card("NAMPS", 2)):
        rewrite(path, change)
        assert look(product, (raw, results)).verdict != "verified"
        path.write_bytes(sound)


@pytest.mark.parametrize("what", ["pipe", "device"])
def test_a_pipe_or_device_in_the_place_of_a_product_is_not_waited_for(copy, what):
    """Neither by the choice of the sample nor by the verification."""
    raw, results = copy
    products = [FRAME, combined_product(results)]
    for product in products:
        (results / product).unlink()
        if what == "pipe":
            os.mkfifo(results / product)
        else:
            (results / product).symlink_to("/dev/zero")
    made = {product: verdicts.NotedProduct(selection.kind_of(product)) for product in products}
    chosen, _ = selection.sample_of_products(results, made)
    assert chosen == sorted(products)
    answers, *_ = table.verify_products(products, noted_products=made, raw=raw, results=results)
    assert {(each.verdict, each.cause) for each in answers} == {("cannot be made again", "missing")}
    assert all("a pipe or a device is in its place" in each.reason for each in answers)
