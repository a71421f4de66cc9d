"""Sentences on calibrated frames whose noise UNCERT does not predict, and on flats of spectra."""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import NamedTuple

from ccdflow.calibrate import sky_level
from ccdflow.calibrate.applied_masters import MASTER_KINDS
from ccdflow.camera.filters import is_open
from ccdflow.pages.text_formatting import figure_text, light_words, short_unit
from ccdflow.run import job_records
from ccdflow.run.products.product_names import reduced_product
from ccdflow.wording import count

VERSION = 3
"""Raise it when a change alters any sentence: pages with calibrated frames are then made again."""

MOST_NOISE_DEPARTURE = 0.1
"""The measured noise is reported if it differs from its prediction by more than this fraction. With
a smaller fraction there are sentences on many frames with faint structure in the sky; with a larger
one none on a gain that is 20 % off, which changes the noise by 10 %. Chosen, not measured."""

# The measured noise must also differ from its prediction by more than this many of its errors:
# chance does so once in 16,000 frames. They exceed `MOST_NOISE_DEPARTURE` with fewer than 800
# differences between pixels.
_CHANCE_SIGMA = 4.0


def is_spectrum(row):
    """Return whether a raw frame was taken through a grism, by its row."""
    grism = row.facts["grism"]
    return bool(grism) and not is_open(grism)


def sentences_of_records(context, records, *, includes_spectra=True):
    """Return a sentence for each camera and light whose frames have another noise than predicted.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    records : iterable of ccdflow.run.job_records.Record
        Records of calibrated frames.
    includes_spectra : bool, optional
        Whether spectra count: their lines add to the measured noise.

    Returns
    -------
    list of str
    """
    return sentences_on_noise(
        nights_of_odd_noise(context, records, includes_spectra=includes_spectra)
    )


def nights_of_odd_noise(context, records, *, includes_spectra=True):
    """Return the nights, cameras and lights whose noise differs from its prediction.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    records : iterable of ccdflow.run.job_records.Record
        Records of calibrated frames.
    includes_spectra : bool, optional
        Whether spectra count.

    Returns
    -------
    list of list
        Plain values, which a closed night keeps: camera, light, unit, night, number of frames;
        ratio, measured and predicted noise of the median frame; the reason in words.
    """
    noises_by_setup, chance_departures = defaultdict(list), {}
    limits = defaultdict(lambda: MOST_NOISE_DEPARTURE)
    for group, row, data in _calibrated_frames(context, records):
        if (is_spectrum(row) and not includes_spectra) or _lacks_signal(context, row):
            continue
        if row.facts["type"] == "flat":
            # A flat is not divided by a flat, so its noise has the response of its pixels.
            continue
        if row.geometry not in chance_departures:
            chance_departures[row.geometry] = _chance_departure(context, row)
        noises = _noises_of_frame(group, row, data)
        if noises:
            light = light_words([row.facts["filter"], row.facts["grism"]])
            setup = row.camera, light, short_unit(data["unit"]), group.night
            noises_by_setup[setup] += noises
            limits[setup] = max(limits[setup], chance_departures[row.geometry])
    nights = []
    for setup, noises in sorted(noises_by_setup.items()):
        median_ratio = median(noise.ratio for noise in noises)
        if abs(median_ratio - 1) > limits[setup]:
            nearest = min(noises, key=lambda noise: abs(noise.ratio - median_ratio))
            n_frames = len({noise.file for noise in noises})
            figures = nearest.ratio, nearest.measured_noise, nearest.predicted_noise
            nights.append([*setup, n_frames, *figures, nearest.reason])
    return nights


class _ImageNoise(NamedTuple):
    """The noise of an image of a calibrated frame, in its unit.

    Attributes
    ----------
    measured_noise, predicted_noise : float
    file : str
        The raw file.
    reason : str
        Why measured and predicted noise may differ, in words.
    """

    measured_noise: float
    predicted_noise: float
    file: str
    reason: str

    @property
    def ratio(self):
        """The measured noise over the predicted one."""
        return self.measured_noise / self.predicted_noise


def _noises_of_frame(group, row, data):
    """Return the `_ImageNoise` of each image of a frame for which both noises are known.

    Parameters
    ----------
    group : ccdflow.run.job.Group
        Group of the calibrated frame.
    row : ccdflow.run.raw_frames.rows.Row
    data : dict of str to object
        Data of its record.
    """
    steps_not_taken = _steps_not_taken(group, data)
    noises = []
    for image in data["images"]:
        measured_noise, predicted_noise = image["sky_rms"], image["sky_predicted"]
        if measured_noise and predicted_noise:
            ratio = measured_noise / predicted_noise
            reason = _likely_reason(ratio, is_spectrum(row), steps_not_taken)
            noises.append(_ImageNoise(measured_noise, predicted_noise, row.file, reason))
    return noises


def _chance_departure(context, row):
    """Return the fraction by which the measured noise of a frame may be off by chance alone."""
    geometry = context.store.geometry(row.geometry)
    shapes = [shape for _, shape in geometry.extension_shapes] or [geometry.shape]
    return _CHANCE_SIGMA / (2 * min(map(sky_level.count_of_differences, shapes))) ** 0.5


def _steps_not_taken(group, data):
    """Return the kinds of masters that were not applied to a frame: missing, or not needed.

    Parameters
    ----------
    group : ccdflow.run.job.Group
        Group of the calibrated frame.
    data : dict of str to object
        Data of its record.

    Returns
    -------
    set of str
    """
    needed_kinds = {step.kind for step in group.steps if step.is_needed}
    return {*data["missing"], *(kind for kind in MASTER_KINDS if kind not in needed_kinds)}


def _lacks_signal(context, row):
    """Return whether an amplifier of a frame has no signal, and no noise to compare."""
    reduced_record = context.outcome(reduced_product(row.file))
    return reduced_record is not None and bool(reduced_record.data.get("flags"))


def sentences_on_noise(nights):
    """Return a sentence for each camera and light, with the figures of the median night.

    Parameters
    ----------
    nights : iterable of list
        As `nights_of_odd_noise` returns them, in any order.

    Returns
    -------
    list of str
    """
    entries_by_light = defaultdict(list)
    for camera, light, unit, night, n_frames, *figures in sorted(nights):
        entries_by_light[camera, light, unit].append((figures, night, n_frames))
    sentences = []
    for (camera, light, unit), entries in sorted(entries_by_light.items()):
        (ratio, measured_noise, predicted_noise, reason), _, _ = sorted(entries)[len(entries) // 2]
        frame_words = count(sum(n_frames for _, _, n_frames in entries), "calibrated frame")
        words_on_light = f" ({light})" if light else ""
        words_on_nights = f" of {len(entries)} nights" if len(entries) > 1 else ""
        sentences.append(
            f"{camera}: the noise of {frame_words}{words_on_nights}{words_on_light}"
            f" is {figure_text(measured_noise, 3)} {unit} a pixel, {100 * abs(ratio - 1):.0f} %"
            f" {'above' if ratio > 1 else 'below'} the {figure_text(predicted_noise, 3)} {unit}"
            f" that UNCERT predicts: {reason}"
        )
    return sentences


def _likely_reason(ratio, is_of_spectrum, kinds_not_applied):
    """Return in words why a measured noise is probably not the predicted one.

    Parameters
    ----------
    ratio : float
        Measured noise over predicted noise.
    is_of_spectrum : bool
    kinds_not_applied : set of str
        Kinds of masters that the frame is without.
    """
    if ratio < 1:
        return (
            "the gain in use is too small or the read noise too large, or the frames were averaged"
            " or smoothed before they were written"
        )
    if is_of_spectrum:
        return (
            "lines of the sky, and the object's profile across the slit, count as noise here:"
            " before you distrust UNCERT, subtract two frames of one field"
        )
    if "flat" in kinds_not_applied:
        return "no flat was divided: the response of the pixels is in it"
    if "dark" in kinds_not_applied:
        return "no dark was subtracted: hot pixels are in it, or the gain in use is too large"
    return (
        "stars as close as pixels or a pattern of the readout are in it, or the gain in use is too"
        " large or the read noise too small"
    )


def lamp_sentences(context, records):
    """Return a sentence for each camera and grism whose spectra were divided by a lamp's spectrum.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    records : iterable of ccdflow.run.job_records.Record
        Records of calibrated frames.

    Returns
    -------
    list of str
    """
    counts = defaultdict(int)
    for group, row, data in _calibrated_frames(context, records):
        if is_spectrum(row) and "flat" not in _steps_not_taken(group, data):
            counts[row.camera, row.facts["grism"]] += 1
    return [
        f"{camera}: {count(number, 'spectrum', 'spectra')} ({grism})"
        f" {'was' if number == 1 else 'were'} divided by flats that have the"
        " spectrum of their lamp in them: values and noise grow where the lamp is faint;"
        " a standard star with the same flat takes the lamp's slope out (docs/calibration.md)"
        for (camera, grism), number in sorted(counts.items())
    ]


def _calibrated_frames(context, records):
    """Yield (group, row of the raw frame, data of the record) of each calibrated frame."""
    for record in records:
        group = context.find_group(record.product)
        if record.status != job_records.MADE or group is None:
            continue
        # Each access to a record's data decodes JSON text: here it is decoded once.
        yield group, context.row(group.files[0]), dict(record.data.items())
