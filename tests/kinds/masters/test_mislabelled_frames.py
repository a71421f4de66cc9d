"""A frame whose cards contradict its type is told of, and cannot spoil a master of ten others."""

import numpy as np
import pytest
from small_frames import run_jobs, write_raw

SHAPE, N_COLUMNS = (40, 72), 64
CARDS = {
    "INSTRUME": "PROBE", "LONGITUD": -111.6, "BIASSEC": "[65:72,1:40]", "TRIMSEC": "[1:64,1:40]",
    "GAIN": 1.5, "RDNOISE": 6.0, "FILTER": "V",
}  # fmt: skip
# Adu of each kind of frame over the bias, and its exposure in seconds. A dark has a rate of 0.2
# adu/s, with hot pixels.
LIGHT = {"bias": 0.0, "dark": 60.0, "flat": 20000.0, "object": 400.0}
EXPOSURES = {"bias": 0.0, "dark": 300.0, "flat": 5.0, "object": 300.0}


def pixels_of(kind, seed):
    rng = np.random.default_rng(seed)
    image = 1000 + 4 * rng.standard_normal(SHAPE)
    electrons = np.full((SHAPE[0], N_COLUMNS), LIGHT[kind] * CARDS["GAIN"])
    if kind == "dark":
        electrons[::7, ::9] += 3000
    if kind == "object":
        electrons[10:14, 20:24] += 30000
    image[:, :N_COLUMNS] += rng.poisson(electrons) / CARDS["GAIN"]
    return np.rint(image).clip(0, 65535).astype(np.uint16)


def write_frame(folder, name, kind, number, *, pixels=None, **more):
    cards = CARDS | {"IMAGETYP": kind, "EXPTIME": EXPOSURES[kind]} | more
    cards["DATE-OBS"] = f"2024-03-10T0{4 + number // 60}:{number % 60:02d}:00"
    write_raw(folder / name, (pixels_of(kind, number) if pixels is None else pixels, cards))


def masters_of(tmp_path, name, odd_frames):
    """Return the run of ten biases, darks and flats with these odd frames."""
    raw = tmp_path / name / "raw"
    for first_number, kind in ((0, "bias"), (20, "dark"), (40, "flat")):
        for number in range(10):
            write_frame(raw, f"{kind}_{number:03d}.fits", kind, first_number + number)
    for number, (file, kind, pixels, more) in enumerate(odd_frames):
        write_frame(raw, file, kind, 80 + number, pixels=pixels, **more)
    kinds = ("frame", "bias", "dark", "flat")
    return run_jobs(raw, tmp_path / name / "results", {}, kinds=kinds)


ODD_FRAMES = {
    "bias of 300 s": (
        ("odd.fits", "bias", pixels_of("dark", 91), {"EXPTIME": 300.0}),
        "EXPTIME: 300 s is no exposure of a bias (found 300); allowed: up to 1 s",
    ),
    "flat as bias": (
        ("flat_x.fits", "bias", pixels_of("flat", 92), {}),
        "the file is named 'flat', and its header makes it a bias; if it is of type flat, write"
        ' into the camera\'s profile: types: [{type: flat, file: "flat*"}]',
    ),
    "object as bias": (("odd.fits", "bias", pixels_of("object", 93), {"EXPTIME": 300.0}),
                       "EXPTIME: 300 s is no exposure of a bias (found 300)"),
    "flat as dark": (
        ("odd.fits", "dark", pixels_of("flat", 94), {"OBSTYPE": "FLAT"}),
        "'dark' is taken for a dark, and another card says 'FLAT'; if it is of type flat, name the"
        " card that counts in the camera's profile: keywords: {imagetyp: CARD}",
    ),
    "bias as dark": (
        ("bias_x.fits", "dark", pixels_of("bias", 95), {}),
        "the file is named 'bias', and its header makes it a dark",
    ),
    "dark as flat": (
        ("dark_001x.fits", "flat", pixels_of("dark", 96), {}),
        "the file is named 'dark', and its header makes it a flat",
    ),
    "bias as flat": (
        ("odd.fits", "flat", pixels_of("bias", 97), {"EXPTIME": 0.0}),
        "EXPTIME: no exposure of a flat (found 0); allowed: above 0 s: correct the card, or the"
        " type by `types:` in the camera's profile",
    ),
    "object of 0 s": (
        ("odd.fits", "object", pixels_of("object", 98), {"EXPTIME": 0.0}),
        "EXPTIME: no exposure of a science frame (found 0); allowed: above 0 s",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def sound_masters(tmp_path_factory):
    """Return the pixels of the masters of ten frames each, without an odd one."""
    run = masters_of(tmp_path_factory.mktemp("sound"), "sound", [])
    return pixels_of_masters(run)


def pixels_of_masters(run):
    """Return the pixels of each master, by its kind."""
    pixels = {}
    for product, record in run.records.items():
        if record.kind in ("bias", "dark", "flat"):
            with run.open(product) as hdus:
                pixels.setdefault(record.kind, hdus[0].data.copy())
    return pixels


@pytest.mark.parametrize("name", ODD_FRAMES)
def test_an_odd_frame_has_a_warning_and_leaves_the_masters_as_they_are(
    name, sound_masters, tmp_path
):
    odd_frame, warning = ODD_FRAMES[name]
    run = masters_of(tmp_path, "odd", [odd_frame])
    row = run.context.store.rows[odd_frame[0]]
    assert row.status == "ok"
    assert warning in row.warnings
    masters = pixels_of_masters(run)
    assert sorted(masters) == ["bias", "dark", "flat"]
    for kind, pixels in masters.items():
        assert np.array_equal(pixels, sound_masters[kind], equal_nan=True), kind


def test_sound_frames_have_no_warning_on_their_type(tmp_path):
    run = masters_of(tmp_path, "sound", [])
    warnings = {row.warnings for row in run.context.store.rows.values()}
    assert len(run.context.store.rows) == 30
    assert warnings == {""}
