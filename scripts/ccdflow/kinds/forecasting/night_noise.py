"""The predicted noise of a night's frames: from their read noise, sky and masters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from statistics import fmean, median

import numpy as np

from ccdflow.calibrate.applied_masters import BIAS, DARK, FLAT
from ccdflow.files.fits_products.stored_images import stored_image
from ccdflow.frame.readout import ROUNDING_VARIANCE, level_variance
from ccdflow.kinds.forecasting import budget, sky_prediction
from ccdflow.kinds.forecasting.budget import BudgetedFrame, BudgetedMaster
from ccdflow.kinds.forecasting.small_groups import small_groups_of
from ccdflow.kinds.matching import match_sentences
from ccdflow.kinds.matching.answers import answers_of
from ccdflow.kinds.matching.association import first_use
from ccdflow.kinds.matching.detector_noise import detector_noise_of
from ccdflow.kinds.matching.measured_flats import mean_figure
from ccdflow.kinds.matching.rule_values import HARMLESS_SCALE_UP
from ccdflow.kinds.matching.setups import medians_of, observation_of_members
from ccdflow.kinds.reducing.frame_sources import recipe_and_images
from ccdflow.pages.text_formatting import light_words
from ccdflow.run.lookups import Lookup
from ccdflow.run.master_choices import MissingCause

# The figures of a master are taken from at least this many of its rows, if it has them, and from
# less than twice as many.
_SAMPLE_ROWS = 64
# The brightest fraction of a dark's pixels, which its mean leaves out: these pixels are hot, and
# masks and the clipping of the sky's noise leave them out as well. With a smaller fraction hot
# pixels raise the noise that is forecast; with a larger one the noise of usual pixels lowers the
# mean. Chosen, not measured.
_HOT_FRACTION = 0.02


@dataclass(frozen=True)
class GroupNoise:
    """The noise of the frames of one filter and exposure that take the same masters.

    Attributes
    ----------
    name : str
        Filter and exposure.
    light : str
        Filter and grism.
    products : tuple of str
        The frames.
    frame : ccdflow.kinds.forecasting.budget.BudgetedFrame
        The values of one of the frames: all have the same budget.
    is_sky_measured : bool
        Whether the sky was measured in these frames.
    is_read_noise_measured : bool
        Whether the read noise is from pairs of biases, as in UNCERT, not from header or profile.
    files : str
        Names of the first frames, where others of this filter and exposure take other masters.
    temperature_in_words : str
        The temperature of the frames in words; '' where it is unknown.
    exposure : str
        The exposure of the frames in words, as in `name`: ``300.1 s``.
    """

    name: str
    light: str
    products: tuple[str, ...]
    frame: BudgetedFrame
    is_sky_measured: bool
    is_read_noise_measured: bool = True
    files: str = ""
    temperature_in_words: str = ""
    exposure: str = ""

    @property
    def budget(self):
        """The `ccdflow.kinds.forecasting.budget.Budget`."""
        return budget.budget_of(self.frame)

    @property
    def wishes(self):
        """The wishes for further frames that would save most variance, the best first."""
        return budget.wishes_of(self.frame)


def noise_of_group(context, name, groups, *, foretells):
    """Return the `GroupNoise` of one filter and exposure; None if a gain or exposure is unknown.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    name : str
        Filter and exposure.
    groups : list of ccdflow.run.job.Group
        The frames.
    foretells : bool
        Whether a sky or read noise that is not measured is predicted from other products.

    Returns
    -------
    GroupNoise or None
    """
    group = groups[0]
    row = context.row(group.files[0])
    amplifiers = context.store.geometry(row.geometry).amplifiers
    are_gains_known = all(amplifier.gain for amplifier in amplifiers)
    if not are_gains_known or not isinstance(row.facts["exptime"], int | float):
        return None
    answers = answers_of(context, group)
    skies = map(partial(sky_prediction.measured_sky, context), groups)
    measured_skies = [sky for sky in skies if sky is not None]
    sky = median(measured_skies) if measured_skies else None
    if sky is None and foretells:
        sky = sky_prediction.predicted_sky(context, row, row.facts["exptime"])
    read_noise = _read_noise(context, answers, foretells=foretells)
    return GroupNoise(
        name,
        light_words((row.facts["filter"], row.facts["grism"])),
        tuple(group.product for group in groups),
        _budgeted_frame(context, group, answers, read_noise=read_noise, sky=sky),
        bool(measured_skies),
        read_noise is not None,
        temperature_in_words=_temperatures_in_words(context, groups),
    )


def _budgeted_frame(context, group, answers, *, read_noise, sky):
    """Return the `BudgetedFrame` of a frame.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group
    answers : tuple of ccdflow.kinds.matching.answers.Answer
    read_noise : float or None
        Electrons, as measured by the bias of the frame; None where it is not measured.
    sky : float or None
        Electrons in a pixel; None where it is not known.
    """
    row = context.row(group.files[0])
    geometry, recipe = context.store.geometry(row.geometry), context.store.recipe(row.recipe)
    seconds, noise = row.facts["exptime"], detector_noise_of(context, row)
    uses = {answer.kind: answer.use for answer in answers}
    records = {kind: context.outcome(use.product) for kind, use in uses.items() if use is not None}
    dark = uses.get(DARK)
    amplifier, gain = geometry.amplifiers[0], fmean(each.gain for each in geometry.amplifiers)
    # A measured read noise contains the rounding of pixels.
    rounding_variance = 0.0 if read_noise else ROUNDING_VARIANCE
    read_variance = ((read_noise or noise.read_noise) / gain) ** 2 + rounding_variance
    is_level_subtracted = recipe.subtract and bool(amplifier.overscan)
    return BudgetedFrame(
        exptime=seconds,
        read_noise=read_noise or noise.read_noise,
        dark_rate=_mean_dark_rate(context, row, dark, records.get(DARK), noise),
        rounding_variance=gain**2 * rounding_variance,
        level_share=(
            level_variance(amplifier, recipe, read_variance) / read_variance
            if is_level_subtracted
            else 0.0
        ),
        sky=sky,
        response=_response_of_flat(context, group, uses.get(FLAT)),
        masters={
            kind: _master_in_budget(context, kind, uses[kind], record, noise, seconds)
            for kind, record in records.items()
        },
        needed_kinds=tuple(answer.kind for answer in answers if _may_have_master(answer)),
        is_bias_in_dark=dark is not None and shares_bias(context, dark, uses.get(BIAS)),
        other_bias=None if dark is None else _other_bias(context, dark, noise, seconds),
        small_groups=small_groups_of(context, group, answers),
    )


def _may_have_master(answer):
    """Return whether frames have the master of an answer, or would take one if it existed."""
    if answer.use is not None:
        return True
    missing_master = answer.missing_master
    return missing_master is not None and missing_master.cause is not MissingCause.LEVEL_IN_FRAME


def _temperatures_in_words(context, groups):
    """Return the temperatures of frames in words, each once: ``-90 C and -85 C``."""
    bias = context.chain.by_name("bias")
    rows = [context.row(group.files[0]) for group in groups]
    texts = (
        match_sentences.temperature_words(
            observation_of_members(context, row, medians_of([row]), bias, night="")
        )
        for row in rows
    )
    return " and ".join(dict.fromkeys(filter(None, texts)))


def _read_noise(context, answers, *, foretells):
    """Return the read noise that the frame's bias measures, electrons; None where unknown.

    During planning the next bias of the frame that exists may give it.
    """
    bias = next((answer for answer in answers if answer.kind == BIAS), None)
    if bias is None or bias.use is None:
        return None
    other_biases = bias.step.uses if foretells else ()
    noises = (
        mean_figure(context.outcome(use.product), "read_noise_electrons")
        for use in (bias.use, *other_biases)
    )
    return next(filter(None, noises), None)


def _other_bias(context, dark, noise, seconds):
    """Return the `BudgetedMaster` of the bias of a dark's members; None without a bias.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    dark : ccdflow.run.master_choices.Use
    noise : ccdflow.kinds.matching.rule_values.DetectorNoise
        Noise of the frame's readout.
    seconds : float
        The frame's exposure.
    """
    use = _bias_in_dark(context, dark)
    if use is None:
        return None
    return _master_in_budget(context, BIAS, use, context.outcome(use.product), noise, seconds)


def _response_of_flat(context, group, use):
    """Return the median of a flat's lit pixels in the first image; 1 without a combined flat."""
    record = None if use is None else context.made_record(use.product)
    path = None if use is None else context.results / use.product
    if record is None or not record.data or not path.is_file():
        return 1.0

    def median_of_flat():
        """Return the median of the lit pixels in a sample of rows."""
        _, images = recipe_and_images(context, context.row(group.files[0]))
        sample = _sampled_rows(path, images[0].hdu, np.s_[:])
        lit_pixels = sample[sample > 0]
        return float(np.median(lit_pixels)) if lit_pixels.size else 1.0

    return context.lookup((Lookup.RESPONSE, use.product, record.key), median_of_flat)


def _sampled_rows(path, hdu, region):
    """Return evenly spread rows of a region of a master's image: (k, nx), float64."""
    data = stored_image(path, hdu)[region]
    return np.asarray(data[:: max(1, len(data) // _SAMPLE_ROWS)], np.float64)


def _master_in_budget(context, kind, use, record, noise, seconds):
    """Return the `BudgetedMaster` of a master.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    kind : {'bias', 'dark', 'flat'}
    use : ccdflow.run.master_choices.Use
    record : ccdflow.run.job_records.Record or None
        Record of the master; None without one. While the master is not made it has no figures.
    noise : ccdflow.kinds.matching.rule_values.DetectorNoise
    seconds : float
        Exposure of the frame.
    """
    members = record.data.get("members") if record is not None else None
    group = context.find_group(use.product)
    n_frames = len(members or (group.files if group else (None,)))
    days = abs(use.lag or 0)
    if kind == FLAT:
        signal_to_noise = mean_figure(record, "signal_to_noise")
        noise_of_flat = noise.flat_level**-0.5
        if signal_to_noise:
            noise_of_flat = math.sqrt(n_frames) / signal_to_noise
        ageing_variance = noise.flat_ageing * days + (noise.flat_warming * use.degrees_warmer) ** 2
        return BudgetedMaster(
            n_frames,
            noise=noise_of_flat,
            ageing_variance=ageing_variance,
            takes_further_frames=use.lag == 0,
        )
    ageing_variance = noise.bias_ageing * days + (noise.bias_warming * use.degrees_warmer) ** 2
    exptime = 0.0
    if kind == DARK:
        ageing_variance = noise.dark_ageing * seconds**2 * days
        exptime = seconds / use.scale
    # Further darks of a shorter exposure would be scaled up as well: new exact darks save more.
    takes_further_frames = use.lag == 0 and use.scale <= HARMLESS_SCALE_UP
    return BudgetedMaster(
        n_frames,
        use.scale,
        exptime,
        ageing_variance=ageing_variance,
        takes_further_frames=takes_further_frames,
    )


def _mean_dark_rate(context, row, use, record, noise):
    """Return the dark current of a pixel, electrons a second: the mean over the image.

    The dark's own figure is that of a median pixel, which is too low where an amplifier glows: the
    mean glow is added. A dark without a gain has figures in adu; the dark current of the detector's
    profile replaces them.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.raw_frames.rows.Row
        Row of the frame.
    use : ccdflow.run.master_choices.Use or None
        Use of the dark.
    record : ccdflow.run.job_records.Record or None
        Record of the dark.
    noise : ccdflow.kinds.matching.rule_values.DetectorNoise
        Noise of the detector, with its dark current by the profile.
    """
    quality = record.data.get("quality", ()) if record is not None else ()
    if any(figures["unit"] != "electron" for figures in quality):
        return noise.dark_rate
    median_rate = mean_figure(record, "rate") or noise.dark_rate
    path = None if use is None else context.results / use.product
    if not quality or use.cut or not path.is_file():
        return median_rate

    def mean_glow():
        """Return by how much the mean rate exceeds that of a median pixel, electrons a second."""
        recipe, images = recipe_and_images(context, row)
        excesses = []
        for image in images:
            for amplifier in image.amplifiers:
                rows = _sampled_rows(path, image.hdu, recipe.region_of(amplifier).slices)
                values = np.sort(rows[np.isfinite(rows)])
                if values.size:
                    cool_values = values[: math.ceil((1 - _HOT_FRACTION) * values.size)]
                    excess = float(cool_values.mean() - np.median(values))
                    excesses.append(amplifier.gain * excess)
        return max(fmean(excesses), 0.0) / record.data["seconds"] if excesses else 0.0

    return median_rate + context.lookup((Lookup.GLOW, use.product, record.key), mean_glow)


def shares_bias(context, dark, bias):
    """Return whether a dark's members had the frame's bias subtracted.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    dark : ccdflow.run.master_choices.Use
    bias : ccdflow.run.master_choices.Use or None
        Bias of the frame.

    Returns
    -------
    bool
    """
    bias_in_dark = _bias_in_dark(context, dark)
    return bias is not None and bias_in_dark is not None and bias_in_dark.product == bias.product


def _bias_in_dark(context, dark):
    """Return the `Use` of the bias that a dark's members had subtracted; None without a bias."""
    group = context.find_group(dark.product)
    steps = group.steps if group is not None else ()
    return next((first_use(context, step) for step in steps if step.kind == BIAS), None)
