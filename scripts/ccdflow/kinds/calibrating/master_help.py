"""Noise and structure of calibrated frames with each of their masters, and without.

The figures are those that `ccdflow.calibrate.master_effects` measured of each frame while it was
calibrated, averaged here over all frames of a master.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import astuple, dataclass, replace
from decimal import Context, Decimal
from pathlib import PurePosixPath

from ccdflow.calibrate.applied_masters import ELECTRON_UNITS
from ccdflow.calibrate.master_effects import Effect, effects_on_image, read_row_pairs
from ccdflow.files.cards import card_value
from ccdflow.files.fits_products.multi_image_products import read_stored_hdus
from ccdflow.kinds.masters.master_names import master_names
from ccdflow.pages.contents import NamedFile, Section
from ccdflow.pages.text_formatting import figure_text, short_unit
from ccdflow.run import job_records
from ccdflow.wording import count, first_lines

# A master harms if the variance that it adds is at least this many of its standard errors.
_HARM_ERRORS = 3.0
# A master harms if the variance that it adds is at least this part of the frame's variance.
_HARM_PART = 0.01
# The last lines of a run name at most this many masters.
_MOST_LINES = 8
# An effect has this many digits in a record: its error is larger than the next digit.
_DIGITS = 4
# A precision in which sums are exact: figures have four digits, and are between 1e-30 and 1e30.
_EXACT_CONTEXT = Context(prec=100)


@dataclass(frozen=True)
class MasterHelp:
    """The effect of a master on the frames that took it.

    Attributes
    ----------
    kind, product : str
    frames : int
    effect : ccdflow.calibrate.master_effects.Effect
        Averages over the frames.
    unit : str
    """

    kind: str
    product: str
    frames: int
    effect: Effect
    unit: str

    @property
    def added_variance(self):
        """Variance of a pixel that the master adds; below 0 where it takes away."""
        effect = self.effect
        return (
            effect.noise_variance
            - effect.noise_variance_without
            + effect.structure_variance
            - effect.structure_variance_without
        )

    def _is_significant(self, change, error):
        """Return whether a change of the variance exceeds its error and a part of the variance."""
        return change > max(_HARM_ERRORS * error, _HARM_PART * self.effect.noise_variance_without)

    @property
    def harms(self):
        """Whether the master adds more noise than it takes structure away."""
        effect = self.effect
        return self._is_significant(
            self.added_variance,
            math.hypot(effect.noise_variance_error, effect.structure_variance_error),
        )

    @property
    def verdict(self):
        """The verdict in a few words."""
        effect = self.effect
        if self.harms:
            return "does harm"
        error = math.hypot(effect.noise_variance_error, effect.structure_variance_error)
        # A glow in a corner is in few boxes, so its error is large; the mean of a box is known to a
        # few hundredths of a pixel's noise.
        is_plain = (
            effect.structure_variance_without - effect.structure_variance
            > effect.noise_variance_without
        )
        if not is_plain and not self._is_significant(-self.added_variance, error):
            return "no difference"
        adds = self._is_significant(
            effect.noise_variance - effect.noise_variance_without, effect.noise_variance_error
        )
        return "helps, though it adds noise" if adds else "helps"

    def words(self):
        """Return the figures in words."""
        effect, unit = self.effect, short_unit(self.unit)
        return (
            f"noise {effect.noise_variance**0.5:.3g} {unit} a pixel with it and"
            f" {effect.noise_variance_without**0.5:.3g} without, structure"
            f" {effect.structure_variance**0.5:.2g} and"
            f" {effect.structure_variance_without**0.5:.2g}"
        )


def measure_effects(path, calibration, *, hdus, unit, is_spectrum, name):
    """Return the effect of each master on a frame, for its record.

    Parameters
    ----------
    path : path-like
        The reduced frame.
    calibration : ccdflow.calibrate.frame_corrections.FrameCalibration
        Masters and readouts by which the frame was calibrated.
    hdus : sequence of int
        The HDU of each image.
    unit : str
        Unit of the calibrated frame.
    is_spectrum : bool
        Whether the structure of frame and flat is that of light through a grism: it is not a fault.
    name : str
        Name of the frame, for errors.

    Returns
    -------
    dict of str to list of float
        By kind of master: the values of an `Effect`, averaged over the images.
    """
    if not calibration.masters.uses:
        return {}
    stored_hdus = read_stored_hdus(path, name=name)
    effects = defaultdict(list)
    for index, (hdu, amplifiers) in enumerate(zip(hdus, calibration.readouts, strict=True)):
        header_unit = str(card_value(stored_hdus[hdu].header, "BUNIT") or "adu")
        converts = unit == "electron" and header_unit.lower() not in ELECTRON_UNITS
        pairs = read_row_pairs(path, stored_hdus[hdu], name=name)
        if pairs is None:
            continue
        image_effects = effects_on_image(
            pairs,
            amplifiers,
            calibration.masters,
            index=index,
            factor=(lambda readout: readout.gain) if converts else None,
        )
        for kind, effect in image_effects.items():
            if kind == "flat" and is_spectrum:
                effect = replace(effect, structure=0.0, structure_without=0.0, structure_error=0.0)
            effects[kind].append(astuple(effect))
    averages = {kind: _mean_effect(values) for kind, values in effects.items()}
    return {
        kind: [float(f"{value:.{_DIGITS}g}") for value in values]
        for kind, values in averages.items()
        if all(map(math.isfinite, values))
    }


def _mean_effect(values):
    """Return the averages of some effects, with the errors of the averages."""
    columns = list(zip(*values, strict=True))
    means = [sum(column) / len(column) for column in columns[:-2]]
    return [*means, *(math.hypot(*column) / len(column) for column in columns[-2:])]


def sums_of_effects(records):
    """Return the sums of the masters' effects on some frames: plain values, which can be added.

    Parameters
    ----------
    records : iterable of ccdflow.run.job_records.Record
        As `helps_of` takes them.

    Returns
    -------
    list of list
        [kind, product, unit, frames, sums]: of each figure of an `Effect` the sum, of its two
        errors that of their squares, as decimal numbers: exact, so that no order of adding matters.
    """
    totals = {}
    for master_key, values in _effects_of_frames(records):
        decimals = [Decimal(str(value)) for value in values]
        squared_errors = [error**2 for error in decimals[-2:]]
        total = totals.setdefault(master_key, _ExactSums([Decimal(0)] * len(values), 0))
        total.add([*decimals[:-2], *squared_errors])
    return [
        [*master_key, total.frames, list(map(str, total.sums))]
        for master_key, total in totals.items()
    ]


class _ExactSums:
    """Sums of figures of frames as decimal numbers, and the number of the frames.

    Parameters
    ----------
    sums : list of decimal.Decimal
        The sums to begin with.
    frames : int
        The number of frames in them.
    """

    def __init__(self, sums, frames):
        self.sums, self.frames = sums, frames

    def add(self, values, frames=1):
        """Add the figures of a frame, or the sums over several.

        Parameters
        ----------
        values : list of decimal.Decimal
        frames : int, optional
        """
        self.frames += frames
        self.sums = [
            _EXACT_CONTEXT.add(exact_sum, value)
            for exact_sum, value in zip(self.sums, values, strict=True)
        ]


def _helps_of_sums(sums):
    """Return the `MasterHelp` of each master, sorted, from the sums of parts of an archive."""
    totals = {}
    for kind, product, unit, frames, values in (entry for part in sums for entry in part):
        key, sums_of_part = (kind, product, unit), list(map(Decimal, values))
        if key in totals:
            totals[key].add(sums_of_part, frames)
        else:
            # Most masters are of one part alone, its own night.
            totals[key] = _ExactSums(sums_of_part, frames)
    helps = []
    for (kind, product, unit), total in sorted(totals.items(), key=_place_of_kind):
        frames = total.frames
        means = [float(value / frames) for value in total.sums[:-2]]
        # The sums are exact, so that their order does not matter; one root of each needs no more.
        errors = [math.sqrt(value) / frames for value in total.sums[-2:]]
        helps.append(MasterHelp(kind, product, frames, Effect(*means, *errors), unit))
    return helps


def _place_of_kind(entry):
    """Return the key that sorts helps: bias, dark, flat, and within a kind by name."""
    kind, *names = entry[0]
    return {"bias": 0, "dark": 1, "flat": 2}[kind], names


def helps_of(records):
    """Return the `MasterHelp` of each master of some calibrated frames, sorted by kind and product.

    Parameters
    ----------
    records : iterable of ccdflow.run.job_records.Record
        Records of calibrated frames; those that were not made, and those without helps, do not
        count.

    Returns
    -------
    list of MasterHelp
    """
    effects = defaultdict(list)
    for master_key, values in _effects_of_frames(records):
        effects[master_key].append(values)
    return [
        MasterHelp(kind, product, len(values), Effect(*_mean_effect(values)), unit)
        for (kind, product, unit), values in sorted(effects.items(), key=_place_of_kind)
    ]


def _effects_of_frames(records):
    """Yield ((kind, product, unit), values of an `Effect`) of each frame and master."""
    for record in records:
        if record.status != job_records.MADE:
            continue
        # The data are JSON text until they are read: once.
        data = dict(record.data.items())
        # Older results: records have no helps.
        if data.get("helps"):
            masters = {kind: product for kind, product, _ in record.basis["masters"]}
            for kind, values in data["helps"].items():
                yield (kind, masters[kind], data["unit"]), values


def lines_on_harm(sums):
    """Return the last lines on biases and flats that do harm.

    Harmful darks are found by their own pixels (`ccdflow.detector.benefit`), before any frame.

    Parameters
    ----------
    sums : list of list
        `sums_of_effects` the frames of parts of an archive.

    Returns
    -------
    list of str
    """
    sums_without_darks = ([entry for entry in part if entry[0] != "dark"] for part in sums)
    harmful = [master for master in _helps_of_sums(sums_without_darks) if master.harms]
    sentences = [
        f"{master.kind} does harm: {master.product}: {master.words()};"
        f" {count(master.frames, 'frame')}; more of its frames would help"
        for master in harmful
    ]
    return first_lines(sentences, _MOST_LINES, "more such masters")


def section_on_effects(context, records):
    """Return the section of a night's page on the effect of its masters on its frames, or None.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    records : iterable of ccdflow.run.job_records.Record
        Records of calibrated frames.

    Returns
    -------
    ccdflow.pages.contents.Section or None
    """
    helps = helps_of(records)
    if not helps:
        return None
    harmful = [master for master in helps if master.harms]
    groups = [g for m in helps if (g := context.find_group(m.product)) is not None]
    names = master_names(groups)
    names_of_harmful = ", ".join(_master_in_words(master, names) for master in harmful)
    sentence = (
        f"{len(harmful)} of {len(helps)} masters {'does' if len(harmful) == 1 else 'do'} harm:"
        f" {names_of_harmful}: more of its frames would help."
        if harmful
        else ""
    )
    units = dict.fromkeys(short_unit(master.unit) for master in helps)
    unit = " or ".join(units)
    return Section(
        "helps",
        "With each master, and without",
        (sentence,) if sentence else (),
        (
            "A sample of rows of each frame was calibrated with all its masters, and without each."
            " Noise is that from pixel to pixel, structure that from box to box of 64 pixels (stars"
            " and the sky's own gradient count in both); root mean squares, averaged over the"
            " frames. A bias that cancels with its dark is not in the table. A master does harm if"
            " the squares of noise and structure together are greater with it than without, by"
            f" {_HARM_ERRORS:g} errors and {100 * _HARM_PART:g} % of the squared noise without it;"
            " it helps if they are as much less, or if it takes more structure than the frame's"
            " noise. A dash: not judged, because the structure of a spectrum is no fault.",
        ),
        headings=(
            "Master", "Verdict", f"Noise with ({unit})", f"Noise without ({unit})",
            f"Structure with ({unit})", f"Structure without ({unit})", "Frames",
        ),
        rows=tuple(_effect_cells(master, _master_in_words(master, names)) for master in helps),
    )  # fmt: skip


def _effect_cells(master, name):
    """Return the cells of a table on a master's effect."""
    effect = master.effect
    return (
        name,
        master.verdict,
        *(
            figure_text(value**0.5)
            for value in (effect.noise_variance, effect.noise_variance_without)
        ),
        *(
            # The structure of a spectrum was set to 0.
            figure_text(value**0.5, 3) if effect.structure_variance_error or value else "–"
            for value in (effect.structure_variance, effect.structure_variance_without)
        ),
        str(master.frames),
    )


def _master_in_words(master, names):
    """Return the name of a master in words: ``dark 300 s of 2016-01-15``."""
    file = PurePosixPath(master.product)
    return names.get(master.product) or NamedFile(file.stem, file=master.product)
