"""Calibrated frames as files: pixels, headers, checksums, shared masters, faults."""

import gc
import os
import re
import shutil
import subprocess
import sys
import warnings
import weakref
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from calibration_truth import SHAPE, Sky, chain, columns, expose, gain_map, masters, readouts
from ccdproc import ImageFileCollection

from ccdflow import mask_bits
from ccdflow.calibrate import blocks, combined_master
from ccdflow.calibrate.applied_masters import AppliedMaster, FrameMasters
from ccdflow.calibrate.arithmetic import calibrate_arrays
from ccdflow.calibrate.blocks import ProductForm, calibrate_file
from ccdflow.calibrate.calibrated_header import FrameProvenance, Grading, primary_cards
from ccdflow.calibrate.frame_corrections import FrameCalibration
from ccdflow.calibrate.master_store import MasterStore
from ccdflow.camera.sections import Region
from ccdflow.errors import MAKE_AGAIN, FrameError
from ccdflow.files import atomic_write, checksum
from ccdflow.files.fits_products import multi_image_products
from ccdflow.frame.readout import Readout
from ccdflow.run.processes import forked_frames


def write(path, *hdus):
    """Write arrays with cards as a product with checksums."""
    hdu_list = fits.HDUList()
    for number, (data, cards) in enumerate(hdus):
        kind = fits.ImageHDU if number else fits.PrimaryHDU
        hdu = kind(data)
        hdu.header.update(cards)
        hdu_list.append(hdu)
    hdu_list.writeto(path, overwrite=True, checksum=True)
    return path


def write_master(path, master, *, name="UNCERT", cards=()):
    """Write a master with its errors and cards; return its path."""
    image = master.images[0]
    cards_of_master = {
        "CCDFKEY": master.key,
        "NCOMBINE": master.frames,
        "BUNIT": "adu",
        "CCDFCAM": "test",
        **({"EXPTIME": master.exptime} if master.exptime else {}),
        **({"BIASKEY": master.bias_key, "BIASIM": "b.fits"} if master.bias_key else {}),
        **({"FLATLVL": master.level} if master.level else {}),
        **dict(cards),
    }
    return write(path, (image.data, cards_of_master), (image.error(), {"EXTNAME": name}))


CARDS = {
    "BUNIT": "adu",
    "CCDFKEY": "reduced-key",
    "CCDFCAM": "test",
    "RAWFILE": "night/s1.fits",
    "OBJECT": "M 67",
    "IMAGETYP": "OBJECT",
    "GAIN": 3,
    "GAIN1": 3,
    "GAIN_A": 3,
    "CCDSENS": 3,
    "SATURATB": 65535,
    "AMPGAIN": 1.5,
    "SATURATE": 65535,
    "GAIN01": 1.3,
    "GAIN02": 2.1,
    "AIRMASS": 1.25,
}


@pytest.fixture(scope="module")
def frame_and_masters(tmp_path_factory):
    """Return folder, frame, paths of masters, reduced pixels and scene of a night."""
    folder = tmp_path_factory.mktemp("night")
    random = np.random.default_rng(21)
    sky = Sky.of(seed=21)
    master_by_kind = masters(sky, random)
    scene = np.full(SHAPE, 800.0)
    scene[100:110, 50:60] = 9000
    reduced = expose(scene * sky.flat + sky.dark * gain_map(), sky.bias, random)
    paths = {kind: write_master(folder / f"{kind}.fits", m) for kind, m in master_by_kind.items()}
    frame = write(folder / "frame.fits", (reduced, CARDS))
    return folder, frame, paths, reduced, scene


def masters_of(paths, store, *, k=1.0, without=()):
    """Return the masters of a frame, read through a store."""
    read = {kind: store.get(path, kind, name=path.name) for kind, path in paths.items()}
    return chain(read, k=k, without=without)


def run(night, tmp_path, *, store=None, k=1.0, frame=None, form=None, grading=None):
    """Calibrate a frame of the night; return its result and the path of the product."""
    _, path, paths, *_ = night
    store = store or MasterStore()
    target = tmp_path / "calibrated" / "s1.fits"
    amplifiers = readouts(level=1000.0, saturation=65535.0)
    calibration = FrameCalibration(masters_of(paths, store, k=k), [amplifiers])
    provenance = FrameProvenance("product-key", grading or Grading())
    result = calibrate_file(frame or path, target, calibration, provenance=provenance, form=form)
    return result, target


def test_blocks_of_a_file_are_the_whole_array(frame_and_masters, tmp_path, monkeypatch):
    _, _, paths, reduced, _ = frame_and_masters
    for k, pixels in ((1.0, 6000), (0.4, 900)):
        monkeypatch.setattr(blocks, "_STRIP_PIXELS", pixels)
        monkeypatch.setattr(blocks, "_STRIPS_OF_A_BLOCK", 5)
        result, target = run(frame_and_masters, tmp_path, k=k)
        amplifiers = readouts(level=1000.0, saturation=65535.0)
        data, error, mask = calibrate_arrays(
            reduced, amplifiers, masters_of(paths, MasterStore(), k=k)
        )
        with fits.open(target) as hdus:
            assert (hdus[0].data == data).all()
            assert (hdus["MASK"].data == mask).all()
            assert np.allclose(hdus["UNCERT"].data, error, rtol=1e-5, atol=0)
        assert result.unit == "electron"


def test_a_product_is_whole_and_other_programs_read_the_product(frame_and_masters, tmp_path):
    result, target = run(
        frame_and_masters,
        tmp_path,
        grading=Grading(reasons=("dark of 3 nights before",), grade="B"),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(target, checksum=True) as hdus:
            assert [hdu.name for hdu in hdus] == ["PRIMARY", "UNCERT", "MASK"]
            assert [hdu.header["BITPIX"] for hdu in hdus] == [-32, -32, 16]
            places = [hdu.fileinfo() for hdu in hdus]
            assert "CHECKSUM" in hdus["MASK"].header
    stored = target.read_bytes()
    cards = zlib.crc32(b"".join(stored[each["hdrLoc"] : each["datLoc"]] for each in places))
    datasum, key = checksum.datasum_and_key(target)
    assert (result.content, key) == (f"{datasum}-{cards:08x}", "product-key")
    ccd = CCDData.read(target)
    assert ccd.unit == "electron"
    assert isinstance(ccd.uncertainty, StdDevUncertainty)
    assert ccd.mask.shape == SHAPE
    files = ImageFileCollection(target.parent, keywords=["calgrade", "object"])
    assert list(files.summary["calgrade"]) == ["B"]


@pytest.mark.skipif(shutil.which("fitsverify") is None, reason="fitsverify is not installed")
def test_fitsverify_finds_no_fault_in_a_calibrated_frame(frame_and_masters, tmp_path):
    _, target = run(frame_and_masters, tmp_path)
    report = subprocess.run(["fitsverify", target], capture_output=True, text=True, check=True)
    assert "found 0 warning(s) and 0 error(s)" in report.stdout


def test_each_card_of_a_calibrated_frame_is_true(frame_and_masters, tmp_path):
    result, target = run(
        frame_and_masters,
        tmp_path,
        k=0.4,
        grading=Grading(grade="B", reasons=("scaled down by 0.4",)),
    )
    header = fits.getheader(target)
    assert (header["BIASIM"], header["BIASKEY"]) == ("bias.fits", "bias-key")
    assert (header["DARKIM"], header["DARKKEY"]) == ("dark.fits", "dark-key")
    assert (header["FLATIM"], header["FLATKEY"]) == ("flat.fits", "flat-key")
    assert header["DARKSCAL"] == 0.4
    assert (header["CCDFKEY"], header["REDKEY"]) == ("product-key", "reduced-key")
    assert (header["ZEROCOR"], header["DARKCOR"]) == ("bias.fits", "dark.fits")
    assert header["FLATCOR"] == "flat.fits"
    # The camera's gain is applied: a second multiplication by GAIN changes nothing.
    assert (header["GAIN"], header["RAWGAIN"], header["BUNIT"]) == (1.0, 3, "electron")
    assert (header["SATURATE"], header["RAWSATUR"]) != (65535, 65535)
    assert header["RAWSATUR"] == 65535
    # Nor does any other card of a gain or a saturation of raw pixels keep its name.
    assert {key: header[key] for key in header if re.search("GAIN|CONAD|SATUR|CCDSENS", key)} == {
        "GAIN": 1.0, "RAWGAIN": 3, "RAWGAIN1": 3, "RAWGAINA": 3, "RAWSATUR": 65535,
        "SATURATE": header["SATURATE"], "AMPGAIN": 1.5, "GAIN01": 1.3, "GAIN02": 2.1,
    }  # fmt: skip
    assert (header["OBJECT"], header["AIRMASS"]) == ("M 67", 1.25)
    assert "grade B: scaled down" in str(header["HISTORY"])
    with fits.open(target) as hdus:
        data, error = hdus[0].data, hdus["UNCERT"].data
        counts = {bit: np.count_nonzero(hdus["MASK"].data & bit) for bit in mask_bits.MEANINGS}
    assert result.images[0]["flags"] == counts
    assert (header["NSAT"], header["NHOT"], header["NUNCAL"]) == (counts[1], counts[8], counts[256])
    assert header["SKYLVL"] == pytest.approx(np.median(data), rel=0.01)
    assert header["SKYPRED"] == pytest.approx(np.median(error), rel=0.03)
    assert header["SKYRMS"] == pytest.approx(header["SKYPRED"], rel=0.05)
    # 12 biases with (1 - k), 5 darks with k; electrons, of the amplifier with the larger factor.
    assert 0 < header["MBNOISE"] < header["MDNOISE"] < header["SKYPRED"]
    # That of the flat in the amplifier of the smaller gain, where it is larger.
    with fits.open(frame_and_masters[2]["flat"]) as hdus:
        relative_errors = hdus["UNCERT"].data / hdus[0].data
    noises = [np.median(relative_errors[:, part]) for part in columns()]
    assert noises[0] > 1.2 * noises[1]
    assert header["MFNOISE"] == pytest.approx(noises[0], rel=0.01)
    share = 1 + 0.36 / 12 + 0.16 / 5
    for card, readout in zip(("OSCNOI01", "OSCNOI02"), readouts(), strict=True):
        noise = readout.gain * (readout.level_variance * share) ** 0.5
        assert header[card] == pytest.approx(noise, rel=1e-4)


@pytest.mark.parametrize(
    ("bias_of_dark", "noise_of_bias"),
    # Another bias in the dark, of 1.5 adu a pixel, is scaled with it and adds its own noise.
    [("bias", 0.6 * 2 * 3 / 3), ("another", 2 * np.hypot(3 / 3, 0.4 * 1.5))],
)
def test_the_noise_of_a_master_in_the_header_is_that_of_its_members_times_its_factor(
    tmp_path, bias_of_dark, noise_of_bias
):
    """A bias with 1 - k, a dark with k: nine members of a read noise of 3 adu, a gain of 2."""
    shape = (64, 80)
    amplifier = Readout(Region(0, 64, 0, 80), gain=2.0, read_noise=3.0, rounding_variance=0.0)
    master_by_kind = {
        kind: combined_master.Master(
            kind, (combined_master.master_image_of(np.full(shape, value), kind),), key=kind,
            bias_key="" if kind == "bias" else bias_of_dark, bias_noise=1.5, frames=9,
            level=20_000.0,
        )
        for kind, value in (("bias", 0.0), ("dark", 0.0), ("flat", 1.0))
    }  # fmt: skip
    uses = FrameMasters(
        AppliedMaster(master_by_kind["bias"]),
        AppliedMaster(master_by_kind["dark"], 0.4),
        AppliedMaster(master_by_kind["flat"]),
    )
    frame = write(tmp_path / "frame.fits", (np.full(shape, 500, np.float32), {"BUNIT": "adu"}))
    calibrate_file(frame, tmp_path / "out.fits", FrameCalibration(uses, [[amplifier]]))
    header = fits.getheader(tmp_path / "out.fits")
    assert header["MBNOISE"] == pytest.approx(noise_of_bias, rel=1e-4)
    assert header["MDNOISE"] == pytest.approx(0.4 * 2 * 3 / 3, rel=1e-4)
    variance_of_flat = (20_000 / 2 + 9) / 20_000**2 / 9
    assert header["MFNOISE"] == pytest.approx(variance_of_flat**0.5, rel=1e-4)


def test_a_master_without_a_key_is_named_without_one(frame_and_masters):
    """An empty card would be taken for a key that says nothing."""
    _, path, paths, *_ = frame_and_masters
    applied = masters_of(paths, MasterStore())
    keyless = {
        use.master.kind: replace(use, master=replace(use.master, key=""))
        for use in applied.applied_masters
    }
    hdu = multi_image_products.read_stored_hdus(path)[0]
    keys = {"BIASKEY": "bias-key", "DARKKEY": "dark-key", "FLATKEY": "flat-key"}
    for uses, expected in ((applied, keys), (FrameMasters(**keyless), {})):
        cards = primary_cards(hdu, uses, FrameProvenance("product-key"))
        header = fits.Header.fromstring("".join(text for _, text in cards))
        assert [header[each] for each in ("BIASIM", "DARKIM", "FLATIM")] == [
            "bias.fits", "dark.fits", "flat.fits",
        ]  # fmt: skip
        assert {each: header[each] for each in keys if each in header} == expected


def test_every_card_is_documented(frame_and_masters, tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "products.md").read_text("utf-8")
    names = set(re.findall(r"`([A-Za-z0-9_-]+)`", text))
    _, path, paths, *_ = frame_and_masters
    used = masters_of(paths, MasterStore(), k=0.4)
    used = FrameMasters(*(replace(use, lag=3, degrees_warmer=0.1) for use in used.applied_masters))
    amplifiers = [readouts(level=1000.0, saturation=65535.0)]
    calibrate_file(
        path,
        tmp_path / "o.fits",
        FrameCalibration(used, amplifiers),
        provenance=FrameProvenance("k", Grading(grade="B", reasons=("old",))),
    )
    structure = r"SIMPLE|XTENSION|BITPIX|NAXIS\d?|EXTEND|[PG]COUNT|EXTNAME|COMMENT"
    with fits.open(tmp_path / "o.fits") as hdus:
        cards = {re.sub(r"0\d$", "nn", keyword) for hdu in hdus for keyword in hdu.header}
        cards |= {hdu.name for hdu in hdus[1:]}
    assert {"DARKDTMP", "OSCNOInn", "BIASDT", "RAWGAIN", "UTYPE", "SKYPRED"} <= cards
    cards -= {"OBJECT", "IMAGETYP", "AIRMASS"}
    assert len(cards - names) > 5
    assert [name for name in sorted(cards - names) if not re.fullmatch(structure, name)] == []


def test_saturate_is_where_pixels_saturate(frame_and_masters, tmp_path):
    full = frame_and_masters[3].copy()
    full[::9] = 65535 - 1000
    frame = write(tmp_path / "full.fits", (full, CARDS))
    _, target = run(frame_and_masters, tmp_path, frame=frame)
    with fits.open(target) as hdus:
        is_full = (hdus["MASK"].data & mask_bits.SATURATED) > 0
        assert is_full[::9].all()
        assert np.count_nonzero(is_full) == full[::9].size
        # Amplifiers differ in gain and pixels in their flat: SATURATE is the least of them.
        assert hdus[0].data[::9].min() == pytest.approx(hdus[0].header["SATURATE"], rel=0.02)


def test_image_only_and_unknown_gain(frame_and_masters, tmp_path):
    _, whole = run(frame_and_masters, tmp_path / "whole")
    result, target = run(
        frame_and_masters, tmp_path, form=ProductForm(has_uncertainty=False, has_mask=False)
    )
    with fits.open(target) as hdus, fits.open(whole) as whole_hdus:
        assert len(hdus) == 1
        assert len(whole_hdus) == 3
        np.testing.assert_array_equal(hdus[0].data, whole_hdus[0].data)
        assert np.ptp(hdus[0].data) > 1000
    without_gain = tuple(replace(r, gain=None) for r in readouts())
    target = tmp_path / "adu.fits"
    used = masters_of(frame_and_masters[2], MasterStore())
    result = calibrate_file(frame_and_masters[1], target, FrameCalibration(used, [without_gain]))
    assert result.unit == "adu"
    assert "gain" in result.reason_without_uncertainty
    with fits.open(target) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "MASK"]
        assert hdus[0].header["BUNIT"] == "adu"
        assert hdus[0].header["GAIN"] == 3
        assert "no UNCERT" in str(hdus[0].header["HISTORY"])


def test_a_master_has_the_gains_of_all_its_images(tmp_path):
    """Those of the last image alone would not be compared with the frame's."""
    image = np.ones((4, 5), np.float32)
    hdus = [(image, {"AMPGAIN": 1.5}), (image, {"GAIN01": 2.5, "GAIN02": 3.5})]
    path = write(tmp_path / "bias.fits", (None, {"CCDFKEY": "k"}), *hdus)
    assert combined_master.read_master(path, "bias").gains == (1.5, 2.5, 3.5)
    path = write(tmp_path / "bias.fits", (None, {"AMPGAIN": 1.25}), (image, {}))
    assert combined_master.read_master(path, "bias").gains == (1.25,)


def test_an_image_for_each_amplifier(frame_and_masters, tmp_path):
    """Extensions stay extensions: each with its own uncertainty and mask."""
    _, _, paths, reduced, _ = frame_and_masters
    parts, amplifiers = (slice(0, 210), slice(210, 410)), []
    for part, readout in zip(parts, readouts(), strict=True):
        width = part.stop - part.start
        amplifiers.append([replace(readout, region=replace(readout.region, x0=0, x1=width))])
    frame = write(
        tmp_path / "two.fits",
        (None, {k: v for k, v in CARDS.items() if not k.startswith("GAIN0")}),
        *(
            (reduced[:, part], {"BUNIT": "adu", "EXTNAME": f"IM{n}"})
            for n, part in enumerate(parts)
        ),
    )
    split = {}
    for kind, path in paths.items():
        with fits.open(path) as hdus:
            images = [
                (hdus[0].data[:, part], {"EXTNAME": f"IM{n}"}) for n, part in enumerate(parts)
            ]
            errors = [
                (hdus[1].data[:, part], {"EXTNAME": f"UNCERT{n}"})
                for n, part in enumerate(parts, start=1)
            ]
            split[kind] = write(tmp_path / path.name, (None, hdus[0].header), *images, *errors)
    target = tmp_path / "out.fits"
    calibrate_file(frame, target, FrameCalibration(masters_of(split, MasterStore()), amplifiers))
    whole, _, _ = calibrate_arrays(reduced, readouts(), masters_of(paths, MasterStore()))
    with fits.open(target, checksum=True) as hdus:
        names = ["PRIMARY", "IM0", "IM1", "UNCERT1", "UNCERT2", "MASK1", "MASK2"]
        assert [hdu.name for hdu in hdus] == names
        assert hdus[0].header["CALGRADE"] == "A"
        for number, part in enumerate(parts, start=1):
            assert (hdus[number].data == whole[:, part]).all()
            assert hdus[number].header["BUNIT"] == "electron"
            assert hdus[f"MASK{number}"].data.shape == whole[:, part].shape
    ccd = CCDData.read(target, hdu=2, hdu_uncertainty="UNCERT2", hdu_mask="MASK2")
    assert ccd.uncertainty.array.shape == (300, 200)


def test_a_stored_mask_comes_along(frame_and_masters, tmp_path):
    _, _, _, reduced, _ = frame_and_masters
    stored = np.zeros(SHAPE, np.uint8)
    stored[3, 5], stored[9, 400] = 1, 4
    frame = write(tmp_path / "m.fits", (reduced, CARDS), (stored, {"EXTNAME": "MASK"}))
    _, target = run(frame_and_masters, tmp_path, frame=frame)
    mask = fits.getdata(target, "MASK")
    assert (mask[3, 5], mask[9, 400]) == (1, 4)
    assert np.count_nonzero(mask & 7) == 2


# -- faults ----------------------------------------------------------------------------------------


def test_a_damaged_frame_leaves_the_old_product(frame_and_masters, tmp_path):
    _, target = run(frame_and_masters, tmp_path)
    before = target.read_bytes()
    damaged = tmp_path / "damaged.fits"
    content = bytearray(frame_and_masters[1].read_bytes())
    content[-5000] ^= 64
    damaged.write_bytes(content)
    line = r"DATASUM: the reduced frame's pixels do not agree with its checksum .*make it again"
    with pytest.raises(FrameError, match=line):
        run(frame_and_masters, tmp_path, frame=damaged)
    damaged.write_bytes(content[:-20_000])
    with pytest.raises(FrameError, match="the product is cut"):
        run(frame_and_masters, tmp_path, frame=damaged)
    assert target.read_bytes() == before
    assert list(target.parent.iterdir()) == [target]


def test_a_full_disk_leaves_the_old_product(frame_and_masters, tmp_path, monkeypatch):
    _, target = run(frame_and_masters, tmp_path)
    before = target.read_bytes()

    def raise_full_disk(part, data, place):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic_write.Part, "write_at", raise_full_disk)
    with pytest.raises(OSError, match="No space"):
        run(frame_and_masters, tmp_path)
    assert target.read_bytes() == before
    assert list(target.parent.iterdir()) == [target]


def test_a_frame_that_was_corrected_already_is_refused(frame_and_masters, tmp_path):
    _, target = run(frame_and_masters, tmp_path)
    again = tmp_path / "again.fits"
    shutil.copy(target, again)
    with pytest.raises(FrameError, match="bias was corrected already"):
        run(frame_and_masters, tmp_path, frame=again)


@pytest.mark.parametrize("problem", ["missing", "cut", "camera", "shape"])
def test_masters_that_do_not_fit_are_one_line(frame_and_masters, tmp_path, problem):
    _, frame, paths, *_ = frame_and_masters
    path = tmp_path / "bias.fits"
    words = {
        "missing": r"the combined bias cannot be read \(No such file or directory\)",
        "cut": "the product is cut",
        "camera": "the bias is another camera's",
    }
    if problem == "cut":
        path.write_bytes(paths["bias"].read_bytes()[:-30_000])
    if problem == "camera":
        write(path, (fits.getdata(paths["bias"]), {"CCDFCAM": "other", "BUNIT": "adu"}))
    if problem == "shape":
        write(path, (np.zeros((400, 300), np.float32), {"BUNIT": "adu"}))

    def calibrate():
        use = AppliedMaster(MasterStore().get(path, "bias"))
        calibration = FrameCalibration(FrameMasters(use), [readouts()])
        calibrate_file(frame, tmp_path / "o.fits", calibration, name="s1.fits")

    with pytest.raises(FrameError, match=words.get(problem, "another shape")) as error:
        calibrate()
    assert "\n" not in str(error.value)
    assert not (tmp_path / "o.fits").exists()


def test_a_flat_that_is_saturated_in_one_half_calibrates_the_other():
    """A saturated pixel has the highest level of the members: it is not part of the mean of 1."""
    random = np.random.default_rng(8)
    flat = random.normal(1, 0.01, (40, 60)).astype(np.float32)
    flat[:, :31], mask = 2.84, np.zeros(flat.shape, np.int16)
    mask[:, :31] = mask_bits.SATURATED
    image = combined_master.master_image_of(flat, "flat", mask=mask)
    x = image.flags.indices % 60
    assert (image.flags.bits == mask_bits.UNCALIBRATED).all()
    assert x.max() == 30
    assert len(x) == 40 * 31
    with pytest.raises(FrameError, match=r"not normalised \(found 2\.84\)"):
        combined_master.master_image_of(flat, "flat")
    with pytest.raises(FrameError, match=r"no lit pixel \(found 2\.84\)"):
        combined_master.master_image_of(flat[:, :31], "flat", mask=mask[:, :31])


def test_infinite_values_in_most_of_a_tile_leave_the_errors_beside_it(tmp_path):
    """The signal of a tile is the median of its finite values, and of its neighbours' if none."""
    random = np.random.default_rng(3)
    reduced = random.normal(100, 8, (192, 192)).astype(np.float32)
    amplifiers = [Readout(Region(0, 192, 0, 192), gain=1.5, read_noise=4.0)]
    _, sound, _ = calibrate_arrays(reduced, amplifiers, FrameMasters())
    for value in (np.inf, -np.inf, np.nan):
        reduced[64:128, 64:128] = value
        reduced[64:80, 64:74] = 100
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            data, error, mask = calibrate_arrays(reduced, amplifiers, FrameMasters())
        is_good = mask == 0
        assert (is_good == np.isfinite(data)).all()
        np.testing.assert_allclose(error[is_good], sound[is_good], rtol=0.03)


@pytest.mark.parametrize(
    ("words", "dark", "flat", "without"),
    [
        ("still holds its bias, which would be subtracted twice", {"BIASKEY": None}, {}, ""),
        ("and its bias with it", {"BIASKEY": None, "EXPTIME": 600.0}, {}, "bias"),
        ("scaled up beyond the limit", {"EXPTIME": 100.0}, {}, ""),
        ("of another temperature", {"SET-TEMP": None, "CCD-TEMP": -97.0}, {}, ""),
        ("of another temperature", {"SET-TEMP": -90.0, "CCD-TEMP": -100.0}, {}, ""),
        ("the flat still holds its bias level", {}, {"BIASKEY": None}, ""),
        ("the flat is not normalised", {}, {"factor": 25_000}, ""),
        ("the flat holds no lit pixel", {}, {"factor": 0}, ""),
        ("dark.fits: EXPTIME: the dark has no exposure time;", {"EXPTIME": None}, {}, ""),
        (
            "dark.fits: EXPTIME: the dark has no exposure time (found 0.0)",
            {"EXPTIME": 0.0},
            {},
            "",
        ),
        ("", {"SET-TEMP": -100.2, "CCD-TEMP": -92.0}, {}, ""),
        ("", {}, {}, ""),
    ],
)
def test_by_hand_masters_that_physics_forbids_are_refused_in_one_line(
    tmp_path, capsys, words, dark, flat, without
):
    """Masters that somebody made elsewhere, by the command line: nothing is written."""
    import calibrate

    shape = (12, 16)
    usual_cards = {"BUNIT": "adu", "NCOMBINE": 9, "BIASKEY": "b"}
    cards = {
        "bias": {"CCDFKEY": "b", "BIASKEY": None},
        "dark": {"EXPTIME": 300.0, "SET-TEMP": -100.0, "CCD-TEMP": -100.0} | dark,
        "flat": {"FLATLVL": 2e4} | flat,
    }
    master_arguments = []
    for kind, level in (("bias", 2.0), ("dark", 5.0), ("flat", 1.0)):
        cards_of_master = {k: v for k, v in (usual_cards | cards[kind]).items() if v is not None}
        pixels = np.full(shape, level * cards_of_master.pop("factor", 1), np.float32)
        path = write(tmp_path / f"{kind}.fits", (pixels, cards_of_master))
        master_arguments += [f"{kind}={path}"] * (kind != without)
    frame = {"BUNIT": "adu", "EXPTIME": 300.0, "GAIN": 1.5, "RDNOISE": 6.0, "SET-TEMP": -100.0}
    frame["CCD-TEMP"] = -100.0
    path = write(tmp_path / "s.fits", (np.full(shape, 107, np.float32), frame))
    status = calibrate.main([f"out={tmp_path / 'out'}", str(path), *master_arguments])
    message = capsys.readouterr().err
    if words:
        assert status == 1
        assert words in message
        assert message.count("\n") == 1
        assert not (tmp_path / "out/s.fits").exists()
    else:
        assert (status, message) == (0, "")
        assert (fits.getdata(tmp_path / "out/s.fits") == np.float32(100 * 1.5)).all()


def test_by_hand_masters_without_any_card_serve_where_the_bias_is_out_of_them(tmp_path):
    """As `scripts/combine.py` writes a bias: it has no key."""
    import calibrate

    values = {"frame": (1000.0, 33.0), "bias": (2.0, 0.0), "dark": (12.0, 60.0), "flat": (0.8, 1.0)}
    for name, (value, seconds) in values.items():
        header = fits.Header({"EXPTIME": seconds, "GAIN": 1.0, "RDNOISE": 5.0})
        fits.writeto(tmp_path / f"{name}.fits", np.full((3, 7), value, np.float32), header)
    master_arguments = [f"{name}={tmp_path / name}.fits" for name in ("bias", "dark", "flat")]
    frame = str(tmp_path / "frame.fits")
    assert (
        calibrate.main([f"out={tmp_path / 'out'}", *master_arguments, frame, "--bias-is-out"]) == 0
    )
    pixels = fits.getdata(tmp_path / "out" / "frame.fits")
    np.testing.assert_allclose(pixels, (1000 - 2 - 33 / 60 * 12) / np.float32(0.8), rtol=2e-7)


def test_by_hand_processes_share_the_work_and_a_bad_frame_costs_no_other(tmp_path, monkeypatch):
    import calibrate

    rng = np.random.default_rng(5)
    cards = {"BUNIT": "adu", "EXPTIME": 300.0, "GAIN": 1.5, "RDNOISE": 6.0}
    frames = [
        str(write(tmp_path / f"{name}.fits", (rng.normal(100, 5, (12, 16)).astype("f4"), cards)))
        for name in "abcde"
    ]
    Path(frames[2]).write_bytes(Path(frames[2]).read_bytes()[:-2880])
    script = str(Path(calibrate.__file__))
    process = subprocess.run(
        [sys.executable, script, f"out={tmp_path / 'many'}", *frames, "--cores", "2"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (process.returncode, process.stdout) == (1, "")
    problem = "bytes: the product is cut (found 2880); allowed: 5760 or more"
    assert process.stderr == f"ccdflow: {frames[2]}: {problem}; {MAKE_AGAIN}\n"
    monkeypatch.setattr(forked_frames.threading, "active_count", lambda: 2)
    assert calibrate.main([f"out={tmp_path / 'one'}", *frames[:2], *frames[3:]]) == 0
    product_paths = sorted((tmp_path / "many").iterdir())
    assert [path.stem for path in product_paths] == ["a", "b", "d", "e"]
    assert all(
        path.read_bytes() == (tmp_path / "one" / path.name).read_bytes() for path in product_paths
    )


# -- shared masters --------------------------------------------------------------------------------


def test_threads_share_masters_and_make_the_same_bytes(frame_and_masters, tmp_path, monkeypatch):
    reads = []
    real = combined_master.read_master

    def count_reads(path, kind, **more):
        """Read a master, and note its kind."""
        reads.append(kind)
        return real(path, kind, **more)

    monkeypatch.setattr(combined_master, "read_master", count_reads)
    store = MasterStore()

    def calibrate_one(number):
        """Return the bytes of a calibrated frame, with the dark scaled for every second number."""
        _, target = run(
            frame_and_masters, tmp_path / str(number), store=store, k=(1.0, 0.4)[number % 2]
        )
        return target.read_bytes()

    with ThreadPoolExecutor(4) as pool:
        contents = list(pool.map(calibrate_one, range(12)))
    assert sorted(reads) == ["bias", "dark", "flat"]
    assert len(set(contents[::2])) == len(set(contents[1::2])) == 1
    assert contents[0] != contents[1]


def test_masters_that_no_frame_takes_any_more_are_freed(frame_and_masters, monkeypatch):
    """A watch frees idle masters after each whole round; frames may be five minutes apart."""
    reads, real = [], combined_master.read_master

    def count_reads(path, kind, **more):
        """Read a master, and note its kind."""
        reads.append(kind)
        return real(path, kind, **more)

    monkeypatch.setattr(combined_master, "read_master", count_reads)
    store, paths = MasterStore(), frame_and_masters[2]
    for _ in range(3):
        store.get(paths["bias"], "bias")
        for _ in range(3):
            store.free_idle()
    assert reads == ["bias"]
    store.get(paths["flat"], "flat")
    store.free_idle()
    store.get(paths["bias"], "bias")
    assert reads == ["bias", "flat", "bias"]
    store.get(paths["flat"], "flat")
    assert reads == ["bias", "flat", "bias"]


def test_a_frame_keeps_no_plane_that_its_masters_freed(frame_and_masters, tmp_path, monkeypatch):
    """A plane held until Python looks for garbage would be copied into a forked process."""
    plane_by_kind, real = {}, combined_master.variance_of

    def note_plane(image, master, amplifier):
        """Return the variance of a master, and note a weak reference to it."""
        plane = real(image, master, amplifier)
        plane_by_kind[master.kind] = weakref.ref(plane)
        return plane

    monkeypatch.setattr(combined_master, "variance_of", note_plane)
    gc.disable()
    try:
        used = masters_of(frame_and_masters[2], MasterStore())
        calibration = FrameCalibration(used, [readouts(level=1000.0)])
        calibrate_file(frame_and_masters[1], tmp_path / "s.fits", calibration)
        assert {kind for kind, plane in plane_by_kind.items() if plane() is not None} == {"flat"}
    finally:
        gc.enable()
    assert set(plane_by_kind) == {"dark", "flat"}


@pytest.mark.parametrize("k", [1.0, 0.4])
def test_planes_of_masters_are_shared_by_frames_of_other_levels(
    frame_and_masters, tmp_path, monkeypatch, k
):
    """Each frame has an overscan level of its own: noise and figures of its masters have not.

    The medians for SATURATE were kept by amplifier and level: each frame computed its own.
    """
    store, sizes, names = MasterStore(), [], set()
    figure, counts = combined_master.MasterImage.figure, []

    def note_name(image, name, make):
        """Return a figure of a master, and note its name."""
        names.add((image.number, name))
        return figure(image, name, make)

    monkeypatch.setattr(combined_master.MasterImage, "figure", note_name)
    for level in (1000.0, 1000.7, 1003.2):
        used = masters_of(frame_and_masters[2], store, k=k)
        target = tmp_path / f"{level}.fits"
        calibration = FrameCalibration(used, [readouts(level=level, saturation=65535.0)])
        calibrate_file(frame_and_masters[1], target, calibration)
        sizes.append(sum(use.master.nbytes for use in used.applied_masters))
        counts.append(len(names))
    assert len(set(sizes)) == 1
    # The middle of bias and dark and the top of the flat, of two amplifiers; the noise of masters.
    assert counts == [6 + (2 if k == 1 else 3)] * 3
    assert {name[0] for _, name in names} == {"middle", "top", "noise"}
    used = masters_of(frame_and_masters[2], MasterStore(), k=k)
    calibration = FrameCalibration(used, [readouts(level=1003.2, saturation=65535.0)])
    calibrate_file(frame_and_masters[1], tmp_path / "alone.fits", calibration)
    assert (tmp_path / "alone.fits").read_bytes() == target.read_bytes()


def test_few_exposures_keep_planes_of_a_master(frame_and_masters, tmp_path):
    """A night of many exposure times takes no memory for each of them."""
    store, sizes = MasterStore(), []
    for number, k in enumerate((0.9, 0.8, 0.7, 0.6, 0.9)):
        used = masters_of(frame_and_masters[2], store, k=k)
        calibration = FrameCalibration(used, [readouts()])
        calibrate_file(frame_and_masters[1], tmp_path / f"{number}.fits", calibration)
        sizes.append(sum(use.master.nbytes for use in used.applied_masters))
    assert sizes[1] == sizes[2] == sizes[4]
    assert (tmp_path / "0.fits").read_bytes() == (tmp_path / "4.fits").read_bytes()


def test_a_master_made_anew_is_read_anew_and_old_ones_go(frame_and_masters, tmp_path):
    paths = frame_and_masters[2]
    path = tmp_path / "bias.fits"
    shutil.copy(paths["bias"], path)
    store = MasterStore(memory=1)
    first = store.get(path, "bias")
    assert store.get(path, "bias") is first
    write(path, (np.full(SHAPE, 5, np.float32), {"BUNIT": "adu"}))
    assert store.get(path, "bias").images[0].data[0, 0] == 5
    # One byte is allowed: each replaces the one before.
    assert store.get(paths["bias"], "bias") is not first


@pytest.mark.parametrize("dtype", ["i2", "f4"])
@pytest.mark.parametrize("count", [1, 2, 7, 720])
def test_the_checksum_is_that_of_the_swapped_bytes(dtype, count):
    values = np.random.default_rng(count).integers(-32768, 32767, count).astype(dtype)
    big = values.astype(f">{dtype}").tobytes()
    words = multi_image_products.swap_bytes(values)
    assert values.tobytes() == big
    wanted = checksum.sum_words(big + b"\0" * (-len(big) % 4))
    assert words % 0xFFFFFFFF == wanted % 0xFFFFFFFF


# -- IRAF ------------------------------------------------------------------------------------------

IRAF = """noao
imred
ccdred
ccdred.instrument = ""
ccdred.verbose = no
ccdred.pixeltype = "real real"
ccdproc ("f.fits", output="out.fits", ccdtype="", fixpix=no, overscan=no, trim=no, zerocor=yes, darkcor=yes, flatcor=yes, illumcor=no, fringecor=no, interactive=no, zero="z.fits", dark="d.fits", flat="l.fits")
logout
"""  # noqa: E501


@pytest.mark.skipif(shutil.which("irafcl") is None, reason="IRAF is not installed")
@pytest.mark.parametrize("seconds", [300.0, 120.0])
def test_pixels_are_those_of_iraf(frame_and_masters, tmp_path, seconds):
    _, _, paths, reduced, _ = frame_and_masters
    with fits.open(paths["flat"]) as hdus:
        flat = hdus[0].data
    kinds = {"f": ("object", seconds), "z": ("zero", 0.0), "d": ("dark", 300.0), "l": ("flat", 1.0)}
    arrays = {"f": reduced, "l": flat}
    arrays |= {"z": fits.getdata(paths["bias"]), "d": fits.getdata(paths["dark"])}
    for name, (kind, exptime) in kinds.items():
        cards = {"IMAGETYP": kind, "EXPTIME": exptime, "DARKTIME": exptime}
        corrections = {"d": ["ZEROCOR"], "l": ["ZEROCOR", "DARKCOR"]}.get(name, [])
        cards |= dict.fromkeys(corrections, "done")
        # IRAF divides the flat by this mean, and computes none itself.
        cards |= {"CCDMEAN": 1.0} if name == "l" else {}
        fits.writeto(tmp_path / f"{name}.fits", arrays[name], fits.Header(cards))
    (tmp_path / "run.cl").write_text(IRAF)
    subprocess.run(
        ["irafcl", "-f", "run.cl"], cwd=tmp_path, env={**os.environ, "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=600,
    )  # fmt: skip
    theirs = fits.getdata(tmp_path / "out.fits")
    without_gain = tuple(replace(readout, gain=None) for readout in readouts())
    ours, _, _ = calibrate_arrays(
        reduced, without_gain, masters_of(paths, MasterStore(), k=seconds / 300), needs_noise=False
    )
    largest = np.maximum(np.abs(reduced), np.abs(arrays["z"])) + np.abs(arrays["d"])
    assert (np.abs(ours - theirs) <= 4 * np.finfo(np.float32).eps * largest / flat).all()
