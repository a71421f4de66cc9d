"""Combined flats: each member minus bias and dark, divided by its own level; the mean is 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ccdflow.combine.combine_recipe import CombineRecipe
from ccdflow.combine.member_noise import levels_of_members, measure_noise_model, sample_members
from ccdflow.combine.preparation import SubtractedTerm
from ccdflow.combine.stack import CombineOptions, check_members, combine
from ccdflow.combine.subtracted_masters import (
    SubtractedMaster,
    checked_bias,
    dark_factors,
    mask_of_combined,
)
from ccdflow.errors import FrameError, UserError
from ccdflow.mask_bits import UNLIT, UNLIT_BELOW

if TYPE_CHECKING:
    from ccdflow.camera.sections import Region
    from ccdflow.combine.stack import Combined

# The lit pixels set the mean, and the mean sets the limit of lit pixels: both are computed in at
# most this many iterations, until the number of lit pixels no longer changes. A flat that is unlit
# in nine tenths needs two, one that falls to 1 in 3000 across the chip seven.
_MOST_ITERATIONS = 10


@dataclass(frozen=True)
class ScaledDark:
    """A combined dark, scaled to the exposure of each flat before it is subtracted.

    Attributes
    ----------
    master : ccdflow.combine.subtracted_masters.SubtractedMaster
        The dark, without its bias.
    seconds : sequence of float
        Exposure time of each flat.
    scale_up : float
        Largest factor by which the dark may be scaled up; the default is that of `dark_factors`.
    """

    master: SubtractedMaster
    seconds: Sequence[float]
    scale_up: float = 2.5

    @property
    def factors(self):
        """The factor on the dark of each flat; see `ccdflow.combine.subtracted_masters`."""
        return dark_factors(self.master, self.seconds, scale_up=self.scale_up)


@dataclass(frozen=True)
class FlatSubtraction:
    """The bias and the dark that are subtracted from each flat.

    Attributes
    ----------
    bias : ccdflow.combine.subtracted_masters.SubtractedMaster or None
        The combined bias; None only if a camera with overscan subtraction has none.
    dark : ScaledDark or None
        None if the camera needs none or has none.
    """

    bias: SubtractedMaster | None = None
    dark: ScaledDark | None = None

    def terms(self, n_flats):
        """Return the terms that are subtracted: the bias, and the dark scaled to each flat.

        Parameters
        ----------
        n_flats : int

        Returns
        -------
        tuple of ccdflow.combine.preparation.SubtractedTerm

        Raises
        ------
        UserError
            If the bias is a dark, or a dark comes without its bias, with another number of
            exposures than flats, or cannot be scaled to them (`dark_factors`).
        """
        bias = checked_bias(self.bias, "flats")
        subtracted_terms = () if bias is None else (SubtractedTerm(bias.pixels),)
        if self.dark is None:
            return subtracted_terms
        if bias is None:
            raise UserError(
                "a dark without its bias cannot be subtracted from flats with theirs",
                file=self.dark.master.file,
                keyword="bias",
                value="absent",
                remedy="subtract the combined bias from the flats as well",
            )
        factors = self.dark.factors
        if len(factors) != n_flats:
            raise UserError(
                f"{len(factors)} exposure times for {n_flats} flats",
                keyword="seconds",
                value=len(factors),
                allowed=f"{n_flats}",
                remedy="give one for each flat",
            )
        return (*subtracted_terms, SubtractedTerm(self.dark.master.pixels, factors, is_charge=True))

    def noise_of_masters(self, levels, rows):
        """Return the rms contributions of bias and dark to the mean of the flats.

        The bias enters the mean of the flats as the mean of (1 - k) / L, because the dark was made
        with the same bias; the dark enters as the mean of k / L.

        Parameters
        ----------
        levels : numpy.ndarray of shape (n,), float64
            Level L of each flat, adu.
        rows : sequence of int
            Rows of the masters whose errors are averaged.

        Returns
        -------
        dict of str to float
            By keyword: MBNOISE of the bias and MDNOISE of the dark, if they are subtracted.
        """
        factors = np.zeros(len(levels)) if self.dark is None else np.array(self.dark.factors)
        noises = {}
        if self.bias is not None:
            net_factor = abs(float(np.mean((1 - factors) / levels)))
            noises["MBNOISE"] = net_factor * self.bias.rms(rows)
        if self.dark is not None:
            noises["MDNOISE"] = float(np.mean(factors / levels)) * self.dark.master.rms(rows)
        return noises


def combine_flats(members, subtraction, *, amplifiers, recipe=None, masks=None, options=None):
    """Combine reduced flats of one filter and of one image to a flat of mean 1.

    Parameters
    ----------
    members, subtraction, amplifiers, recipe, masks, options
        See `combine_image_of_flats`.

    Returns
    -------
    ccdflow.combine.stack.Combined
        See `combine_image_of_flats`; divided by the mean of its good, lit pixels.

    Raises
    ------
    UserError
        As `combine_image_of_flats`.
    FrameError
        As `combine_image_of_flats` and `normalise_flat`.

    Examples
    --------
    Three flats of levels 9000, 10000 and 11000 adu. The last column gets four fifths of the light:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from ccdflow.combine.member_reader import Member
    >>> from ccdflow.combine.noise import AmplifierNoise
    >>> amplifier = AmplifierNoise("A", region=(0, 8, 0, 5), read_noise=3.0, gain=2.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     members = [Member(Path(folder) / f"{n}.pixels", 0, (8, 5)) for n in range(3)]
    ...     for level, member in zip((9000, 10000, 11000), members, strict=True):
    ...         flat = np.full((8, 5), level, ">f4")
    ...         flat[:, -1] *= 0.8
    ...         flat.tofile(member.path)
    ...     combined = combine_flats(members, FlatSubtraction(), amplifiers=[amplifier])
    >>> print(combined.image[0].round(4))
    [1.0417 1.0417 1.0417 1.0417 0.8333]
    """
    combined = combine_image_of_flats(
        members,
        subtraction,
        amplifiers=amplifiers,
        recipe=recipe,
        masks=masks,
        options=options,
    )
    (normalised,) = normalise_flat([combined], is_in_place=True)
    return normalised


def combine_image_of_flats(
    members, subtraction, *, amplifiers, scale=None, recipe=None, masks=None, options=None
):
    """Combine one image of reduced flats of one filter; `normalise_flat` joins all images.

    Parameters
    ----------
    members : sequence of ccdflow.combine.member_reader.Member
        Reduced flats of one shape and type, of any level.
    subtraction : FlatSubtraction
    amplifiers : sequence of ccdflow.combine.noise.AmplifierNoise
        Region, gain and read noise of each amplifier. Values of None are measured.
    scale : sequence of float, optional
        Level of each flat; default: the median of its sampled good pixels, all amplifiers
        together. The images of one frame need the same level (`flat_levels`).
    recipe : ccdflow.combine.combine_recipe.CombineRecipe, optional
        Default: that of the class, with a growth of rejection by one pixel.
    masks, options
        See `ccdflow.combine.stack.combine`; the uncertainty is by the noise model.

    Returns
    -------
    ccdflow.combine.stack.Combined
        `uncertainty` is that of the flats alone. `shared_noise` has the rms contributions of bias
        and dark, which are common to all members.

    Raises
    ------
    UserError
        If a master is unsuitable, a dark holds its bias or would be scaled up too far, or ``scale``
        has another number of levels than flats.
    FrameError
        If a flat has no level above 0; see also `ccdflow.combine.stack.combine`.
    """
    members, options = list(members), options or CombineOptions()
    check_members(members)
    if scale is not None and len(scale) != len(members):
        raise UserError(
            f"{len(scale)} levels for {len(members)} flats",
            keyword="scale",
            value=len(scale),
            allowed=f"{len(members)}",
            remedy="give one for each flat",
        )
    subtracted_terms = subtraction.terms(len(members))
    sample = sample_members(
        members, subtracted_terms=subtracted_terms, masks=masks, threads=options.threads
    )
    levels = (
        levels_of_members(sample.values) if scale is None else np.array(scale, dtype=np.float64)
    )
    _check_levels(levels, members)
    np.divide(sample.values, levels[:, None, None].astype(sample.values.dtype), out=sample.values)
    noise = measure_noise_model(
        amplifiers, members[0].shape, sample, levels=levels, threads=options.threads
    )
    del sample
    combined = combine(
        members,
        recipe or CombineRecipe(grow=1),
        subtracted_terms=subtracted_terms,
        scale=levels,
        masks=masks,
        noise=noise,
        options=options.with_noise_model,
        allows_empty=True,
    )
    shared_noise = subtraction.noise_of_masters(levels, combined.sample_rows)
    return replace(combined, mask=mask_of_combined(combined), shared_noise=shared_noise)


def flat_levels(members, subtraction, *, masks=None):
    """Return the level of each flat, for one image of its frames.

    Parameters
    ----------
    members, subtraction, masks
        See `combine_image_of_flats`.

    Returns
    -------
    numpy.ndarray of shape (n,), float64
        NaN if no value is good.

    Raises
    ------
    UserError
        If the members do not fit together, or `FlatSubtraction.terms` refuses a master.
    FrameError
        If a file cannot be read.
    """
    members = list(members)
    check_members(members)
    subtracted_terms = subtraction.terms(len(members))
    return levels_of_members(
        sample_members(members, subtracted_terms=subtracted_terms, masks=masks).values
    )


def _check_levels(levels, members):
    """Raise `FrameError` for a flat without light."""
    for level, member in zip(levels, members, strict=True):
        if not (np.isfinite(level) and level > 0):
            raise FrameError(
                "a flat without light cannot be combined",
                file=member.path,
                keyword="level",
                value=float(level),
                allowed="a level above 0 after bias and dark",
                remedy="look at the frame, and leave it out",
            )


def normalise_flat(images, *, has_ratios_of_light=False, is_in_place=False):
    """Set the mean of the good pixels of a flat to 1, over all of its images together.

    Amplifiers keep their ratios. Pixels with less than `UNLIT_BELOW` of the mean light are flagged
    as unlit, and are excluded from the mean.

    Parameters
    ----------
    images : sequence of ccdflow.combine.stack.Combined
        The images of one flat; their members have the same levels.
    has_ratios_of_light : bool, optional
        Whether one unit is the same light in all amplifiers. Otherwise the light of amplifiers is
        compared in electrons, by the gains of the noise model; the members show a gain that neither
        profile nor header gives.
    is_in_place : bool, optional
        Whether the arrays of ``images`` may be changed, because nothing else holds them.

    Returns
    -------
    list of ccdflow.combine.stack.Combined

    Raises
    ------
    FrameError
        If no pixel is good, or their mean is not above 0.
    """
    factors = None if has_ratios_of_light else _factors_of_light(images)
    mean, limits = _mean_and_limits(images, factors)
    return [
        _divide_flat(image, mean, limits_of_image, is_in_place=is_in_place)
        for image, limits_of_image in zip(images, limits, strict=True)
    ]


def _factors_of_light(images):
    """Return the gains of the amplifiers of each image, a list of lists.

    None if all are equal, or an image has no noise model. An amplifier without light shows no gain,
    and gets the mean gain of the other amplifiers.
    """
    if any(image.noise is None for image in images):
        return None
    gains = [[amplifier.gain for amplifier in image.noise.amplifiers] for image in images]
    known_gains = [gain for gains_of_image in gains for gain in gains_of_image if gain]
    if len(set(known_gains)) < 2:
        return None
    mean = float(np.mean(known_gains))
    return [[gain or mean for gain in gains_of_image] for gains_of_image in gains]


def _mean_and_limits(images, factors):
    """Return the mean of the good, lit pixels of all images, and the limits of lit pixels.

    Parameters
    ----------
    images : sequence of ccdflow.combine.stack.Combined
    factors : list of list of float, or None
        The light of one unit in each amplifier of each image; None if it is the same in all.

    Returns
    -------
    mean : float
    limits : list of list of (ccdflow.camera.sections.Region or None, float)
        For each image its regions, or None for the whole image, with the value below which a pixel
        of the region is not lit, in units of the mean.
    """
    if factors is None:
        parts = [_EvenPart(image, None, 1.0) for image in images]
    else:
        parts = [
            _EvenPart(image, amplifier.region, factor)
            for image, factors_of_image in zip(images, factors, strict=True)
            for amplifier, factor in zip(image.noise.amplifiers, factors_of_image, strict=True)
        ]
    mean, light = _mean_of_lit_pixels(parts)
    limits = {id(image): [] for image in images}
    for part in parts:
        limit = UNLIT_BELOW * light / (part.light_of_unit * mean)
        limits[id(part.image)].append((part.region, limit))
    return mean, list(limits.values())


class _EvenPart(NamedTuple):
    """A part of a flat's image in which one unit is the same light: an amplifier, or the image.

    Attributes
    ----------
    image : ccdflow.combine.stack.Combined
    region : ccdflow.camera.sections.Region or None
        None for all of the image.
    light_of_unit : float
    """

    image: Combined
    region: Region | None
    light_of_unit: float


def _mean_of_lit_pixels(parts):
    """Return the mean of the good, lit pixels of all parts together, and their mean light.

    Parameters
    ----------
    parts : list of _EvenPart

    Raises
    ------
    FrameError
        If no pixel is good, or their mean is not above 0.
    """
    pixels = []
    for image, region, factor in parts:
        slices = (slice(None), slice(None)) if region is None else region.slices
        is_good = (image.mask[slices] == 0) & (image.count[slices] > 0)
        pixels.append((image.image[slices], is_good, factor))
    mean, light, n_previous, limit = float("nan"), float("nan"), None, -np.inf
    for _ in range(_MOST_ITERATIONS):
        lit_masks = [is_good & (values >= limit / factor) for values, is_good, factor in pixels]
        counts = [np.count_nonzero(each) for each in lit_masks]
        count = sum(counts)
        if count in (0, n_previous):
            # No pixel is good, or the number of lit pixels no longer changes.
            break
        sums = [
            values.sum(where=is_lit, dtype=np.float64)
            for is_lit, (values, _, _) in zip(lit_masks, pixels, strict=True)
        ]
        mean, n_previous = sum(sums) / count, count
        factors = [factor for _, _, factor in pixels]
        light = sum(total * factor for total, factor in zip(sums, factors, strict=True)) / count
        limit = UNLIT_BELOW * light
    if not mean > 0:
        raise FrameError(
            "no pixel of the combined flat is good",
            keyword="level",
            value=mean,
            allowed="light",
            remedy="look at its frames: they may hold no light, or be saturated",
        )
    return mean, light


def _divide_flat(image, mean, limits, *, is_in_place=False):
    """Return a flat divided by a mean, with its mask of unlit pixels.

    Parameters
    ----------
    image : ccdflow.combine.stack.Combined
    mean : float
    limits : list of (ccdflow.camera.sections.Region or None, float)
        See `_mean_and_limits`.
    is_in_place : bool, optional
        Whether the arrays of ``image`` may be changed, because nothing else holds them.
    """

    def divide(array):
        """Return an array divided by the mean."""
        return np.multiply(array, array.dtype.type(1 / mean), out=array if is_in_place else None)

    pixels = divide(image.image)
    mask = image.mask if is_in_place else image.mask.copy()
    for region, limit in limits:
        part = (slice(None), slice(None)) if region is None else region.slices
        # NaN is below no limit: whether the pixel is lit is not known.
        mask[part][pixels[part] < limit] |= UNLIT
    return replace(
        image,
        image=pixels,
        uncertainty=None if image.uncertainty is None else divide(image.uncertainty),
        sample=divide(image.sample),
        mask=mask,
        levels=image.levels * mean,
        shared_noise={name: value / mean for name, value in image.shared_noise.items()},
    )


def amplifier_ratios(flat, amplifiers):
    """Return the mean of the good pixels of each amplifier of a flat, for its cards.

    Parameters
    ----------
    flat : ccdflow.combine.stack.Combined
        With mean 1.
    amplifiers : sequence of ccdflow.combine.noise.AmplifierNoise

    Returns
    -------
    dict of str to float
        By the names of the amplifiers; NaN if no pixel is good.
    """
    good_mask = (flat.mask == 0) & (flat.count > 0)
    ratios = {}
    for amplifier in amplifiers:
        part, is_good = flat.image[amplifier.region.slices], good_mask[amplifier.region.slices]
        ratios[amplifier.name] = (
            float(part.mean(where=is_good, dtype=np.float64)) if is_good.any() else float("nan")
        )
    return ratios
