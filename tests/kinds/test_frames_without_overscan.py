"""A night in which some frames of a camera were read without overscan: nothing is lost unsaid."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from small_frames import LFC_LIKE, bias_cards, run_jobs, write_raw

ROOT = Path(__file__).parents[2]
LFC = (ROOT / "config" / "cameras" / "lfc.yaml").read_text("utf-8")
NX, NY, STRIP = 128, 90, 32
KINDS = ("frame", "bias", "flat")
LIGHT = {"bias": 0, "flat": 20_000, "science": 60, "bright": 2_000}
CARDS = {
    "bias": {},
    "flat": {"IMAGETYP": "FLATFIELD", "EXPTIME": 5.0},
    "science": {"IMAGETYP": "OBJECT", "EXPTIME": 50.0},
    "bright": {"IMAGETYP": "OBJECT", "EXPTIME": 300.0},
}


def frame(kind, *, seed, is_trimmed=False, ny=NY):
    """A frame of 128 columns of data and 32 of overscan, or without these, adu."""
    rng = np.random.default_rng(seed)
    pixels = 1140 + 10 * rng.standard_normal((ny, NX + STRIP))
    shape = 1 - 0.1 * np.linspace(-1, 1, NX) ** 2
    pixels[:, :NX] += rng.poisson(LIGHT[kind] * shape, (ny, NX))
    return np.rint(pixels[:, : NX if is_trimmed else NX + STRIP]).astype(np.uint16)


def take(tmp_path, *kinds, sections=None, name="", count=3, first=0, camera="LFC", **options):
    """Write `count` frames of each kind, with these sections in their headers."""
    for n, kind in enumerate(kinds):
        for i in range(count):
            cards = bias_cards(first + n * count + i, name=camera, GAIN=1.1, FILTER="g")
            cards |= {"OBJECT": kind} | CARDS[kind] | (sections or {})
            pixels = frame(kind, seed=(first, n, i), **options)
            write_raw(tmp_path / "raw" / f"{name}{kind}{i}.fits", (pixels, cards))


def run(tmp_path, profile=LFC, **more):
    return run_jobs(tmp_path / "raw", tmp_path / "results", {"lfc": profile} | more, kinds=KINDS)


def statuses_of(done, name):
    """Return (status, reason) of each frame whose name begins so; assert that there are some."""
    rows = done.context.store.rows
    statuses = [rows[file].status_and_reason for file in sorted(rows) if file.startswith(name)]
    assert statuses
    return statuses


def sections(nx, *, overscan=STRIP):
    own = {"DATASEC": f"[1:{nx},1:{NY}]", "CCDSEC": f"[1:{nx},1:{NY}]"}
    return own | ({"BIASSEC": f"[{nx + 1}:{nx + overscan},1:{NY - 1}]"} if overscan else {})


def test_trimmed_frames_are_set_aside_by_their_cards_and_the_others_are_reduced(tmp_path):
    """Biases and faint frames as well, of which no pixel could tell. The remedy reduces them."""
    take(tmp_path, "bias", "flat", "science", sections=sections(NX))
    take(
        tmp_path, "bias", "flat", "science", sections=sections(NX, overscan=0), name="cut_",
        first=20, is_trimmed=True,
    )  # fmt: skip
    done = run(tmp_path)
    for status, reason in statuses_of(done, "cut_"):
        assert status == "set aside"
        assert reason.startswith("DATASEC: the overscan of the camera's profile holds data by")
        assert "amplifier A has its overscan at [104:128,1:90] (found '[1:128,1:90]')" in reason
        assert "recognised by NAXIS1: 128 (`overscan: none`" in reason
    assert len(statuses_of(done, "cut_")) == 9
    assert {status for status, _ in statuses_of(done, "bias") + statuses_of(done, "flat")} == {"ok"}
    assert done.open("combined/2020-02-29/bias_lfc_128x90_g1.1.fits")[0].data.shape == (NY, NX)
    remedy = "recognise: {INSTRUME: LFC, NAXIS1: 128}\nsite: {longitude: -116.9}\noverscan: none\n"
    done = run(tmp_path, lfc_cut=remedy)
    assert {status for status, _ in statuses_of(done, "cut_")} == {"ok"}
    assert done.open("reduced/cut_flat0.fits")[0].data.shape == (NY, NX)


def test_without_cards_pixels_tell_and_biases_are_warned_of(tmp_path):
    take(tmp_path, "bias", "flat", "science")
    take(tmp_path, "bias", "flat", "science", "bright", name="cut_", first=20, is_trimmed=True)
    done = run(tmp_path)
    for status, reason in statuses_of(done, "cut_flat"):
        assert status == "set aside"
        assert reason.startswith("the overscan [104:128,1:90] holds data as the image does: its")
        remedy = "else correct `overscan:` in the camera's profile"
        assert (reason.count(remedy), reason.endswith(remedy)) == (1, True)
    assert not (done.results / "reduced" / "cut_flat0.fits").exists()
    for status, reason in statuses_of(done, "cut_bright"):
        # The same noise and level could be those of a noisy readout without light.
        assert status == "ok"
        assert "warning: the overscan [104:128,1:90] may hold data: its level" in reason
    for status, reason in statuses_of(done, "cut_b") + statuses_of(done, "cut_science"):
        assert status == "ok"
        assert "warning: NAXIS1 is 128: in a frame of its size, with light, the strip" in reason
        assert "give `size:` in the camera's profile" in reason
    assert [text for _, text in statuses_of(done, "bias") + statuses_of(done, "flat")] == [""] * 6
    line = "warning: lfc: cut_bias0.fits (the first of 9 frames): NAXIS1 is 128: in a frame of its"
    assert sum(text.startswith(line) for text in done.lines) == 1


def test_biases_of_two_sizes_without_light_are_warned_of_by_size(tmp_path):
    take(tmp_path, "bias")
    take(tmp_path, "bias", name="cut_", first=20, is_trimmed=True)
    done = run(tmp_path)
    assert [text for _, text in statuses_of(done, "bias")] == [""] * 3
    for _, reason in statuses_of(done, "cut_"):
        assert "warning: NAXIS1 is 128: others of the night have 160, and neither a card" in reason


@pytest.mark.parametrize("stated", [True, False])
def test_windows_other_cameras_and_sizes_with_light_are_no_alarm(tmp_path, stated):
    """A window of rows, one of columns whose flat shows its overscan, and another camera."""
    own = sections(NX) if stated else None
    take(tmp_path, "bias", "flat", sections=own)
    take(tmp_path, "bias", "flat", sections=own, name="rows_", first=20, ny=60)
    other = {"camera": "TESTCAM", "name": "other_", "first": 40, "is_trimmed": True}
    take(tmp_path, "bias", **other)
    profile = LFC_LIKE.format(name="TESTCAM") + "size: [128, 90]\n"
    done = run(tmp_path, test=profile)
    assert {(status, reason) for status, reason in statuses_of(done, "")} == {("ok", "")}
    # The flat of another width has its overscan, so that its biases have it as well.
    narrow = {"sections": sections(96) if stated else None, "name": "narrow_", "first": 60}
    take(tmp_path, "bias", "flat", **narrow)
    for path in (tmp_path / "raw").glob("narrow_*"):
        cut_left_columns(path)
    done = run(tmp_path, test=profile)
    assert {(status, reason) for status, reason in statuses_of(done, "narrow_")} == {("ok", "")}


def cut_left_columns(path):
    """Cut the first 32 columns off a frame."""
    with fits.open(path) as hdus:
        data, cards = hdus[0].data[:, 32:].copy(), hdus[0].header.copy()
    fits.writeto(path, data, cards, overwrite=True)


def test_a_noisy_camera_loses_no_frame(tmp_path):
    """The read noise is 60 electrons, neither header nor profile tells, and there is no sky."""
    rng = np.random.default_rng(8)
    for n, kind in enumerate(("bias", "flat", "science", "bright")):
        for i in range(3):
            cards = bias_cards(3 * n + i, name="LFC", FILTER="g") | CARDS[kind]
            pixels = 1140 + 60 * rng.standard_normal((NY, NX + STRIP))
            # An unlit edge of 40 columns: the slit of a spectrograph is no longer.
            pixels[:, : NX - 40] += rng.poisson(LIGHT[kind], (NY, NX - 40))
            write_raw(tmp_path / "raw" / f"{kind}{i}.fits", (np.rint(pixels).astype("u2"), cards))
    done = run(tmp_path)
    assert {status for status, _ in statuses_of(done, "")} == {"ok"}
    for _, reason in statuses_of(done, "flat") + statuses_of(done, "science"):
        assert "may hold data" in reason
        assert "correct `gain:` and `read_noise:` in the camera's profile" in reason
    # The remedy that it names.
    done = run(tmp_path, LFC + "gain: 1.0\nread_noise: 60\n")
    assert not any("may hold data" in reason for _, reason in statuses_of(done, ""))


def test_a_night_without_any_overscan_is_known_by_its_flats(tmp_path):
    take(tmp_path, "bias", "flat", "science", is_trimmed=True)
    done = run(tmp_path)
    assert {status for status, _ in statuses_of(done, "flat")} == {"set aside"}
    for _, reason in statuses_of(done, "bias") + statuses_of(done, "science"):
        assert "in a frame of its size, with light, the strip holds data" in reason


@pytest.mark.parametrize(
    "cards", [{"CCDSEC": f"[1:{NX + STRIP},1:{NY}]"}, {"DATASEC": f"[1:2048,1:{NY}]"}]
)
def test_a_section_that_need_not_be_about_the_frame_costs_none(tmp_path, cards):
    """A camera that counts its overscan among the chip's columns, or whose DATASEC never changes.

    The flats show that the strip is one: every frame is reduced and combined, and warned of in one
    line, beside the line of another warning on the same frames.
    """
    more = cards | {"GAIN": 0.0}
    take(tmp_path, "bias", "flat", sections=more)
    done = run(tmp_path)
    (keyword, value), *_ = cards.items()
    for status, reason in statuses_of(done, ""):
        assert status == "ok"
        assert f"warning: {keyword}: the overscan of the camera's profile may hold data" in reason
        assert f"(found {value}, allowed: a section without the columns of the overscan)" in reason
    assert {r.kind for r in done.records.values() if r.status == "made"} == set(KINDS)
    lines = [line for line in done.lines if keyword in line]
    assert len(lines) == 1
    assert lines[0].startswith(f"warning: lfc: bias0.fits (the first of 6 frames): {keyword}: the")
    assert "write `size: [160, null]` into the profile" in lines[0]
