"""A tiny night with everything a calibrated frame needs, and its truth: half a second to make.

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
    """A night as it was taken.

    Attributes
    ----------
    raw : pathlib.Path
        Folder of the raw frames: ``bias1.fits``, ``dark60_1.fits``, ``flat_g1.fits``,
        ``science_g1.fits`` and on, and ``truth.npz``.
    profile : str
        Text of the camera's profile.
    detector : ccdflow.simulate.Detector
    taken : dict of str to ccdflow.simulate.Exposure
        By file: the raw frame and all that was injected.
    """

    raw: Path
    profile: str
    detector: simulate.Detector
    taken: dict = field(repr=False)

    def files_of_type(self, image_type, *, filter=None, exptime=None):
        """Return the files of an image type, in the order in which they were taken."""
        return [
            file
            for file, one in self.taken.items()
            if one.image_type == image_type
            and (filter is None or one.filter == filter)
            and (exptime is None or one.exptime == exptime)
        ]

    def flat(self, band, *, unit="electron"):
        """Return the true flat, of mean 1 over the pixels without fault: float64, (ny, nx).

        Gains differ between the amplifiers: a flat made of frames in adu is another one
        (`unit` ``"adu"``) than one made of frames in electrons.
        """
        response = self._response(band, unit)
        return response / response[self.detector.defects() == 0].mean()

    def perfect(self, file, *, unit="electron"):
        """Return the true calibrated frame, given a flat of mean 1: float64, (ny, nx).

        Mean electrons; or adu, where neither the frame nor its flat was multiplied by the gain.
        """
        one = self.taken[file]
        response = self._response(one.filter, unit)
        return one.incident * response[self.detector.defects() == 0].mean()

    def _response(self, band, unit):
        """Return the value of a pixel for one incident electron, in a unit."""
        response = self.detector.response(band)
        return response / {"electron": 1.0, "adu": values_by_column(self.detector, "gain")}[unit]

    def bias(self):
        """Return the true combined bias in adu, the overscan's level taken off: (ny, nx)."""
        return np.broadcast_to(self.detector.structure, self.detector.shape)

    def dark(self, exptime, *, temperature=None):
        """Return the true dark less bias, in adu: dark current and glow, blinking pixels off."""
        at = self.detector.temperature if temperature is None else temperature
        charge = self.detector.dark_charge(exptime, temperature=at)
        return (charge + self.detector.glow_charge(exptime)) / values_by_column(
            self.detector, "gain"
        )

    def good_pixels(self, *files):
        """Return the pixels without fault that are neither hit nor saturated in these frames.

        Hot pixels that are linear in time count as good.
        """
        good = self.detector.defects(least_hot_rate=np.inf) == 0
        for one in map(self.taken.get, files):
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
    """Take the night and write it.

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
        Seconds, where none are given; electrons in the centre of a flat.
    lamp_drift : float
        Part by which each flat is brighter than the one before.
    sky : float
        Electrons per second and pixel.
    stars, fwhm : int, float
        Their number, the same in all science frames, and their width in pixels.
    temperature, dark_temperature : float, optional
        Degrees Celsius; of the darks the same where not given.
    dark_days : int
        Days after the rest at which the darks were taken.
    cosmic_rays : float
        Per pixel and second.
    cards : dict, optional
        Header cards for all frames, or other values of those that are there.
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
    taken = _take_once(Path(folder), detector, plan, seed)
    return Chain(Path(folder), simulate.profile(detector), detector, taken)


# Files and exposures of the last nights, by all that these follow from: half of the nights that the
# tests of a file take were taken by another one of them before.
_nights = {}
# A night is about ten megabytes: four are kept.
_NIGHTS_KEPT = 4


def forget():
    """Forget the nights that were taken: the next one is exposed anew."""
    _nights.clear()


def _take_once(folder, detector, plan, seed):
    """Take a night, or write the files of one that was taken before; return {file: exposure}."""
    basis = hashlib.blake2b(pickle.dumps((detector, plan, seed))).digest()
    if basis in _nights:
        contents, taken = _nights[basis] = _nights.pop(basis)
        for name, content in contents.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return dict(taken)
    taken = simulate.expose_night(folder, detector, plan, seed=seed)
    contents = {name: (folder / name).read_bytes() for name in (*taken, "truth.npz")}
    _nights[basis] = contents, taken
    if len(_nights) > _NIGHTS_KEPT:
        del _nights[next(iter(_nights))]
    return dict(taken)


def _shot(place, name, number, options, suffix, dark_days):
    """Return the shot at a place of the plan, three minutes after the one before."""
    start = EVENING + timedelta(minutes=3 * place)
    start += timedelta(days=dark_days * (options["image_type"] == "dark"))
    return simulate.Shot(f"{name}{number + 1}{suffix}", start=start, **options)
