"""A tiny night with all frames that a calibrated frame needs, and its truth.

Biases, darks of two exposures, flats of two filters and science frames with stars, of a detector
with two amplifiers and faults of every kind, as raw files::

    chain = small_chain.make(tmp_path / "raw")
    run_jobs(chain.raw, tmp_path / "results", {"simcam": chain.profile})
    chain.files_of_type("science", filter="g")
    chain.perfect(file)      # the true content of a calibrated frame, electrons
    chain.good_pixels(file)  # pixels without fault, cosmic ray or saturation
"""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from amplifier_columns import values_by_column

from ccdflow import simulate

SHAPE = (101, 103)
EVENING = datetime(2024, 3, 1, 17)
NIGHT = "2024-03-01"


@dataclass(frozen=True)
class Chain:
    """A simulated night.

    Attributes
    ----------
    raw : pathlib.Path
        Folder of the raw frames: ``bias1.fits``, ``dark60_1.fits``, ``flat_g1.fits``,
        ``science_g1.fits`` and on, and ``truth.npz``.
    profile : str
        Text of the camera's profile.
    detector : ccdflow.simulate.Detector
    exposures : dict of str to ccdflow.simulate.Exposure
        Raw frame and injected truth by file.
    """

    raw: Path
    profile: str
    detector: simulate.Detector
    exposures: dict = field(repr=False)

    def files_of_type(self, image_type, *, filter=None, exptime=None):
        """Return the files of an image type, in the order of their exposures."""
        return [
            file
            for file, one in self.exposures.items()
            if one.image_type == image_type
            and (filter is None or one.filter == filter)
            and (exptime is None or one.exptime == exptime)
        ]

    def flat(self, band, *, unit="electron"):
        """Return the true flat, with a mean of 1 over the pixels without faults: float64, (ny, nx).

        Gains differ between the amplifiers, and therefore flats of frames in adu and in electrons
        differ (`unit`).
        """
        response = self._response(band, unit)
        return response / response[self.detector.defects() == 0].mean()

    def perfect(self, file, *, unit="electron"):
        """Return the true calibrated frame for a flat of mean 1: float64, (ny, nx).

        It is in mean electrons, or in adu if neither frame nor flat is multiplied by the gain.
        """
        one = self.exposures[file]
        response = self._response(one.filter, unit)
        return one.incident * response[self.detector.defects() == 0].mean()

    def _response(self, band, unit):
        """Return the response of each pixel to one incident electron, in a unit."""
        response = self.detector.response(band)
        return response / {"electron": 1.0, "adu": values_by_column(self.detector, "gain")}[unit]

    def bias(self):
        """Return the true combined bias minus the level of the overscan, adu: (ny, nx)."""
        return np.broadcast_to(self.detector.structure, self.detector.shape)

    def dark(self, exptime, *, temperature=None):
        """Return the true dark minus the bias, adu: dark current and glow, blinking pixels off."""
        at = self.detector.temperature if temperature is None else temperature
        charge = self.detector.dark_charge(exptime, temperature=at)
        return (charge + self.detector.glow_charge(exptime)) / values_by_column(
            self.detector, "gain"
        )

    def good_pixels(self, *files):
        """Return which pixels have no fault, no hit and no saturation in these frames.

        Hot pixels that are linear in time count as good.
        """
        good = self.detector.defects(least_hot_rate=np.inf) == 0
        for one in map(self.exposures.get, files):
            good &= ~one.is_saturated
            good[tuple(one.cosmics[:, :2].astype(int).T)] = False
        return good


def make(
    folder,
    *,
    seed=1,
    detector=None,
    biases=6,
    darks=((60.0, 4), (20.0, 3)),
    flats=(("g", 4), ("r", 4)),
    science=(("g", 60.0, 2), ("r", 20.0, 1)),
    flat_exptime=4.0,
    flat_level=25_000.0,
    lamp_drift=0.02,
    sky=4.0,
    stars=12,
    fwhm=3.5,
    temperature=-100.0,
    dark_temperature=None,
    dark_days=0,
    cosmic_rays=0.0,
    cards=None,
    suffix=".fits",
):
    """Return the `Chain` of a simulated night, whose raw frames are written.

    Parameters
    ----------
    folder : path-like
    seed : int
    detector : ccdflow.simulate.Detector, optional
        Default: two amplifiers, faults of every kind, no shutter dead time.
    biases : int
    darks : sequence of (exposure in seconds, number)
    flats : sequence of (filter, number) or (filter, number, exposure in seconds)
    science : sequence of (filter, exposure in seconds, number)
    flat_exptime, flat_level : float
        Seconds of flats without an exposure, and electrons in the centre of a flat.
    lamp_drift : float
        Fraction by which each flat is brighter than the one before.
    sky : float
        Electrons per second and pixel.
    stars, fwhm : int, float
        Number of the stars, which all science frames share, and their width in pixels.
    temperature, dark_temperature : float, optional
        Degrees Celsius; `dark_temperature` is by default `temperature`.
    dark_days : int
        Days between the darks and the other frames, which are earlier.
    cosmic_rays : float
        Cosmic rays per pixel and second.
    cards : dict, optional
        Further or changed header cards of all frames.
    suffix : str
        ``.fits`` or ``.fits.gz``.

    Returns
    -------
    Chain
    """
    if detector is None:
        detector = simulate.draw_detector(SHAPE, seed=seed, shutter=0.0)
    common = {"temperature": temperature, "cosmic_ray_rate": cosmic_rays, "cards": cards or {}}
    dark = common | {"temperature": temperature if dark_temperature is None else dark_temperature}
    lamp = simulate.Sky(flat_level / flat_exptime)
    field_of_stars = simulate.Sky(
        sky,
        stars=simulate.draw_stars(detector.shape, stars, flux=(50, 5_000), seed=seed, margin=8),
        fwhm=fwhm,
    )
    shots = [("bias", n, {"image_type": "bias"} | common) for n in range(biases)]
    for exptime, count in darks:
        one = {"image_type": "dark", "exptime": exptime} | dark
        shots += [(f"dark{exptime:g}_", n, one) for n in range(count)]
    for band, count, *own in flats:
        exptime = own[0] if own else flat_exptime
        name = f"flat_{band}" + (f"{exptime:g}_" if own else "")
        for n in range(count):
            light = replace(lamp, rate=lamp.rate * (1 + lamp_drift) ** n)
            one = {"image_type": "flat", "exptime": exptime, "filter": band, "sky": light} | common
            shots.append((name, n, one))
    for band, exptime, count in science:
        one = {"image_type": "science", "exptime": exptime, "filter": band, "sky": field_of_stars}
        shots += [(f"science_{band}", n, one | common) for n in range(count)]
    plan = [_shot(place, *shot, suffix, dark_days) for place, shot in enumerate(shots)]
    exposures = _expose_once(Path(folder), detector, plan, seed)
    return Chain(Path(folder), simulate.profile(detector), detector, exposures)


# Files and exposures of the last nights by the hash of their plan: half of the nights in a file of
# tests are needed by several tests.
_nights = {}
# Nights that are kept: each has about ten megabytes.
_NIGHTS_KEPT = 4


def forget():
    """Forget all nights, so that the next one is exposed anew."""
    _nights.clear()


def _expose_once(folder, detector, plan, seed):
    """Expose a night, or write the files of an equal earlier one; return {file: exposure}."""
    basis = hashlib.blake2b(pickle.dumps((detector, plan, seed))).digest()
    if basis in _nights:
        contents, exposures = _nights[basis] = _nights.pop(basis)
        for name, content in contents.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return dict(exposures)
    exposures = simulate.expose_night(folder, detector, plan, seed=seed)
    contents = {name: (folder / name).read_bytes() for name in (*exposures, "truth.npz")}
    _nights[basis] = contents, exposures
    if len(_nights) > _NIGHTS_KEPT:
        del _nights[next(iter(_nights))]
    return dict(exposures)


def _shot(place, name, number, options, suffix, dark_days):
    """Return the shot at a place of the plan; shots are three minutes apart."""
    start = EVENING + timedelta(minutes=3 * place)
    start += timedelta(days=dark_days * (options["image_type"] == "dark"))
    return simulate.Shot(f"{name}{number + 1}{suffix}", start=start, **options)
