"""Deliberate changes of a results folder are found, or listed in docs/verify.md.

Every change gets right checksums again, and mostly the CCDFKEY that was there.
"""

import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from edited_products import card, rewrite
from verified_chain import MADE_KINDS, copy_folders, first_product, make_chain

from ccdflow import errors
from ccdflow.kinds import CHAIN, verification
from ccdflow.run import ledger
from ccdflow.run.ledger import noted_fits_products
from ccdflow.run.under_snakemake import host
from ccdflow.verify import command, table, verdicts
from ccdflow.verify.comparing import comparing
from ccdflow.verify.reading.verdict import NotedProduct

REJECTION_WARNING = (
    "ccdflow: amplifier B: 12 % of the values were rejected, where noise alone would have 1 %"
)
SCIENCE, FRAME, DARK = "calibrated/science", "reduced/science", "combined/dark"


@pytest.fixture(scope="module")
def sound_night(tmp_path_factory):
    """The tiny night, whose combined biases have UNCERT and COUNT: (raw, results)."""
    top = tmp_path_factory.mktemp("tampered")
    settings = {"bias": {"uncertainty": True, "count": True}}
    return make_chain(top, settings, flats=(("g", 4),), science=(("g", 60.0, 2),))


@pytest.fixture
def copy(sound_night, tmp_path):
    """A copy of the night that a test may change."""
    return copy_folders(sound_night, tmp_path)


def look(product, folders, *, knows=False):
    """Return the verdict on a product, by its header alone or with the notes of the run."""
    raw, results = folders
    notes = NotedProduct(*noted_fits_products(results)[product]) if knows else None
    return verdicts.verify(
        product, raw=raw, results=results, compares_all_rows=True, product_notes=notes
    )


def swap_hdus(hdus):
    """Exchange the second and the third HDU."""
    hdus[1], hdus[2] = hdus[2], hdus[1]


def add_hdu(name):
    """Return a function that adds an HDU."""

    def change(hdus):
        hdus.append(fits.ImageHDU(np.zeros(hdus[0].shape, "i2"), name=name))

    return change


def lose_hdu(hdu):
    """Return a function that deletes an HDU."""

    def change(hdus):
        del hdus[hdu]

    return change


def scale_pixels(hdu, factor):
    """Return a function that multiplies the pixels of an HDU."""

    def change(hdus):
        hdus[hdu].data *= factor

    return change


def flip_bit_of_mask(bit):
    """Return a function that flips a bit of one pixel of the mask."""

    def change(hdus):
        hdus["MASK"].data[33, 44] ^= bit

    return change


def raise_by_a_step(data):
    """Raise one pixel by a step of float32."""
    data[5, 7] = np.nextafter(data[5, 7], np.float32(np.inf))


def repeat_card(keyword):
    """Return a function that adds a second card of a keyword."""

    def change(hdus):
        hdus[0].header.append((keyword, "another"), end=True)

    return change


def lose_card(keyword):
    """Return a function that deletes a card."""

    def change(hdus):
        del hdus[0].header[keyword]

    return change


def change_comment(keyword):
    """Return a function that changes the comment of a card."""

    def change(hdus):
        hdus[0].header.comments[keyword] = "another"

    return change


def add_line_of_history(text):
    """Return a function that adds a line of HISTORY."""

    def change(hdus):
        hdus[0].header.add_history(text)

    return change


def exchange(one, other, hdu=0):
    """Return a function that exchanges two cards of a header."""

    def change(hdus):
        header = hdus[hdu].header
        cards = [fits.Card(*header.cards[word]) for word in (one, other)]
        places = [header.index(word) for word in (one, other)]
        for word in (one, other):
            del header[word]
        for place, new in sorted(zip(places, cards[::-1], strict=True), key=lambda pair: pair[0]):
            header.insert(place, new)

    return change


def lose_clipping(hdus):
    """Change the header of a bias to one without clipping: no value of it was clipped."""
    for keyword in ("CLIPSIG", "CLIPITER", "CLIPRN01", "CLIPRN02"):
        del hdus[0].header[keyword]
    hdus[0].header["CLIPDEV"] = "none"


@pytest.mark.parametrize(
    ("kind", "change", "reason"),
    [
        (SCIENCE, swap_hdus, "is not in its place"),
        (SCIENCE, add_hdu("EXTRA"), "is named 'EXTRA'"),
        (SCIENCE, add_hdu("MASK"), "is not in its place"),
        (FRAME, add_hdu("MASK2"), "is named 'MASK2'"),
        (SCIENCE, lose_hdu(2), "it has no MASK"),
        (SCIENCE, lose_hdu(1), "it has no UNCERT"),
        (DARK, lose_hdu(1), "it has no UNCERT"),
        (SCIENCE, scale_pixels(1, 1.01), " standard errors differ"),
        (DARK, scale_pixels(1, 1.01), " standard errors differ"),
        ("combined/bias", scale_pixels(1, 1.01), " standard errors are not the scatter's"),
        ("combined/bias", scale_pixels(2, 2), " pixels of COUNT are not"),
        (SCIENCE, flip_bit_of_mask(128), "1 pixels of the mask"),
        (DARK, flip_bit_of_mask(8), "NHOT is "),
        (DARK, flip_bit_of_mask(4), "1 pixels of the mask"),
        (FRAME, repeat_card("OBJECT"), "the card OBJECT is there 2 times"),
        (FRAME, lose_card("OBJECT"), "the card OBJECT of its source is missing"),
        (SCIENCE, lose_card("OBJECT"), "the card OBJECT of its source is missing"),
        (DARK, lose_card("INSTRUME"), "the card INSTRUME is alike in all members"),
        (FRAME, change_comment("NAXIS"), None),
        (FRAME, change_comment("CCDFKEY"), None),
        (FRAME, lambda hdus: card("AMPNAM01", "X")(hdus[0]), None),
        (FRAME, lambda hdus: card("CCDFLOW", "9.9")(hdus[0]), None),
        (SCIENCE, lambda hdus: raise_by_a_step(hdus["UNCERT"].data), None),
        (FRAME, add_line_of_history("observed by another"), "no source has the HISTORY"),
        (FRAME, lambda hdus: card("OBSERVER", "another")(hdus[0]), "no source has a card OBSERVER"),
        (FRAME, lambda hdus: card("CCDSEC", "[1:9,1:9]")(hdus[0]), "CCDSEC is not known"),
        (DARK, lambda hdus: card("DETSEC", "[1:9,1:9]")(hdus[0]), "no source has a card DETSEC"),
        (SCIENCE, lambda hdus: card("OBSERVER", "another")(hdus[1]), "UNCERT has a card OBSERVER"),
        (FRAME, exchange("OBJECT", "INSTRUME"), "and must be before it"),
        (FRAME, exchange("RAWFP", "NAMPS"), "and must be before it"),
        (SCIENCE, exchange("SKYLVL", "NSAT"), "and must be before it"),
        ("combined/bias", exchange("NCOMBINE", "NREJECT"), "and must be before it"),
        ("combined/bias", lambda hdus: card("CCDFCAM", "x")(hdus[0]), "CCDFCAM is 'simcam'"),
        ("combined/bias", lambda hdus: lose_clipping(hdus), None),
        (FRAME, lambda hdus: card("LONGSTRN", "OGIP 1.0")(hdus[0]), "LONGSTRN is there"),
        (FRAME, lambda hdus: card("DATAMAX", 1.0)(hdus[0]), "no source has a card DATAMAX"),
        (SCIENCE, lambda hdus: card("NEXTEND", 2)(hdus[0]), "no source has a card NEXTEND"),
        (SCIENCE, lambda hdus: card("BUNIT", "adu")(hdus["MASK"]), "MASK has a card BUNIT"),
        (SCIENCE, lambda hdus: hdus["MASK"].header.add_comment("0 bad"), "another COMMENT"),
        (SCIENCE, lambda hdus: hdus["UNCERT"].header.add_comment("x"), "another COMMENT"),
        (SCIENCE, exchange("UTYPE", "BUNIT", hdu="UNCERT"), "not in the order"),
        (DARK, exchange("COMMENT", "EXTNAME", hdu="MASK"), "not in the order"),
        (FRAME, lambda hdus: card("EXTEND", value=False)(hdus[0]), "EXTEND of HDU 0 is True"),
        (DARK, add_line_of_history("ccdflow: amplifier A is dead throughout"), "no such amplifier"),
        ("combined/bias", add_line_of_history(REJECTION_WARNING), "NREJECT is "),
        (
            FRAME,
            lambda hdus: hdus[0].header.append(fits.Card.fromstring(" " * 80), end=True),
            "without a keyword",
        ),
    ],
)
def test_hdus_and_cards_that_were_changed_lost_or_added_differ(copy, kind, change, reason):
    product = first_product(copy[1], kind)
    with fits.open(copy[1] / product, memmap=False) as hdus:
        change(hdus)
        hdus.writeto(copy[1] / product, overwrite=True, checksum=True)
    outcome = look(product, copy)
    if reason is None:
        # No file has it but the notes of the run.
        assert (outcome.verdict, outcome.reason) == ("verified", "")
        outcome = look(product, copy, knows=True)
        assert (outcome.verdict, "of the run" in outcome.reason) == ("differs", True)
    else:
        assert (outcome.verdict, reason in outcome.reason) == ("differs", True), outcome.reason


def test_tiles_whose_cards_nobody_can_read_are_no_success(tmp_path):
    """The sums are right: astropy stops only where it unpacks them."""
    path = tmp_path / "reduced/x.fits"
    path.parent.mkdir()
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(np.zeros((9, 9), "i2"))]).writeto(path)
    with fits.open(path, disable_image_compression=True) as hdus:
        del hdus[1].header["ZBITPIX"]
        hdus.writeto(path, overwrite=True, checksum=True)
    outcome = verdicts.verify("reduced/x.fits", raw=tmp_path, results=tmp_path)
    assert (outcome.verdict, outcome.cause) == ("cannot be made again", "unreadable")
    assert "ZBITPIX" in outcome.reason


def test_a_page_has_no_verdict_on_products_made_again_since(copy):
    """A damaged frame that a run makes again has its key, and another time of its file."""
    results, product = copy[1], first_product(copy[1], FRAME)
    rewrite(results / product, lambda hdu: hdu.data.__setitem__((3, 3), 7.0))
    assert report_of(copy, product_names=[product])[1] == 1
    time, jobs, records = (results / product).stat().st_mtime_ns, {}, ledger.load_ledger(results)
    row = SimpleNamespace(file=product.removeprefix("reduced/"))

    def shown_verdicts(stamp):
        context = SimpleNamespace(
            results=results, jobs=jobs, rows_of=lambda night: [row], lookup=lambda _, read: read(),
            outcome=lambda name: replace(records[name], stamp=stamp),
        )  # fmt: skip
        return [line[:2] for line in verification.verdicts_of(context, "2024-03-01")]

    assert shown_verdicts((0, time, 0)) == [[product, "differs"]]
    assert shown_verdicts((0, time + 1, 0)) == []
    jobs[product] = "a run is about to make it again"
    assert shown_verdicts((0, time, 0)) == []


def test_the_same_pixels_stored_scaled_differ(copy):
    """BZERO and BSCALE changed together with the numbers: astropy reads the same pixels."""
    product = first_product(copy[1], FRAME)
    path = copy[1] / product
    with fits.open(path, memmap=False) as hdus:
        hdus[0].data = ((hdus[0].data - 512) / 2).astype("f4")
        hdus[0].header["BZERO"], hdus[0].header["BSCALE"] = 512.0, 2.0
        header, data = hdus[0].header, hdus[0].data
        stored = fits.PrimaryHDU(data, header, do_not_scale_image_data=True)
        stored.header["BZERO"], stored.header["BSCALE"] = 512.0, 2.0
        stored.add_checksum()
        stored.writeto(path, overwrite=True)
    outcome = look(product, copy)
    assert (outcome.verdict, outcome.reason) == (
        "differs", "HDU 0 has BSCALE, and no product is stored scaled"
    )  # fmt: skip


def test_the_header_of_one_frame_on_the_pixels_of_another_differs(copy):
    paths = sorted((copy[1] / "reduced").glob("science_g*.fits"))
    other = fits.getdata(paths[1])

    def change(hdu):
        hdu.data = other

    rewrite(paths[0], change)
    outcome = look(f"reduced/{paths[0].name}", copy)
    assert (outcome.verdict, "pixels differ" in outcome.reason) == ("differs", True)


def minus_zero(data):
    data[data == 0] = -0.0


@pytest.mark.parametrize(
    ("kind", "change", "by_header"),
    [
        (FRAME, minus_zero, "differs"),
        (FRAME, raise_by_a_step, "differs"),
        (DARK, raise_by_a_step, "verified"),
        (SCIENCE, raise_by_a_step, "verified"),
    ],
)
def test_bits_within_the_rounding_are_found_by_the_notes_of_the_run(copy, kind, change, by_header):
    """The sign of 0, and a step of float32 where ccdproc rounds in another order."""
    product = first_product(copy[1], kind)
    sound_bytes = fits.getdata(copy[1] / product).tobytes()
    rewrite(copy[1] / product, lambda hdu: change(hdu.data))
    assert fits.getdata(copy[1] / product).tobytes() != sound_bytes
    assert look(product, copy).verdict == by_header
    outcome = look(product, copy, knows=True)
    assert (outcome.verdict, bool(outcome.reason)) == ("differs", True)


def test_a_nan_has_no_bits_but_those_of_numpy_or_of_the_raw_frame():
    """A message that somebody hides in pixels without a value is found."""
    product = np.array([0x7FC00000, 0xFFC00000, 0x7FC00001], "u4").view("f4")
    again = np.full(3, np.nan)
    assert comparing.count_other_bits(product[:2], again[:2]) == (0, 0.0)
    assert comparing.count_other_bits(product, again) == (1, 0.0)
    assert comparing.count_other_bits(product.astype(">f4"), again) == (1, 0.0)
    with pytest.raises(comparing.Differs, match="other bits"):
        comparing.difference_within(product.astype("f8"), again, np.float32, 2)
    comparing.difference_within(product[:2].astype("f8"), again[:2], np.float32, 2)
    # The raw frame had the same ones.
    assert comparing.count_other_bits(product, product.astype("f8")) == (0, 0.0)
    assert (
        comparing.difference_within(product.astype("f8"), product.astype("f8"), np.float32, 2)
        == 0.0
    )


def test_bytes_behind_the_last_hdu_differ(copy):
    product = first_product(copy[1], SCIENCE)
    with (copy[1] / product).open("ab") as file:
        file.write(b"\0" * 2880)
    assert look(product, copy).verdict == "differs"


@pytest.mark.parametrize("kind", [FRAME, DARK, SCIENCE])
def test_an_older_product_put_back_or_that_of_another_folder_differs(copy, kind):
    """Pixels, header and sums are all right; the notes here have another key."""
    results = copy[1]
    product = first_product(results, kind)
    rewrite(results / product, card("CCDFKEY", "0123456789abcdef"))
    assert look(product, copy).verdict == "verified"
    outcome = look(product, copy, knows=True)
    assert outcome.verdict == "differs"
    assert "CCDFKEY is " in outcome.reason
    assert "its card has 0123456789abcdef" in outcome.reason


def report_of(folders, **options):
    request = command.VerifyRequest(**options)
    text, status = command.verify_and_report(
        *folders, request, notes_by_product=noted_fits_products(folders[1])
    )
    return text.splitlines(), status


@pytest.mark.parametrize(
    ("kind", "change", "reason"),
    [
        ("combined/bias", lose_clipping, "CLIPSIG is 5.0 in the notes of the run"),
        (
            "combined/dark",
            lambda hdus: card("CLIPSIG", 6.0)(hdus[0]),
            "CLIPSIG is 5.0 in the notes",
        ),
        (FRAME, lambda hdus: card("CCDFCAM", "other")(hdus[0]), "CCDFCAM is simcam in the notes"),
    ],
)
def test_the_notes_of_the_run_have_the_settings(copy, kind, change, reason):
    """Cards of other settings that give the same pixels are right in themselves."""
    product = first_product(copy[1], kind)
    with fits.open(copy[1] / product, memmap=False) as hdus:
        change(hdus)
        hdus.writeto(copy[1] / product, overwrite=True, checksum=True)
    outcome = look(product, copy, knows=True)
    assert (outcome.verdict, reason in outcome.reason) == ("differs", True), outcome.reason


def test_bytes_that_fill_the_last_block_of_the_pixels_differ(copy):
    """The bytes are in the sums, which were made right again."""
    product = first_product(copy[1], FRAME)
    with fits.open(copy[1] / product, memmap=False) as hdus:
        size = hdus[0].data.nbytes
        start = hdus[0].fileinfo()["datLoc"]
        header = hdus[0].header
    assert size % 2880
    content = bytearray((copy[1] / product).read_bytes())
    content[start + size + 4] = 1
    data = np.frombuffer(content[start : start + -(-size // 2880) * 2880], "u1")
    hdu = fits.PrimaryHDU()
    header["DATASUM"] = str(hdu._compute_checksum(data))
    header["CHECKSUM"] = "0" * 16
    text = header.tostring().encode()
    total = hdu._compute_checksum(np.frombuffer(text, "u1"), int(header["DATASUM"]))
    header["CHECKSUM"] = hdu._char_encode(~total)
    content[:start] = header.tostring().encode()
    (copy[1] / product).write_bytes(content)
    outcome = look(product, copy)
    assert outcome.reason == "bytes after the pixels of HDU 0 are not 0"


def test_a_verdict_holds_as_long_as_no_byte_changed(copy):
    """Sizes and times set back: a changed product is told by its bytes, a source by its ctime."""
    raw, results = copy
    product = first_product(results, FRAME)
    source = raw / fits.getval(results / product, "RAWFILE")
    assert report_of(copy, product_names=[product])[1] == 0
    assert "(0 now, the others before)" in report_of(copy, product_names=[product])[0][-1]
    for path, place in ((results / product, -3000), (source, -2900)):
        sound, times = path.read_bytes(), path.stat()
        changed = bytearray(sound)
        changed[place] ^= 1
        path.write_bytes(changed)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (len(sound), times.st_mtime_ns)
        lines, status = report_of(copy, product_names=[product])
        assert (status, lines[0].startswith(f"ccdflow: differs: {product}: ")) == (1, True)
        path.write_bytes(sound)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert report_of(copy, product_names=[product])[1] == 0


def test_verdicts_that_were_edited_do_not_count(copy):
    results = copy[1]
    product = first_product(results, FRAME)
    rewrite(results / product, lambda hdu: hdu.data.__setitem__((3, 3), 7.0))
    assert report_of(copy, product_names=[product])[1] == 1
    path = results / table.TABLE_FILE
    path.write_text(path.read_text().replace(",differs,", ",verified,"))
    assert table.read_verdicts(results) == ({}, 1)
    lines, status = report_of(copy, product_names=[product])
    assert status == 1
    assert lines[1] == "ccdflow: verification.csv: edited lines, whose verdicts do not count: 1"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2 + 90],
        lambda text: b"\0\xff" * 300,
        lambda text: b"",
        lambda text: text.replace(b"product,", b"products,"),
    ],
    ids=["cut", "no table", "empty", "other columns"],
)
def test_a_table_that_is_spoilt_is_written_anew(copy, spoil):
    products = [first_product(copy[1], FRAME), first_product(copy[1], "combined/bias")]
    assert report_of(copy, product_names=products)[1] == 0
    path = copy[1] / table.TABLE_FILE
    path.write_bytes(spoil(path.read_bytes()))
    lines, status = report_of(copy, product_names=products)
    assert (
        status,
        f"2 of 2 products verified with ccdproc {table.CCDPROC_VERSION}" in lines[-1],
    ) == (
        0,
        True,
    )
    assert "(0 now" not in lines[-1]
    assert set(table.read_verdicts(copy[1])[0]) == set(products)


@pytest.mark.parametrize("link", [os.symlink, os.link, shutil.copy], ids=lambda f: f.__name__)
@pytest.mark.parametrize("kind", [FRAME, "combined/bias"])
def test_another_product_under_the_name_of_one_differs(copy, link, kind):
    product = first_product(copy[1], kind)
    other = next(
        path for path in sorted((copy[1] / product).parent.glob("*.fits"))
        if path.name != product.rpartition("/")[2] and "combined/bias" not in path.as_posix()
    )  # fmt: skip
    (copy[1] / product).unlink()
    link(other, copy[1] / product)
    for knows in (False, True):
        outcome = look(product, copy, knows=knows)
        assert outcome.verdict == "differs", outcome.reason


def test_files_that_no_run_made_are_named_and_a_missing_one_is_no_success(copy):
    results = copy[1]
    stranger = results / "reduced" / "other" / "mine.fits"
    stranger.parent.mkdir()
    shutil.copy(results / first_product(results, FRAME), stranger)
    # Runs put products there whose frames went bad, or whose camera was edited.
    aside = results / "set_aside" / first_product(results, FRAME)
    aside.parent.mkdir(parents=True)
    shutil.copy(results / first_product(results, FRAME), aside)
    (results / first_product(results, SCIENCE)).unlink()
    lines, status = report_of(copy, verifies_all_products=True)
    assert status == 1
    assert (
        "ccdflow: cannot be made again (stranger): reduced/other/mine.fits: no run here has noted"
        " it: it is not a product of this results folder"
    ) in lines
    assert any("its file cannot be read: No such file" in line for line in lines)
    assert lines[-1].endswith(", 2 cannot be made again")
    # Where a part of the reasons is expected, the rest still fails; where all are, nothing does.
    for words, status, end in (
        (("stranger",), 1, ", 1 cannot be made again, 1 cannot be made again, as expected"),
        (("stranger", "missing"), 0, ", 2 cannot be made again, as expected"),
    ):
        lines, ended = report_of(copy, verifies_all_products=True, expected_causes=words)
        assert (ended, lines[-1].endswith(end)) == (status, True)


def test_a_cause_that_has_gone_lets_a_product_be_verified(copy):
    """The raw frame is away and comes back: nothing else changed."""
    raw, results = copy
    product = first_product(results, FRAME)
    source = raw / fits.getval(results / product, "RAWFILE")
    away = source.rename(source.with_name("away"))
    lines, status = report_of(copy, product_names=(product,))
    expected = (
        f"ccdflow: cannot be made again (missing): {product}: the raw file {source.name} is missing"
    )
    assert (lines[0], status) == (expected, 1)
    assert report_of(copy, product_names=(product,), expected_causes=("model",))[1] == 1
    lines, status = report_of(copy, product_names=(product,), expected_causes=("missing",))
    assert (status, "again (missing, as expected): reduced/" in lines[0]) == (0, True)
    assert lines[-1].endswith(", 1 cannot be made again, as expected")
    away.rename(source)
    assert report_of(copy, product_names=(product,))[1] == 0


def test_a_header_too_odd_to_follow_is_no_success_and_has_a_reason(copy):
    product = first_product(copy[1], DARK)
    rewrite(copy[1] / product, card("NCOMBINE", "several"))
    outcome = look(product, copy)
    assert (outcome.verdict, outcome.cause) == ("cannot be made again", "unreadable")
    assert outcome.reason == "NCOMBINE is 'several', and no number"
    rewrite(copy[1] / product, card("NCOMBINE", 3))
    rewrite(copy[1] / product, card("BIASIM", 7))
    assert look(product, copy).reason == "BIASIM is 7, and no text"


@pytest.mark.parametrize("error", [TypeError, AttributeError, KeyError, ValueError, RuntimeError])
def test_a_fault_of_the_verification_is_no_fault_of_the_product(copy, monkeypatch, error):
    """The fault has its own status and a traceback in a log; other products have their verdicts."""

    def fail(*_):
        raise error("a mistake in the code")

    # As a line of the library that fails.
    monkeypatch.setattr(errors, "_LIBRARY", __file__)
    monkeypatch.setitem(verdicts.VERIFIERS, "dark", fail)
    dark, frame = first_product(copy[1], DARK), first_product(copy[1], FRAME)
    causes = ("missing", "older", "model")
    lines, status = report_of(copy, product_names=(dark, frame), expected_causes=causes)
    assert status == 2
    assert lines[0].startswith(
        f"ccdflow: verification failed: {dark}: the verification itself failed, which says nothing"
        f" about the product: {error.__name__}: "
    )
    assert "(test_verify_tampering.py, line " in lines[0]
    assert "1 of 2 products verified" in lines[-1]
    assert lines[-1].endswith(", 1 without a verdict, as the verification failed")
    log = copy[1] / ".ccdflow/logs/verify" / f"{dark}.log"
    assert f"its traceback is in .ccdflow/logs/verify/{dark}.log; report it" in lines[0]
    assert "in fail" in log.read_text()


def test_a_fault_where_files_are_parsed_is_no_difference(copy, monkeypatch):
    """A name that a later astropy lacks must not make every product differ."""
    product = first_product(copy[1], FRAME)
    monkeypatch.setattr(comparing, "fits", SimpleNamespace())
    outcome = look(product, copy)
    assert (outcome.verdict, "'open'" in outcome.reason) == ("verification failed", True)


def test_every_kind_that_makes_fits_files_has_a_verdict_of_its_own(sound_night):
    """A new kind in a folder of images cannot be forgotten; those of pages and tables are none."""
    kinds = {
        kind.name
        for kind in CHAIN
        if kind.path_prefix.endswith("/") and kind.path_prefix != "nights/"
    }
    assert kinds == set(verdicts.VERIFIERS)
    products = noted_fits_products(sound_night[1])
    assert {kind for kind, *_ in products.values()} == set(MADE_KINDS)
    outcome = verdicts.verify(
        first_product(sound_night[1], FRAME),
        raw=sound_night[0],
        results=sound_night[1],
        product_notes=NotedProduct("kind of tomorrow"),
    )
    assert (outcome.verdict, outcome.reason) == (
        "cannot be made again",
        "nothing verifies a product of the kind 'kind of tomorrow'",
    )


def test_a_results_folder_that_is_only_read_is_verified(copy, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(table, "write_verdicts", refuse)
    lines, status = report_of(copy, product_names=[first_product(copy[1], FRAME)])
    assert "verification.csv cannot be written (Permission denied)" in lines[0]
    assert "1 of 1 products verified" in lines[1]
    assert (len(lines), status) == (2, 0)
    assert not (copy[1] / table.TABLE_FILE).exists()


def test_a_log_is_asked_for_only_where_it_can_be_written(tmp_path, monkeypatch):
    assert host.can_write(tmp_path / "new" / "deep")
    asked = []
    monkeypatch.setattr(os, "access", lambda path, how: asked.append((path, how)))
    assert not host.can_write(tmp_path / "new" / "deep")
    assert asked == [(tmp_path, os.W_OK | os.X_OK)]
