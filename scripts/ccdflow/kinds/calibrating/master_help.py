"""Noise and structure of calibrated frames with each of their masters, and without it.

`ccdflow.calibrate.master_effects` measures these figures in each frame while it is calibrated. Here
they are averaged over all frames of a master.
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
from ccdflow.pages.text_formatting import EMPTY_CELL, figure_text, short_unit
from ccdflow.run import job_records
from ccdflow.wording import count, first_lines

# A master does harm if the variance that it adds is more than this many standard errors: chance
# makes 1 of 700.
_HARM_ERRORS = 3.0
# The variance that a harmful master adds is also more than this fraction of the frame's variance:
# less changes the noise by less than 0.5 %.
_HARM_FRACTION = 0.01
# The last lines of a run name at most this many masters.
_MOST_LINES = 8
# An effect has this many digits in a record: its error is larger than the next digit would be.
_DIGITS = 4
# Sums are exact with this precision, because the figures have `_DIGITS` digits and are between
# 1e-30 and 1e30.
_EXACT_CONTEXT = Context(prec=100)


@dataclass(frozen=True)
class MasterHelp:
    """The effect of a master on the frames that were calibrated with it.

    Attributes
    ----------
    kind, product : str
    n_frames : int
        Number of the frames.
    effect : ccdflow.calibrate.master_effects.Effect
        Averages over the frames.
    unit : str
    """

    kind: str
    product: str
    n_frames: int
    effect: Effect
    unit: str

    @property
    def added_variance(self):
        """The variance that the master adds to a pixel; below 0 if it removes variance."""
        effect = self.effect
        return (
            effect.noise_variance
            - effect.noise_variance_without
            + effect.structure_variance
            - effect.structure_variance_without
        )

    def _is_significant(self, change, error):
        """Return whether a change of the variance exceeds the limits of a significant one."""
        return change > max(
            _HARM_ERRORS * error, _HARM_FRACTION * self.effect.noise_variance_without
        )

    @property
    def harms(self):
        """Whether the master adds more variance of noise than it removes of structure."""
        effect = self.effect
        return self._is_significant(
            self.added_variance,
            math.hypot(effect.noise_variance_error, effect.structure_variance_error),
        )

    @property
    def verdict(self):
        """The verdict on the master, in the words of its table."""
        effect = self.effect
        if self.harms:
            return "does harm"
        error = math.hypot(effect.noise_variance_error, effect.structure_variance_error)
        # The structure of a glow in a corner has a large error, because few boxes contain it. Yet
        # structure above a pixel's noise is plain: the mean of a box is known to a few hundredths
        # of this noise.
        is_plain = (
            effect.structure_variance_without - effect.structure_variance
            > effect.noise_variance_without
        )
        if not is_plain and not self._is_significant(-self.added_variance, error):
            return "no difference"
        adds_noise = self._is_significant(
            effect.noise_variance - effect.noise_variance_without, effect.noise_variance_error
        )
        return "helps, though it adds noise" if adds_noise else "helps"

    def figures_in_words(self):
        """Return noise and structure with the master and without it, in words."""
        effect, unit = self.effect, short_unit(self.unit)
        return (
            f"noise {effect.noise_variance**0.5:.3g} {unit} a pixel with it and"
            f" {effect.noise_variance_without**0.5:.3g} without, structure"
            f" {effect.structure_variance**0.5:.2g} and"
            f" {effect.structure_variance_without**0.5:.2g}"
        )


def measure_effects(path, calibration, *, hdus, unit, is_spectrum, name):
    """Return the effect of each master on a frame, for the frame's record.

    Parameters
    ----------
    path : path-like
        The reduced frame.
    calibration : ccdflow.calibrate.frame_corrections.FrameCalibration
        Masters and readouts with which the frame was calibrated.
    hdus : sequence of int
        Index of each image's HDU.
    unit : str
        Unit of the calibrated frame.
    is_spectrum : bool
        Whether the light came through a grism: the structure of frame and flat is then no fault.
    name : str
        Name of the frame, for errors.

    Returns
    -------
    dict of str to list of float
        By kind of master: the values of an `Effect`, averaged over the images that are large
        enough. Masters with a value that is not finite are left out, and a bias that cancels with
        its dark; {} without masters.
    """
    if not calibration.masters.applied_masters:
        return {}
    stored_hdus = read_stored_hdus(path, name=name)
    effects = defaultdict(list)
    for index, (hdu, readouts) in enumerate(zip(hdus, calibration.readouts, strict=True)):
        row_pairs = read_row_pairs(path, stored_hdus[hdu], name=name)
        if row_pairs is None:
            continue
        image_effects = effects_on_image(
            row_pairs,
            readouts,
            calibration.masters,
            index=index,
            factor=_factor_of_readouts(unit, stored_hdus[hdu]),
        )
        for kind, effect in image_effects.items():
            if kind == "flat" and is_spectrum:
                effect = replace(
                    effect, structure_variance=0.0, structure_variance_without=0.0,
                    structure_variance_error=0.0,
                )  # fmt: skip
            effects[kind].append(astuple(effect))
    averages = {kind: _mean_effect(values) for kind, values in effects.items()}
    return {
        kind: [float(f"{value:.{_DIGITS}g}") for value in values]
        for kind, values in averages.items()
        if all(map(math.isfinite, values))
    }


def _factor_of_readouts(unit, stored_hdu):
    """Return the function from a readout to the factor of its pixels; None without a conversion.

    Parameters
    ----------
    unit : str
        Unit of the calibrated frame.
    stored_hdu : ccdflow.files.fits_products.multi_image_products.StoredHdu
        HDU of an image of the reduced frame, in adu or electrons.
    """
    header_unit = str(card_value(stored_hdu.header, "BUNIT") or "adu")
    converts = unit == "electron" and header_unit.lower() not in ELECTRON_UNITS
    return (lambda readout: readout.gain) if converts else None


def _mean_effect(values):
    """Return the averages of the values of effects; the last two become errors of averages."""
    columns = list(zip(*values, strict=True))
    means = [sum(column) / len(column) for column in columns[:-2]]
    return [*means, *(math.hypot(*column) / len(column) for column in columns[-2:])]


def sums_of_effects(records):
    """Return the sums of the masters' effects over some frames: plain values, which can be added.

    Parameters
    ----------
    records : iterable of ccdflow.run.job_records.Record
        As `helps_of` takes them.

    Returns
    -------
    list of list
        [kind, product, unit, number of frames, sums]. There is a sum for each figure of an
        `Effect`, of the squares for its two errors. Sums are exact decimal numbers, so that the
        order of adding does not matter.
    """
    totals = {}
    for master_key, values in _effects_of_frames(records):
        decimals = [Decimal(str(value)) for value in values]
        squared_errors = [error**2 for error in decimals[-2:]]
        total = totals.setdefault(master_key, _ExactSums([Decimal(0)] * len(values), 0))
        total.add([*decimals[:-2], *squared_errors])
    return [
        [*master_key, total.n_frames, list(map(str, total.sums))]
        for master_key, total in totals.items()
    ]


class _ExactSums:
    """Sums of figures over frames as decimal numbers, and the number of these frames.

    Parameters
    ----------
    sums : list of decimal.Decimal
        The sums to begin with.
    n_frames : int
        Number of frames in these sums.
    """

    def __init__(self, sums, n_frames):
        self.sums, self.n_frames = sums, n_frames

    def add(self, values, n_frames=1):
        """Add the figures of a frame, or sums over several frames.

        Parameters
        ----------
        values : list of decimal.Decimal
        n_frames : int, optional
            Number of frames in the values.
        """
        self.n_frames += n_frames
        self.sums = [
            _EXACT_CONTEXT.add(exact_sum, value)
            for exact_sum, value in zip(self.sums, values, strict=True)
        ]


def _helps_of_sums(sums):
    """Return the `MasterHelp` of each master, sorted, from the sums of parts of an archive."""
    totals = {}
    for kind, product, unit, n_frames, values in (entry for part in sums for entry in part):
        master_key, sums_of_part = (kind, product, unit), list(map(Decimal, values))
        if master_key in totals:
            totals[master_key].add(sums_of_part, n_frames)
        else:
            # Most masters have frames of one night only, so that their sums need no addition.
            totals[master_key] = _ExactSums(sums_of_part, n_frames)
    helps = []
    for (kind, product, unit), total in sorted(totals.items(), key=_order_of_masters):
        n_frames = total.n_frames
        means = [float(value / n_frames) for value in total.sums[:-2]]
        errors = [math.sqrt(value) / n_frames for value in total.sums[-2:]]
        helps.append(MasterHelp(kind, product, n_frames, Effect(*means, *errors), unit))
    return helps


def _order_of_masters(entry):
    """Return the key that sorts masters: bias, dark, flat, and within a kind by product."""
    kind, *names = entry[0]
    return {"bias": 0, "dark": 1, "flat": 2}[kind], names


def helps_of(records):
    """Return the `MasterHelp` of each master of some calibrated frames, sorted by kind and product.

    Parameters
    ----------
    records : iterable of ccdflow.run.job_records.Record
        Records of calibrated frames. Frames that were not made, or have no measured effects, do not
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
        for (kind, product, unit), values in sorted(effects.items(), key=_order_of_masters)
    ]


def _effects_of_frames(records):
    """Yield ((kind, product, unit), values of an `Effect`) of each frame and master."""
    for record in records:
        if record.status != job_records.MADE:
            continue
        # Each access to a record's data decodes JSON text: here it is decoded once.
        data = dict(record.data.items())
        # Older results: records have no entry `helps`.
        if data.get("helps"):
            masters = {kind: product for kind, product, _ in record.basis["masters"]}
            for kind, values in data["helps"].items():
                yield (kind, masters[kind], data["unit"]), values


def lines_on_harm(sums):
    """Return the last lines on biases and flats that do harm.

    Harmful darks are reported by their own pixels (`ccdflow.detector.benefit`) when they are made.

    Parameters
    ----------
    sums : list of list
        Results of `sums_of_effects` for the parts of an archive.

    Returns
    -------
    list of str
    """
    sums_without_darks = ([entry for entry in part if entry[0] != "dark"] for part in sums)
    harmful = [master for master in _helps_of_sums(sums_without_darks) if master.harms]
    sentences = [
        f"{master.kind} does harm: {master.product}: {master.figures_in_words()};"
        f" {count(master.n_frames, 'frame')}; more of its frames would help"
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
    groups = filter(None, (context.find_group(master.product) for master in helps))
    names = master_names(groups)
    names_of_harmful = ", ".join(_master_in_words(master, names) for master in harmful)
    sentence = (
        f"{len(harmful)} of {len(helps)} masters {'does' if len(harmful) == 1 else 'do'} harm:"
        f" {names_of_harmful}: more of its frames would help."
        if harmful
        else ""
    )
    unit = " or ".join(dict.fromkeys(short_unit(master.unit) for master in helps))
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
            f" {_HARM_ERRORS:g} errors and {100 * _HARM_FRACTION:g} % of the squared noise without"
            " it; it helps if they are as much less, or if it takes more structure than the frame's"
            " noise. A dash: not judged, because the structure of a spectrum is no fault.",
        ),
        headings=(
            "Master", "Verdict", f"Noise with ({unit})", f"Noise without ({unit})",
            f"Structure with ({unit})", f"Structure without ({unit})", "Frames",
        ),
        rows=tuple(_effect_cells(master, _master_in_words(master, names)) for master in helps),
    )  # fmt: skip


def _effect_cells(master, name):
    """Return the cells of a master's row in the table of effects."""
    effect = master.effect
    return (
        name,
        master.verdict,
        *(
            figure_text(value**0.5)
            for value in (effect.noise_variance, effect.noise_variance_without)
        ),
        *(
            # `measure_effects` sets the structure of spectra to 0.
            figure_text(value**0.5, 3) if effect.structure_variance_error or value else EMPTY_CELL
            for value in (effect.structure_variance, effect.structure_variance_without)
        ),
        str(master.n_frames),
    )


def _master_in_words(master, names):
    """Return the name of a master in words: ``dark 300 s of 2016-01-15``."""
    file = PurePosixPath(master.product)
    return names.get(master.product) or NamedFile(file.stem, file=master.product)
