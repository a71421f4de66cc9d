"""Whether the noise of calibrated frames is that of their UNCERT, and what flats of spectra do."""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from ccdflow.camera.filters import is_open
from ccdflow.pages.words import count, figure, light_words
from ccdflow.run import ledger

VERSION = 1
"""Raise it when a change alters any sentence: pages with calibrated frames are then made again."""

MOST_OFF = 0.1
"""Part by which the measured noise may differ from its prediction without a word."""


def is_spectrum(row):
    """Tell whether a raw frame was taken through a grism, by its row."""
    grism = row.facts["grism"]
    return bool(grism) and not is_open(grism)


def noise_sentences(context, records, *, spectra=True):
    """Return a sentence for each camera and light whose frames' noise is not the predicted one.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    records : iterable of ccdflow.run.ledger.Record
        Of calibrated frames.
    spectra : bool
        Whether spectra count, whose lines are noise to the measurement.

    Returns
    -------
    list of str
        By the median frame of each camera, filter, grism and unit.
    """
    found = defaultdict(list)
    for row, data in _calibrated(context, records):
        if is_spectrum(row) and not spectra:
            continue
        for image in data["images"]:
            measured, predicted = image["sky_rms"], image["sky_predicted"]
            if measured and predicted:
                light = light_words([row.facts["filter"], row.facts["grism"]])
                unit = {"electron": "e-"}.get(data["unit"], data["unit"])
                of = row.camera, light, is_spectrum(row), unit
                found[of].append((measured / predicted, measured, predicted, row.file, data))
    said = [_noise_sentence(*of, own) for of, own in sorted(found.items())]
    return list(filter(None, said))


def _noise_sentence(camera, light, is_spectral, unit, own):
    """Return the sentence on frames of one light, or ''."""
    ratio = median(each[0] for each in own)
    if abs(ratio - 1) <= MOST_OFF:
        return ""
    _, measured, predicted, _, data = min(own, key=lambda each: abs(each[0] - ratio))
    files = len({each[3] for each in own})
    return (
        f"{camera}: the noise of {count(files, 'calibrated frame')}"
        + f" ({light})" * bool(light)
        + f" is {figure(measured, 3)} {unit} a pixel, {100 * abs(ratio - 1):.0f} %"
        f" {'above' if ratio > 1 else 'below'} the {figure(predicted, 3)} {unit} that UNCERT"
        f" predicts: {_reason(ratio, is_spectral, data['missing'])}"
    )


def _reason(ratio, is_spectral, missing):
    if ratio < 1:
        return (
            "the gain in use is too small or the read noise too large, or the frames were averaged"
            " or smoothed before they were written"
        )
    if is_spectral:
        return (
            "lines of the sky, and the object's profile across the slit, count as noise here:"
            " before you distrust UNCERT, subtract two frames of one field"
        )
    if "flat" in missing:
        return "no flat was divided: the response of the pixels is in it"
    if "dark" in missing:
        return "no dark was subtracted: hot pixels are in it, or the gain in use is too large"
    return (
        "stars as close as pixels or a pattern of the readout are in it, or the gain in use is too"
        " large or the read noise too small"
    )


def lamp_sentences(context, records):
    """Return a sentence for each camera and grism whose spectra are over the spectrum of a lamp.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    records : iterable of ccdflow.run.ledger.Record
        Of calibrated frames.

    Returns
    -------
    list of str
    """
    found = defaultdict(int)
    for row, data in _calibrated(context, records):
        if is_spectrum(row) and "flat" not in data["missing"]:
            found[row.camera, row.facts["grism"]] += 1
    return [
        f"{camera}: {count(number, 'spectrum', 'spectra')} ({grism})"
        f" {'was' if number == 1 else 'were'} divided by flats that have the"
        " spectrum of their lamp in them: values and noise grow where the lamp is faint;"
        " a standard star with the same flat takes the lamp's slope out (docs/calibration.md)"
        for (camera, grism), number in sorted(found.items())
    ]


def _calibrated(context, records):
    """Yield (row, data) of the frames that were calibrated."""
    for record in records:
        group = context.groups.get(record.product)
        if record.status != ledger.MADE or group is None:
            continue
        # The data are JSON text until they are read: once.
        yield context.store.rows[group.files[0]], dict(record.data.items())
