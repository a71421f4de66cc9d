"""Cameras, skies and folders that cannot be simulated: the whole line."""

import json

import numpy as np
import pytest
from refusals import refusal_of

from ccdflow import simulate
from ccdflow.errors import UserError
from ccdflow.simulate.frame_arrivals import observe

CAMERA = simulate.SimulatedCamera(nx=16, ny=12)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (
            {"overscan_side": "top"},
            "overscan_side: unknown side of the overscan (found 'top'); allowed: right, left; give "
            "right, the side of the guide's camera, if in doubt",
        ),
        (
            {"nx": 7, "ny": 8},
            "(ny, nx): the simulated frame is too small (found (8, 7)); allowed: at least 8 "
            "science pixels along each axis; give a larger frame",
        ),
        (
            {"n_leaked": 32},
            "n_leaked: no overscan column is left without leaked light (found 32); allowed: 0 to "
            "31; give fewer leaked columns, or more columns of overscan",
        ),
    ],
)
def test_a_camera_that_cannot_be_is_refused(wrong, line):
    assert refusal_of(simulate.SimulatedCamera, **wrong) == (UserError, line)


@pytest.mark.parametrize("scale", [0.0, 1.01])
def test_a_scale_beyond_the_camera_is_refused(scale):
    assert refusal_of(CAMERA.scale_by, scale) == (
        UserError,
        f"scale: the scale of a simulated frame is out of range (found {scale}); allowed: above 0, "
        "up to 1; give a number such as 0.25",
    )


@pytest.mark.parametrize(
    ("wrong", "value"),
    [
        ({"rate": -1.0}, "(-1.0, (0.0, 0.0))"),
        ({"rate": 1.0, "gradient": (0.8, -0.3)}, "(1.0, (0.8, -0.3))"),
    ],
)
def test_a_sky_below_zero_is_refused(wrong, value):
    assert refusal_of(simulate.Sky, **wrong) == (
        UserError,
        f"rate, gradient: the simulated sky is negative somewhere (found {value}); allowed: a rate "
        "of 0 or more; gradients whose sizes add up to 1 at most; give a larger rate or smaller "
        "gradients",
    )


@pytest.mark.parametrize(
    ("wrong", "value"), [({"fwhm": 0.0}, "(0.0, None)"), ({"beta": 1.0}, "(4.0, 1.0)")]
)
def test_a_star_of_no_width_is_refused(wrong, value):
    assert refusal_of(simulate.Sky, **wrong) == (
        UserError,
        f"fwhm, beta: no profile of a star has this shape (found {value}); allowed: fwhm above 0; "
        "beta above 1, or none for a Gaussian profile; give a fwhm in pixels such as 3, and a "
        "beta such as 2.5 or none",
    )


@pytest.mark.parametrize(
    ("kind", "options", "line"),
    [
        (
            "dark",
            {"filter": "g"},
            "a dark has neither light nor a filter (found (None, 'g')); allowed: neither; give "
            "neither sky nor filter",
        ),
        (
            "flat",
            {"filter": "g"},
            "a flat has light in a filter (found (None, 'g')); allowed: both; give sky and filter "
            "together",
        ),
    ],
)
def test_light_and_filter_go_together(kind, options, line):
    detector = simulate.draw_detector((10, 12), seed=1)
    refusal = refusal_of(simulate.expose, detector, kind, 1.0, rng=1, **options)
    assert refusal == (UserError, f"sky, filter: {line}")


def test_a_filter_without_an_illumination_is_refused():
    detector = simulate.draw_detector((10, 12), seed=1)
    assert refusal_of(detector.response, "z") == (
        UserError,
        "filter: the simulated camera has no such filter (found 'z'); allowed: g, r; give another "
        "filter, or the detector an `illumination` of this one",
    )


def test_an_archive_of_another_seed_is_not_mixed_with_this_one(tmp_path):
    call = {"nights": 1, "frames_per_night": 1, "camera": CAMERA, "workers": 1}
    simulate.simulate_archive(tmp_path / "raw", seed=1, **call)
    (note,) = (path for path in (tmp_path / "raw").iterdir() if path.is_file())
    assert json.loads(note.read_text("utf-8"))["seed"] == 1
    assert refusal_of(simulate.simulate_archive, tmp_path / "raw", seed=2, **call) == (
        UserError,
        f"{note}: this folder holds an archive with other parameters; choose another folder",
    )


def test_a_telescope_does_not_write_an_original_over_itself(tmp_path):
    (tmp_path / "originals").mkdir()
    (tmp_path / "raw").mkdir()
    original, other = tmp_path / "originals/a.fits", tmp_path / "raw/a.fits"
    original.write_bytes(np.arange(10).tobytes())
    other.hardlink_to(original)
    frames = observe(original.parent, other.parent, every=0.0)
    assert refusal_of(next, frames) == (
        UserError,
        f"{other}: is the original of the frame; give another raw=FOLDER",
    )
    assert original.read_bytes() == np.arange(10).tobytes()


def test_a_telescope_without_a_frame_is_refused(tmp_path):
    """The line was "0 frames arrived", and a watch waited."""
    assert refusal_of(next, observe(tmp_path / "none", tmp_path / "raw", every=0.0)) == (
        UserError,
        f"source: the folder holds no raw frame (found '{tmp_path}/none'); give a folder with"
        " frames, such as source=demo/raw after `make demo`",
    )
