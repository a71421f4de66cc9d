"""Every card of every kind tampered and signed again; models, repeated clipping, maps."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from small_frames import LFC_LIKE, bias_cards, biases, run_jobs, write_raw
from verified_chain import first_product, make_chain

from ccdflow.detector.pixels.history import NightBadPixels, combine_nights
from ccdflow.detector.pixels.response import WeakPixels
from ccdflow.verify import selection, verdicts
from ccdflow.verify.comparing import source_cards
from ccdflow.verify.detector import detector_products

STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d?|EXTEND|PCOUNT|GCOUNT|CHECKSUM|DATASUM|COMMENT|HISTORY|"
)
BELIEVED_PATTERN = re.compile("|".join(source_cards.BELIEVED_CARDS))


@pytest.fixture(scope="module")
def reduced_chain(tmp_path_factory):
    """The tiny night of two amplifiers: (raw folder, results folder)."""
    top = tmp_path_factory.mktemp("cards")
    return make_chain(top, flats=(("g", 4),), science=(("g", 60.0, 1),))


def other_value(value):
    """Return another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1 if isinstance(value, int) else value * 1.1 + 0.1
    return "X" + str(value)[1:]


def tamper_cards(sound, step):
    """Yield (HDU and keyword, keyword, the file with another value there, its sums right again)."""
    with fits.open(io.BytesIO(sound)) as hdus:
        cards = [(n, c.keyword) for n, hdu in enumerate(hdus) for c in hdu.header.cards]
    cards = [(number, keyword) for number, keyword in cards if not STRUCTURE.fullmatch(keyword)]
    for number, keyword in cards[::-step]:
        with fits.open(io.BytesIO(sound)) as hdus:
            hdus[number].header[keyword] = other_value(hdus[number].header[keyword])
            out = io.BytesIO()
            hdus.writeto(out, checksum=True)
        yield f"{number}:{keyword}", keyword, out.getvalue()


@pytest.mark.parametrize(
    "kind",
    ["reduced/science", "combined/bias", "combined/dark", "combined/flat", "calibrated/science"],
)
@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.torture)])
def test_every_card_that_is_not_believed_is_compared(reduced_chain, kind, step):
    raw, results = reduced_chain
    product = first_product(results, kind)
    path, believed, count = results / product, set(), 0
    sound = path.read_bytes()
    try:
        for name, keyword, content in tamper_cards(sound, step):
            path.write_bytes(content)
            outcome = verdicts.verify(product, raw=raw, results=results, compares_all_rows=True)
            count += 1
            if outcome.verdict == "verified":
                believed.add((name, keyword))
    finally:
        path.write_bytes(sound)
    assert count > 40 / step
    # These cards alone are believed: others disagree with masters or frames.
    assert {name for name, keyword in believed if not BELIEVED_PATTERN.fullmatch(keyword)} == set()
    last = verdicts.verify(product, raw=raw, results=results)
    assert last.verdict == "verified", last.reason


@pytest.mark.parametrize(
    ("model", "order", "rounds", "sigma"),
    [
        ("polynomial", 2, 3, 3),
        ("polynomial", 1, 0, 3),
        ("polynomial", 1, 2, 0),
        ("spline", 3, 2, 3),
        ("spline", 3, 2, 0),
    ],
)
def test_models_along_the_overscan_are_made_again_by_astropy(tmp_path, model, order, rounds, sigma):
    (frame,) = biases(1)
    # A row whose overscan is hit is rejected, unless the limit is 0 sigma.
    frame[11, 66:] += np.uint16(700)
    write_raw(tmp_path / "raw" / "b.fits.gz", (frame, bias_cards(1)))
    words = f"  model: {model}\n  order: {order}\n  reject_iterations: {rounds}\n"
    profile = LFC_LIKE.format(name="TESTCAM") + f"reduction:\n{words}  reject_sigma: {sigma}\n"
    run_jobs(tmp_path / "raw", tmp_path / "results", {"cam": profile})
    results = tmp_path / "results"
    header = fits.getheader(results / "reduced/b.fits")
    assert (header["OSCMODEL"], header["OSCITERS"]) == (model, rounds)
    outcome = verdicts.verify("reduced/b.fits", raw=tmp_path / "raw", results=results)
    assert (outcome.verdict, outcome.reason, outcome.largest) == ("verified", "", 0.0)
    with fits.open(results / "reduced/b.fits", memmap=False) as hdus:
        hdus[0].header["OSCORDER"] = order + 1
        hdus.writeto(results / "reduced/b.fits", overwrite=True, checksum=True)
    outcome = verdicts.verify("reduced/b.fits", raw=tmp_path / "raw", results=results)
    assert outcome.verdict == "differs"


@pytest.mark.parametrize(
    "card",
    [
        "GRATING =            1800 l/mm / a grating",
        "SEEING  = 1.2.3",
        "MODE    = 'fast",
        "LAMP    = on off",
    ],
)
def test_a_card_of_the_camera_that_breaks_the_standard_is_compared_by_its_text(tmp_path, card):
    """Programs of telescopes write texts without quotes; astropy refuses to give their values."""
    usual = f"{fits.Card(card[:8].strip(), 'usual')}".encode("ascii")
    for number, frame in enumerate(biases(4), start=1):
        path = write_raw(
            tmp_path / "raw" / f"b{number}.fits",
            (frame, bias_cards(number, **{card[:8].strip(): "usual"})),
        )
        content = path.read_bytes()
        assert content.count(usual) == 1
        path.write_bytes(content.replace(usual, card.ljust(80).encode("ascii")))
    results = tmp_path / "results"
    run_jobs(tmp_path / "raw", results, {"cam": LFC_LIKE.format(name="TESTCAM")})
    (combined,) = results.glob("combined/*/bias_*.fits")
    for product in ("reduced/b1.fits", str(combined.relative_to(results))):
        content = (results / product).read_bytes()
        assert content.count(card.encode("ascii")) == 1
        outcome = verdicts.verify(product, raw=tmp_path / "raw", results=results)
        assert (outcome.verdict, outcome.reason) == ("verified", "")
        other_card = f"{card[:-1]}7".encode("ascii")
        (results / product).write_bytes(content.replace(card.encode("ascii"), other_card))
        outcome = verdicts.verify(product, raw=tmp_path / "raw", results=results)
        assert outcome.verdict == "differs"
        (results / product).write_bytes(content)


@pytest.mark.parametrize("method", ["average", "median"])
def test_repeated_clipping_is_made_again_by_ccdproc(tmp_path, method):
    rng = np.random.default_rng(5)
    for number, frame in enumerate(biases(12), start=1):
        frame.ravel()[rng.integers(0, frame.size, 90)] += np.uint16(rng.integers(20, 900))
        write_raw(tmp_path / "raw" / f"b{number:02d}.fits.gz", (frame, bias_cards(number)))
    settings = {"clip_by": "mad", "clip": 3, "iterations": 3, "method": method}
    results = tmp_path / "results"
    run_jobs(tmp_path / "raw", results, {"cam": LFC_LIKE.format(name="TESTCAM")}, bias=settings)
    (product,) = [p for p in selection.files_of(results) if p.startswith("combined/")]
    outcome = verdicts.verify(
        product, raw=tmp_path / "raw", results=results, compares_all_rows=True
    )
    assert (outcome.verdict, outcome.reason, "ccdproc" in outcome.compared) == (
        "verified",
        "",
        True,
    )
    with fits.open(results / product, memmap=False) as hdus:
        hdus[0].header["CLIPITER"] = 1
        hdus.writeto(results / product, overwrite=True, checksum=True)
    outcome = verdicts.verify(
        product, raw=tmp_path / "raw", results=results, compares_all_rows=True
    )
    assert outcome.verdict == "differs"


def test_nights_are_combined_as_the_map_of_an_epoch_combines_them():
    rng, shape, share, n_bad_jointly = np.random.default_rng(3), (9, 11), 0.7, 0
    sources = (("dark", 8), ("flat", 16), ("levels", 32), ("deep", 32))
    for _ in range(40):
        seen, rows = [], []
        for night in range(int(rng.integers(1, 6))):
            name = f"2024-03-{night + 1:02d}"
            looked = frozenset(s for s, _ in sources if rng.random() < 0.8)
            bits = {
                s: (rng.integers(0, 2, 12) * bit).astype(np.int16) * (s in looked)
                for s, bit in sources
            }
            bad = np.bitwise_or.reduce(list(bits.values())) != 0
            index = np.sort(rng.choice(99, 12, replace=False))[bad]
            bits = {s: values[bad] for s, values in bits.items()}
            low = np.flatnonzero(rng.random(99) < 0.6)
            weak = WeakPixels(
                low, -rng.uniform(2.5, 4.4, low.size).astype("f4"), rng.uniform(0.7, 1)
            )
            has_weak = "flat" in looked
            seen.append(NightBadPixels(name, looked, index, bits, weak if has_weak else None))
            rows.append(
                detector_products.NightOfMap(
                    name, list(looked), _lines(index, **bits), _lines(low, sigma=weak.sigma),
                    {"FLATOWN0": weak.noise_fraction} if has_weak else {},
                )
            )  # fmt: skip
        columns = detector_products.pixel_history(rows, 0, shape, share)
        history = combine_nights(seen, share=share)
        n_bad_jointly += len(history.index) - len(
            combine_nights([replace(s, weak=None) for s in seen]).index
        )
        nights = np.array(history.nights)
        expected_columns = (history.index, history.bits, nights[history.first],
                            nights[history.last], history.n_bad_nights,
                            history.n_judged_nights)  # fmt: skip
        for column, expected in zip(columns, expected_columns, strict=True):
            assert (np.asarray(column) == np.asarray(expected)).all()
    assert n_bad_jointly > 40


def _lines(index, **columns):
    values = {"IMAGE": index * 0, "X": index % 11 + 1, "Y": index // 11 + 1}
    values |= {name.upper(): array for name, array in columns.items()}
    return np.rec.fromarrays(list(values.values()), names=list(values))


def test_a_product_that_nothing_verifies_is_reported(reduced_chain, tmp_path):
    path = tmp_path / "results" / "other" / "x.fits"
    path.parent.mkdir(parents=True)
    fits.PrimaryHDU(np.zeros((3, 3), "f4")).writeto(path, checksum=True)
    assert selection.files_of(tmp_path / "results") == ["other/x.fits"]
    outcome = verdicts.verify("other/x.fits", raw=reduced_chain[0], results=tmp_path / "results")
    assert (outcome.verdict, outcome.reason) == (
        "cannot be made again",
        "nothing verifies a product of the kind 'other'",
    )
