"""The masters of a frame, and the checks that they leave no fault in its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ccdflow.camera.exposures import EXACT_FRACTION, is_same_exposure
from ccdflow.errors import FrameError

if TYPE_CHECKING:
    from ccdflow.calibrate.combined_master import Master

BIAS, DARK, FLAT = "bias", "dark", "flat"
"""Kinds of masters, and the steps of a calibration, in their order."""

MASTER_KINDS = (BIAS, DARK, FLAT)
"""The kinds of masters in the order in which they are applied; also the types of their frames."""

ELECTRON_UNITS = ("electron", "electrons", "e-", "e")
"""Words of BUNIT for electrons."""

# Words of BUNIT for the numbers of a converter.
_ADU_UNITS = ("adu", "adus", "dn", "count", "counts")

SCALE_UP = 2.5
"""A dark is scaled up by at most this factor, the default of `calibrate: scale_up`. Chosen: a dark
of 120 s serves a frame of 300 s, with 2.5 times its noise."""

GAIN_ROUNDING = 1e-3
"""Gains that differ by at most this fraction are equal: cards have a few digits."""


def dark_scale(seconds, dark, *, file, card_value=None):
    """Return the factor of a dark for a frame, by their exposure times: 1 where these are equal.

    Parameters
    ----------
    seconds : float or None
        Exposure time of the frame; None if its header has none.
    dark : ccdflow.calibrate.combined_master.Master
    file : str or path-like
        The frame, named in an error on its header.
    card_value : str or float, optional
        Value of the frame's EXPTIME card that is no number of seconds, for that error.

    Returns
    -------
    float

    Raises
    ------
    FrameError
        If the frame or the dark has no exposure time; the error names the one that lacks it.
    """
    if seconds is None:
        raise FrameError(
            "the frame has no exposure time",
            file=file,
            keyword="EXPTIME",
            value=card_value,
            allowed="seconds, 0 or more",
            remedy="write the exposure time into its header, or calibrate it without a dark",
        )
    if not dark.exptime:
        raise FrameError(
            "the dark has no exposure time",
            file=dark.name,
            keyword="EXPTIME",
            value=dark.exptime,
            allowed="seconds, above 0",
            remedy="write the exposure time into its header, or give another dark",
        )
    return 1.0 if is_same_exposure(dark.exptime, seconds) else seconds / dark.exptime


@dataclass(frozen=True)
class AppliedMaster:
    """A master as applied to a frame.

    Attributes
    ----------
    master : ccdflow.calibrate.combined_master.Master
        The bias, dark or flat.
    scale : float
        k: the frame's exposure time over the dark's; 1 for equal ones, and for a bias or a flat.
    lag : int or None
        Nights from the master to the frame; negative if the master is later.
    degrees_warmer : float or None
        The dark's temperature minus the frame's.
    cut : str
        FITS section of a larger master to which ``master`` was cut; '' for a whole master.
    """

    master: Master
    scale: float = 1.0
    lag: int | None = None
    degrees_warmer: float | None = None
    cut: str = ""


@dataclass(frozen=True)
class FrameMasters:
    """The masters of a frame; None for a missing one.

    Attributes
    ----------
    bias, dark, flat : AppliedMaster or None
    """

    bias: AppliedMaster | None = None
    dark: AppliedMaster | None = None
    flat: AppliedMaster | None = None

    @property
    def applied_masters(self):
        """The masters that the frame has, in the order in which they are applied."""
        return tuple(each for each in (self.bias, self.dark, self.flat) if each is not None)

    @property
    def scale(self):
        """The factor k of the dark; 0 without a dark."""
        return 0.0 if self.dark is None else self.dark.scale

    @property
    def bias_factor(self):
        """Net factor on the combined bias; 0 without a bias.

        It is 1 - k if the dark was made with the same bias, otherwise 1.
        """
        if self.bias is None:
            return 0.0
        is_same_bias = self.dark is not None and self.dark.master.bias_key == self.bias.master.key
        return 1.0 - self.dark.scale if is_same_bias else 1.0


def unit_of_calibrated(text, readouts):
    """Return the unit of a calibrated image: electrons where the gains are known.

    Parameters
    ----------
    text : str
        BUNIT of the reduced frame.
    readouts : tuple of ccdflow.frame.readout.Readout

    Returns
    -------
    str
        'electron' if the frame is in adu and every gain is known, or the frame is in electrons;
        'adu' if a gain is unknown; any other unit is returned as it is.
    """
    if text.lower() in ELECTRON_UNITS:
        return "electron"
    if text.lower() not in _ADU_UNITS:
        return text
    return "electron" if all(readout.gain for readout in readouts) else "adu"


def is_noise_known(readouts):
    """Return whether gain and read noise of every amplifier are known."""
    return bool(readouts) and all(
        readout.photon_gain and readout.read_noise is not None for readout in readouts
    )


def is_level_removed(masters, readouts):
    """Return whether the bias level is removed: by overscan, bias, or a dark that holds its bias.

    Parameters
    ----------
    masters : FrameMasters
    readouts : sequence of ccdflow.frame.readout.Readout
        Readouts of the amplifiers of an image.

    Returns
    -------
    bool
    """
    if masters.bias is not None or all(readout.is_level_subtracted for readout in readouts):
        return True
    return masters.dark is not None and not masters.dark.master.bias_key


@dataclass(frozen=True)
class DarkLimits:
    """The limits within which a dark is subtracted from a frame.

    Attributes
    ----------
    scale_up : float
        Largest factor by which the dark may be scaled up.
    tolerance : float
        Largest difference between the temperatures of dark and frame, degrees. The default is that
        of the configuration: dark current that doubles with 6 degrees then changes by 6 %.
    """

    scale_up: float = SCALE_UP
    tolerance: float = 0.5


def check_masters(masters, readouts, *, camera="", unit="adu", limits=None, name=None):
    """Raise `FrameError` if the masters would leave a fault in the frame's pixels.

    Parameters
    ----------
    masters : FrameMasters
    readouts : tuple of ccdflow.frame.readout.Readout
        Readouts of all images.
    camera : str, optional
        Camera of the frame; '' if unknown.
    unit : str, optional
        BUNIT of the frame.
    limits : DarkLimits, optional
    name : str, optional
        Name of the frame, for the error.

    Raises
    ------
    ccdflow.errors.FrameError
        For a bias that would be subtracted twice or not at all, a dark of another exposure or
        temperature beyond the limits, a flat that still holds its bias level, and masters of
        another camera, unit or gain.
    """
    if masters.dark is not None:
        _check_dark(masters, limits or DarkLimits(), name)
        _check_bias_of_dark(masters, name)
    if masters.flat is not None:
        _check_flat(masters, readouts, name)
    for applied in masters.applied_masters:
        _check_origin(applied.master, readouts, camera, unit, name)


def _check_dark(masters, limits, name):
    """Raise `FrameError` where a dark does not fit the frame."""
    dark, k = masters.dark.master, masters.scale
    if not np.isfinite(k) or k <= 0:
        raise FrameError(
            "the dark cannot be scaled to the frame's exposure",
            file=name,
            keyword="EXPTIME",
            value=k,
            allowed="a ratio of both exposures above 0",
            remedy="give the exposure times of both",
        )
    # Exposures scatter by a little: 300.02 s count as 2.5 times 120 s.
    if k > limits.scale_up * (1 + EXACT_FRACTION):
        raise FrameError(
            "the dark would be scaled up beyond the limit",
            file=name,
            keyword="calibrate: scale_up",
            value=round(k, 4),
            allowed=f"at most {limits.scale_up:g}",
            remedy=f"take a longer dark than {dark.name}",
        )
    difference = masters.dark.degrees_warmer
    if difference is not None and abs(difference) > limits.tolerance:
        raise FrameError(
            "the dark is of another temperature",
            file=name,
            keyword="calibrate: temperature_tolerance",
            value=round(difference, 3),
            allowed=f"within {limits.tolerance:g} degrees",
            remedy=f"take a dark at the frame's temperature, not {dark.name}",
        )


def _check_bias_of_dark(masters, name):
    """Raise `FrameError` where a dark still holds its bias, and cannot be subtracted with it."""
    dark, k = masters.dark.master, masters.scale
    if dark.bias_key:
        return
    if masters.bias is not None:
        raise FrameError(
            "the dark still holds its bias, which would be subtracted twice",
            file=name,
            keyword="BIASKEY",
            value=f"absent in {dark.name}",
            allowed="a dark without its bias, which has this card, or no bias",
            remedy="combine the darks again",
        )
    if k != 1:
        raise FrameError(
            "a dark that still holds its bias would be scaled, and its bias with it",
            file=name,
            keyword="BIASKEY",
            value=f"absent in {dark.name}, scale {k:.4g}",
            allowed="a dark without its bias, which has this card, or one of the same exposure",
            remedy="combine the darks again",
        )


def _check_flat(masters, readouts, name):
    """Raise `FrameError` where a bias level is still in the flat or in the frame."""
    flat = masters.flat.master
    if not flat.is_level_subtracted:
        raise FrameError(
            "the flat still holds its bias level",
            file=name,
            keyword="BIASKEY, OVERSCAN",
            value=f"absent in {flat.name}",
            allowed="a flat with bias or overscan subtracted (one of these cards)",
            remedy="combine the flats again with a bias",
        )
    if not is_level_removed(masters, readouts):
        raise FrameError(
            "the frame's bias level is still in it and would be divided by the flat",
            file=name,
            keyword="OVERSCAN, BIASIM",
            value="absent",
            allowed="a combined bias, or a camera with overscan",
            remedy="take biases, or calibrate without flat",
        )


def _check_origin(master, readouts, camera, unit, name):
    """Raise `FrameError` where a master is of another camera, unit or gain.

    Cameras and gains are compared only where both are known.

    Parameters
    ----------
    master : Master
    readouts : sequence of ccdflow.frame.readout.Readout
        The readout of each amplifier of the frame.
    camera : str
        Camera of the frame; '' where it is unknown.
    unit : str
        BUNIT of the frame.
    name : str or None
        Name of the frame, for the error.
    """
    if camera and master.camera and camera != master.camera:
        raise FrameError(
            f"the {master.kind} is another camera's",
            file=name,
            keyword="CCDFCAM",
            value=f"{master.camera} in {master.name}",
            allowed=camera,
            remedy=f"name a {master.kind} of this camera",
        )
    if master.kind != "flat" and (unit.lower() in ELECTRON_UNITS) != (
        master.unit.lower() in ELECTRON_UNITS
    ):
        raise FrameError(
            f"the {master.kind} is in another unit",
            file=name,
            keyword="BUNIT",
            value=f"{master.unit} in {master.name}",
            allowed=unit,
            remedy=f"name a {master.kind} in this unit, or reduce its members again",
        )
    gains = [readout.gain for readout in readouts]
    if len(master.gains) != len(gains) or None in gains:
        return
    pairs = zip(master.gains, gains, strict=True)
    if any(abs(master_gain - gain) > GAIN_ROUNDING * gain for master_gain, gain in pairs):
        raise FrameError(
            f"the {master.kind} was taken at another gain",
            file=name,
            keyword="GAIN",
            value=f"{master.gains} in {master.name}",
            allowed=f"{tuple(gains)} electrons per adu",
            remedy=f"name a {master.kind} of this gain",
        )
