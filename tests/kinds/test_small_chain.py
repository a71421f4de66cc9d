"""The tiny night that other tests calibrate: a chain of plain numpy gives its truth back."""

import numpy as np
import pytest
import small_chain
from amplifier_columns import values_by_column
from astropy.io import fits
from small_frames import run_jobs


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    return small_chain.make(tmp_path_factory.mktemp("chain") / "raw", cosmic_rays=1e-6)


def subtract_levels(chain, file):
    """Return the science pixels less each row's true level, in adu."""
    one = chain.exposures[file]
    image = one.raw[:, : chain.detector.shape[1]].astype(float)
    for number, own in enumerate(chain.detector.amplifiers):
        image[:, own.slice] -= one.level[number][:, None]
    return image


def mean(images):
    return np.mean(list(images), axis=0)


def test_the_small_chain_is_reproducible(tmp_path):
    small_chain.forget()
    small_chain.make(tmp_path / "one")
    small_chain.forget()
    small_chain.make(tmp_path / "two")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(names) == 6 + 7 + 8 + 3 + 1
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_night_that_was_taken_before_is_the_same_without_exposing_it(tmp_path, monkeypatch):
    small_chain.forget()
    first = small_chain.make(tmp_path / "one", seed=5)
    del first.exposures["bias1.fits"]
    with monkeypatch.context() as patch:
        patch.setattr(small_chain.simulate, "expose_night", None)
        second = small_chain.make(tmp_path / "two", seed=5)
        with pytest.raises(TypeError, match="'NoneType' object is not callable"):
            small_chain.make(tmp_path / "three", seed=6)
    assert len(second.exposures) == len(first.exposures) + 1
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "two").iterdir())
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_files_are_found_by_kind_filter_and_exposure(chain):
    assert chain.files_of_type("dark", exptime=20) == [
        "dark20_1.fits",
        "dark20_2.fits",
        "dark20_3.fits",
    ]
    assert chain.files_of_type("science", filter="r") == ["science_r1.fits"]
    assert len(chain.files_of_type("bias")) == 6
    assert {
        fits.getheader(chain.raw / f)["FILTER"] for f in chain.files_of_type("flat", filter="g")
    } == {"g"}


@pytest.mark.parametrize("unit", ["electron", "adu"])
@pytest.mark.parametrize("band", ["g", "r"])
def test_a_chain_in_numpy_gives_the_perfect_frame_within_its_noise(chain, band, unit):
    """(R - B - (D - B)) / F, with the true levels, compared by the errors of every term."""
    detector, gain = chain.detector, values_by_column(chain.detector, "gain")
    factor = gain if unit == "electron" else np.ones_like(gain)
    (file, *_) = chain.files_of_type("science", filter=band)
    one = chain.exposures[file]
    darks, flats = (
        chain.files_of_type("dark", exptime=one.exptime),
        chain.files_of_type("flat", filter=band),
    )
    good = chain.good_pixels(file, *darks, *flats) & (detector.defects() == 0)
    bias = mean(subtract_levels(chain, f) for f in chain.files_of_type("bias"))
    dark = mean(subtract_levels(chain, f) for f in darks)
    lit = [subtract_levels(chain, f) - bias - (dark - bias) * 4.0 / one.exptime for f in flats]
    level = np.array([(image * factor)[good].mean() for image in lit])
    assert np.diff(level) / level[:-1] == pytest.approx(np.full(3, 0.02), abs=0.002)
    flat = mean(image * factor / one_level for image, one_level in zip(lit, level, strict=True))
    science = ((subtract_levels(chain, file) - dark) * factor)[good] / flat[good]
    reading = values_by_column(detector, "read_noise") ** 2 + gain**2 / 12
    dim = one.dark + one.glow
    photons = sum(chain.exposures[f].light for f in flats)
    electrons = one.light + dim + reading + (dim + reading) / len(darks)
    variance = electrons[good] * ((factor / gain) ** 2 + 0 * dim)[good]
    variance = variance / chain.flat(band, unit=unit)[good] ** 2
    perfect = chain.perfect(file, unit=unit)[good]
    variance += perfect**2 / photons[good]
    pull = (science - perfect) / np.sqrt(variance)
    assert pull.size > 9000
    assert pull.std() == pytest.approx(1, rel=0.04)
    assert abs(pull.mean()) < 0.1
    assert np.abs(pull).max() < 6
    true_flat = chain.flat(band, unit=unit)[good]
    np.testing.assert_allclose(flat[good], true_flat, atol=7 * 0.0035)


def test_masters_true_of_the_chain_are_those_of_its_frames(chain):
    gain = values_by_column(chain.detector, "gain")
    bias = mean(subtract_levels(chain, f) for f in chain.files_of_type("bias"))
    error = np.sqrt(
        (values_by_column(chain.detector, "read_noise") / gain) ** 2 + 1 / 12
    ) / np.sqrt(6)
    assert ((bias - chain.bias()) / error).std() == pytest.approx(1, rel=0.03)
    files = chain.files_of_type("dark", exptime=60)
    dark = mean(subtract_levels(chain, f) for f in files) - chain.bias()
    good = chain.good_pixels(*files) & (chain.detector.defects() & 4096 == 0)
    error = np.sqrt((chain.dark(60) / gain + 6 * error**2) / len(files))
    pull = ((dark - chain.dark(60)) / error)[good]
    assert pull.std() == pytest.approx(1, rel=0.03)
    assert np.abs(pull).max() < 6
    assert chain.dark(60, temperature=-94)[50, 90] == pytest.approx(
        2 * chain.dark(60)[50, 90], rel=0.05
    )


def test_darks_of_another_month_and_temperature(tmp_path):
    chain = small_chain.make(
        tmp_path, dark_days=60, dark_temperature=-95.0, biases=1, flats=(), science=(),
        cards={"GAIN": 1.5, "INSTRUME": "OTHER"}, suffix=".fits.gz",
    )  # fmt: skip
    header = fits.getheader(tmp_path / "dark60_1.fits.gz")
    assert header["DATE-OBS"].startswith("2024-04-30T")
    assert (header["CCD-TEMP"], header["INSTRUME"], header["GAIN"]) == (-95.0, "OTHER", 1.5)
    assert fits.getheader(tmp_path / "bias1.fits.gz")["CCD-TEMP"] == -100.0
    assert chain.exposures["dark60_1.fits.gz"].dark[50, 60] == pytest.approx(3 * 2 ** (5 / 6))


def test_ccdflow_reduces_the_night_and_combines_its_biases(chain, tmp_path):
    run = run_jobs(chain.raw, tmp_path / "results", {"simcam": chain.profile})
    made = {p: r for p, r in run.records.items() if r.status == "made"}
    assert len(made) == len(chain.exposures) + 1
    (product,) = (p for p in made if p.startswith("combined/"))
    assert product.split("/")[1] == small_chain.NIGHT
    image = run.open(product)[0].data
    gain, read_noise = (values_by_column(chain.detector, name) for name in ("gain", "read_noise"))
    error = np.sqrt((read_noise / gain) ** 2 + 1 / 12) / np.sqrt(6)
    pull = (image - chain.bias()) / error
    assert abs(np.median(pull)) < 0.1
    # The overscan level of each row, which is subtracted, adds a few percent to the noise.
    assert pull.std() == pytest.approx(1.04, rel=0.03)
