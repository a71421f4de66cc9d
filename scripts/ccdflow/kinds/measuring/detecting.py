"""The measurement of a detector from the masters of a night and their members, as a job does it."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from ccdflow.detector.photons.night_transfer import (
    Transfer,
    band_rows,
    by_exposure,
    measure_transfer,
)
from ccdflow.detector.pixels.bad_pixels import (
    DarkFit,
    dark_mask,
    sample_rows,
    strips,
    surroundings,
)
from ccdflow.detector.pixels.columns import expand, flagged, sums_of
from ccdflow.detector.pixels.deep_faults import deep_columns
from ccdflow.detector.pixels.history import SOURCES
from ccdflow.detector.pixels.response import LOW, Weak, response
from ccdflow.detector.pixels.two_levels import average_levels, nonlinear_mask, two_levels
from ccdflow.frame.products import product_images
from ccdflow.frame.readout import ROUNDING
from ccdflow.kinds.masters.combining import are_too_few
from ccdflow.kinds.masters.member_rows import MemberRows, whole_image
from ccdflow.kinds.matching import association
from ccdflow.kinds.measuring.noise_words import is_spectrum
from ccdflow.maskbits import (
    BAD_COLUMN,
    DEAD,
    HOT,
    NO_DATA,
    NOT_FINITE,
    SATURATED,
    UNLIT,
    VARIES,
)
from ccdflow.pages.words import with_error
from ccdflow.run import ledger
from ccdflow.run.context import reduced

# Part of low pixels above which a flat has structure of its own: a spectrum, stars.
_MOST_LOW = 0.02
_ONLY_DEEP = "they tell of no low pixels, only of columns a fifth or more below their neighbours"
# Part by which a gain or read noise must be off for a warning ...
_LEAST_DEPARTURE = 0.05
# ... and standard errors, as well.
_DEPARTURE_ERRORS = 3.0
# Factor above the measured saturation from which on the profile's is warned of.
_ABOVE_FULL_WELL = 1.02
# Read noise where none is known, adu.
_READ_NOISE = 5.0
_UNUSABLE = SATURATED | NOT_FINITE | NO_DATA | UNLIT


@dataclass
class FoundOfImage:
    """The findings of a night on the pixels of an image.

    Attributes
    ----------
    masks : dict of str to numpy.ndarray
        By `ccdflow.detector.pixels.history.SOURCES`: (ny, nx), int16.
    weak : ccdflow.detector.pixels.response.Weak or None
        None where flats do not tell.
    """

    masks: dict
    weak: Weak | None = None


@dataclass(frozen=True)
class NightFindings:
    """The findings of a night on a detector.

    Attributes
    ----------
    images : list of FoundOfImage
    figures : list of dict
        Of each amplifier.
    looked : list of str
        Those of `SOURCES` that could tell of bad pixels.
    remarks : list of str
    """

    images: list
    figures: list
    looked: list
    remarks: list = field(default_factory=list)


class NightMeasurement:
    """The masters of a night that one detector took in one way.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group
        Of the measurement.
    """

    def __init__(self, context, group):
        self.context = context
        self.group = group
        made, few = {"dark": [], "flat": []}, {"dark": [], "flat": []}
        for step in group.steps:
            for use in step.uses:
                record = context.outcome(use.product)
                if record is not None and record.status == ledger.MADE:
                    made[step.kind].append(record)
                elif record is not None and are_too_few(record):
                    few[step.kind].append(record)
        self.darks, self.flats = made["dark"], made["flat"]
        # Flats too few for a combined flat tell the gain if two of them are of one exposure.
        self.pairs = [record for record in few["flat"] if self._has_pair(record)]

    @cached_property
    def row(self):
        """The row of one of the members: all have the same amplifiers."""
        return self.context.row_of(reduced(self._files[0]))

    @property
    def _files(self):
        return [f for record in self._all for f in record.data["members"]]

    @property
    def _all(self):
        return (*self.darks, *self.flats, *self.pairs)

    @cached_property
    def images(self):
        """The images that each frame has."""
        store = self.context.store
        return product_images(store.geometry(self.row.geometry), self.recipe)

    @property
    def recipe(self):
        """The recipe by which the members were reduced."""
        return self.context.store.recipe(self.row.recipe)

    def place(self, amplifier):
        """Return the region of an amplifier in an image."""
        return amplifier.place if self.recipe.trim else amplifier.data

    def bias_of(self, record):
        """Return the record of the bias that was subtracted from the members of a master."""
        return self._subtracted(record, "bias")

    def _subtracted(self, record, kind):
        group = self.context.groups[record.product]
        for step in group.steps:
            if step.kind == kind and (use := association.taken(self.context, step)):
                return self.context.outcome(use.product)
        return None

    def masters_of(self, record):
        """Return the records of the bias, and of the dark beside it, that a flat's members lack."""
        masters = {kind: self._subtracted(record, kind) for kind in ("bias", "dark")}
        if masters["bias"] is None:
            return {}
        return {kind: master for kind, master in masters.items() if master is not None}

    def use_of(self, record):
        """Return how a master tells of bad pixels: 'dark', 'flat', 'spectrum' or 'not used'."""
        if any(record is each for each in self.flats):
            return "spectrum" if self._is_spectrum(record) else "flat"
        used = self._of_one_temperature()
        return "dark" if any(record is each for each in used) else "not used"

    def _dark_rate(self, record, image, place):
        """Return the rate of the dark of a flat's members, (ny, nx), adu a second; or 0."""
        dark = self._subtracted(record, "dark")
        if dark is None:
            return np.float32(0)
        pixels = whole_image(self.context.results / dark.product, image.hdu)[place.slices]
        return np.nan_to_num(pixels) / np.float32(dark.data["seconds"])

    def seconds(self, record):
        """Return the exposure time of each member of a master, NaN where it is not known."""
        rows = [self.context.row_of(reduced(file)) for file in record.data["members"]]
        return [exposure_of(row) for row in rows]

    def _of_known_exposure(self, record):
        """Return the record of a master with only those members whose exposure is known."""
        members = zip(record.data["members"], self.seconds(record), strict=True)
        known = [file for file, seconds in members if math.isfinite(seconds)]
        return replace(record, data={**record.data, "members": known})

    def _has_pair(self, record):
        known = [seconds for seconds in self.seconds(record) if math.isfinite(seconds)]
        return any(len(members) > 1 for members in by_exposure(known))

    # -- all of it ---------------------------------------------------------------------------------

    def measure(self, hot_rate, *, like_ccdmask=False, low_sigma=LOW):
        """Return the `NightFindings`.

        Parameters
        ----------
        hot_rate : float
            Electrons a second above the median from which on a pixel is hot.
        like_ccdmask : bool
            Whether what `ccdproc.ccdmask` finds in flats of two levels is bad as well.
        low_sigma : float
            Sigma by which a low pixel is below its neighbours in all flats together.
        """
        images, figures, remarks, looked = [], [], [], set()
        for image in self.images:
            in_image = FoundOfImage({name: np.zeros(image.shape, np.int16) for name in SOURCES})
            transfers = {a.name: self._transfer(image, a) for a in image.amplifiers}
            rates = {}
            looked |= self._flat_mask(image, in_image, remarks, low_sigma)
            for amplifier in image.amplifiers:
                rate = self._dark_mask(
                    image, amplifier, transfers, hot_rate, in_image.masks["dark"]
                )
                rates[amplifier.name] = math.nan if rate is None else rate
                if rate is not None:
                    looked.add("dark")
                if self._level_mask(image, amplifier, transfers, in_image.masks, like_ccdmask):
                    looked.add("levels")
            images.append(in_image)
            both = np.bitwise_or.reduce(list(in_image.masks.values()))
            for amplifier in image.amplifiers:
                own = self._figures(amplifier, transfers[amplifier.name])
                own |= self._counts(both[self.place(amplifier).slices], looked)
                figures.append(own | {"dark_rate": rates[amplifier.name]})
                several = len(figures) > 1 or len(image.amplifiers) > 1
                remarks += self._remarks(own, several)
                remarks += self._of_full_well(amplifier, own, several)
        return NightFindings(images, figures, sorted(looked), remarks)

    # -- flats -------------------------------------------------------------------------------------

    def read_noise(self, amplifier, record=None):
        """Return the read noise of an amplifier, adu, its error, and whether it was measured.

        Parameters
        ----------
        amplifier : ccdflow.camera.geometry.Amplifier
        record : ccdflow.run.ledger.Record, optional
            Of the only dark or flat whose bias is asked for; by default the first one that has a
            bias with a measured noise tells.

        Returns
        -------
        (float, float, bool)
        """
        for master in self._all if record is None else (record,):
            bias = self.bias_of(master)
            for figures in bias.data.get("quality", ()) if bias is not None else ():
                value, error = figures["read_noise"], figures["read_noise_error"]
                if figures["amplifier"] == amplifier.name and value and math.isfinite(value):
                    return value, error if math.isfinite(error) else 0.0, True
        if amplifier.read_noise and amplifier.gain:
            value = math.hypot(amplifier.read_noise / amplifier.gain, ROUNDING**0.5)
            return value, 0.1 * value, False
        return _READ_NOISE, _READ_NOISE, False

    def _transfer(self, image, amplifier):
        flats = [r for r in (*self.flats, *self.pairs) if self.level_is_out(r, amplifier)]
        usable = [self._of_known_exposure(r) for r in flats]
        usable = [r for r in usable if len(r.data["members"]) > 1]
        if not usable:
            return Transfer()
        noise, error, _ = self.read_noise(amplifier)
        place = self.place(amplifier)
        if min(place.y1 - place.y0, place.x1 - place.x0) < 16:
            return Transfer()
        rows = band_rows(place.y0, place.y1)

        def groups():
            for record in usable:
                with MemberRows(self, record, image) as stack:
                    values = stack.rows(rows)[:, :, place.x0 : place.x1]
                yield self.seconds(record), values

        return measure_transfer(groups(), noise, error)

    def level_is_out(self, record, amplifier):
        """Tell whether the bias level is out of the members of a master.

        Parameters
        ----------
        record : ccdflow.run.ledger.Record
            Of the combined dark or flat.
        amplifier : ccdflow.camera.geometry.Amplifier
        """
        is_subtracted = self.recipe.subtract and bool(amplifier.overscan)
        return is_subtracted or self.bias_of(record) is not None

    def _flat_mask(self, image, found, remarks, low_sigma):
        """Flag weak pixels and deep columns of the combined flats; return the usable sources."""

        def pairs(flats):
            for record in flats:
                path = self.context.results / record.product
                pixels = whole_image(path, image.hdu)
                errors = whole_image(path, f"UNCERT{image.suffix}")
                errors[(whole_image(path, f"MASK{image.suffix}") & _UNUSABLE) != 0] = np.inf
                errors[~(errors > 0) | ~np.isfinite(pixels)] = np.inf
                yield np.nan_to_num(pixels, nan=1.0), errors

        if not self.flats:
            return set()
        found.masks["deep"][deep_columns(pairs(self.flats))] |= BAD_COLUMN
        imaging = [record for record in self.flats if not self._is_spectrum(record)]
        if not imaging:
            remarks.append(f"its flats are spectra: {_ONLY_DEEP}")
            return {"deep"}
        parts = [np.s_[:, :]]
        if None in {a.gain for a in image.amplifiers}:
            parts = [self.place(amplifier).slices for amplifier in image.amplifiers]
        own = response(pairs(imaging), low_sigma=low_sigma, parts=parts)
        if own.low_part > _MOST_LOW:
            remarks.append(
                f"{100 * own.low_part:.2g} % of the lit pixels of its flats are lower than their"
                f" neighbours, a structure as fine as pixels: {_ONLY_DEEP}"
            )
            return {"deep"}
        found.masks["flat"], found.weak = own.mask, own.weak
        return {"deep", "flat"}

    def _is_spectrum(self, record):
        """Tell whether the members of a combined flat were taken through a grism."""
        return is_spectrum(self.context.row_of(reduced(record.data["members"][0])))

    def _level_mask(self, image, amplifier, transfers, masks, like_ccdmask):
        """Flag pixels that differ between flats of two levels; tell if there are such flats.

        A pixel that is hot differs between exposures, and is flagged by the darks.
        """
        gain = self._gain(amplifier, transfers)
        place, has_told = self.place(amplifier), False
        noise = gain, self.read_noise(amplifier)[0]
        ny, nx = place.y1 - place.y0, place.x1 - place.x0
        for record in map(self._of_known_exposure, self.flats):
            is_usable = record.data["members"] and self.level_is_out(record, amplifier)
            if not math.isfinite(gain) or not is_usable:
                continue
            seconds = np.array(self.seconds(record), np.float32)[:, None, None]
            rate = np.broadcast_to(self._dark_rate(record, image, place), (ny, nx))
            with MemberRows(self, record, image) as stack:

                def read(rows, stack=stack, seconds=seconds, rate=rate):
                    values = stack.rows(rows + place.y0)[:, :, place.x0 : place.x1]
                    return values - seconds * rate[rows]

                levels = np.nanmedian(read(sample_rows(ny)), axis=(1, 2))
                groups = two_levels(levels)
                if groups is None:
                    continue
                parts = [
                    average_levels(read(np.arange(part.start, part.stop)), levels, groups, noise)
                    for part in strips((ny, nx))
                ]
            nonlinear = nonlinear_mask(np.concatenate(parts, axis=1), like_ccdmask=like_ccdmask)
            nonlinear[masks["dark"][place.slices] & HOT != 0] = 0
            masks["levels"][place.slices] |= nonlinear
            has_told = True
        return has_told

    @staticmethod
    def _gain(amplifier, transfers):
        """Return the gain of an amplifier, or the measured one; NaN where there is none."""
        return amplifier.gain or transfers[amplifier.name].gain

    # -- darks -------------------------------------------------------------------------------------

    def _dark_mask(self, image, amplifier, transfers, hot_rate, mask):
        """Flag an amplifier's pixels by its darks; return its rate, None where they tell none."""
        records = self._of_one_temperature()
        if not records:
            return None
        gain = self._gain(amplifier, transfers)
        gain = gain if math.isfinite(gain) else 1.0
        place = self.place(amplifier)
        if len({round(r.data["seconds"], 3) for r in records}) < 2:
            return self._hot_only(image, place, records[0], gain, hot_rate, mask)
        noise = self.read_noise(amplifier)[0] * gain
        times = [t for record in records for t in [record.data["seconds"]] * _count(record)]
        with ExitStack() as open_:
            stacks = [open_.enter_context(MemberRows(self, r, image)) for r in records]

            def read(rows):
                parts = [stack.rows(rows)[:, :, place.x0 : place.x1] for stack in stacks]
                values = np.concatenate(parts)
                values *= np.float32(gain)
                return values

            shape = place.y1 - place.y0, place.x1 - place.x0
            fit = DarkFit(read(sample_rows(shape[0]) + place.y0), times, noise, drop_hits=True)
            sums = []
            for part in strips(shape):
                lines = fit.lines(read(np.arange(part.start, part.stop) + place.y0))
                rows = slice(part.start + place.y0, part.stop + place.y0)
                mask[rows, place.x0 : place.x1] |= dark_mask(
                    lines, hot=hot_rate, level=fit.rate, scales=fit.scales
                )
                sigma = (lines.rate - fit.rate) / (lines.rate_error * fit.scales[0])
                sums.append(sums_of(np.nan_to_num(sigma, nan=0.0).astype(np.float32)))
        self._flag_columns(mask, place, np.concatenate(sums))
        return fit.rate

    def _of_one_temperature(self):
        """Return the darks of the temperature that has most exposures, shortest first."""
        by_temperature = {}
        for record in self.darks:
            shared = dict(self.context.groups[record.product].shared)
            by_temperature.setdefault(shared.get("temperature", ""), []).append(record)
        best = max(by_temperature.values(), key=len, default=[])
        return sorted(best, key=lambda record: record.data["seconds"])

    def _hot_only(self, image, place, record, gain, hot_rate, mask):
        """Flag pixels that are hot in the only combined dark."""
        path, seconds = self.context.results / record.product, record.data["seconds"]
        part = place.slices
        factor = np.float32(gain / seconds)
        rate = whole_image(path, image.hdu)[part] * factor
        error = whole_image(path, f"UNCERT{image.suffix}")[part] * factor
        level = float(np.nanmedian(rate))
        usual = float(np.nanmedian(error))
        with np.errstate(invalid="ignore"):
            above = rate - surroundings(rate, level)
            hot = above > np.maximum(hot_rate, 5 * np.fmax(error, usual))
        mask[part][hot | ~np.isfinite(rate)] |= HOT
        sigma = np.nan_to_num((rate - level) / usual, nan=0.0).astype(np.float32)
        self._flag_columns(mask, place, sums_of(sigma))
        return level

    @staticmethod
    def _flag_columns(mask, place, sums):
        columns = expand(flagged(sums), place.y1 - place.y0)
        mask[place.slices][columns] |= BAD_COLUMN

    # -- remarks on them ---------------------------------------------------------------------------

    def _counts(self, mask, looked):
        """Return the numbers of an amplifier's bad pixels; NaN where nothing could tell."""
        several = len({round(r.data["seconds"], 3) for r in self._of_one_temperature()}) > 1
        told = {
            "hot": (HOT, "dark" in looked),
            "varies": (VARIES, "dark" in looked and several),
            "low": (DEAD, "flat" in looked),
            "columns": (BAD_COLUMN, bool({"dark", "flat", "levels"} & looked)),
        }
        # Deep columns alone are a number; none of them does not say that no column is bad.
        if np.any(mask & BAD_COLUMN):
            told["columns"] = BAD_COLUMN, True
        return {
            name: int(np.count_nonzero(mask & bit)) if is_told else math.nan
            for name, (bit, is_told) in told.items()
        }

    def _figures(self, amplifier, transfer):
        """Return the figures of an amplifier."""
        noise, error, is_measured = self.read_noise(amplifier)
        gain = transfer.gain if math.isfinite(transfer.gain) else amplifier.gain or math.nan
        facts = self.row.facts
        return {
            "amplifier": amplifier.name,
            "flats": transfer.frames,
            "level": transfer.level,
            "gain": transfer.gain,
            "gain_error": transfer.gain_error,
            "gain_used": amplifier.gain or math.nan,
            "gain_header": self._of_header(amplifier.gain, facts["gain"]),
            "read_noise": noise * gain if is_measured else math.nan,
            "read_noise_error": _error_of(noise, error, transfer) if is_measured else math.nan,
            "read_noise_used": amplifier.read_noise or math.nan,
            "read_noise_header": self._of_header(amplifier.read_noise, facts["rdnoise"]),
            "departure": transfer.departure,
            "departure_error": transfer.departure_error,
            "full_well": transfer.full_well,
        }

    def _of_header(self, own, fact):
        """Return the header's value for an amplifier: of several, each has one of its own."""
        geometry = self.context.store.geometry(self.row.geometry)
        is_its_own = geometry.source == "header" and len(geometry.amplifiers) > 1
        return float(own) if own and is_its_own else _positive_or_nan(fact)

    def _of_full_well(self, amplifier, figures, several):
        """Return [a sentence on full pixels], or [] if a card or the profile has their value."""
        well, known = figures["full_well"], amplifier.saturation
        levels = self.context.outcome(reduced(self._files[0])).data["levels"]
        if not math.isfinite(well) or amplifier.name not in levels:
            return []
        raw = well + levels[amplifier.name]
        if known is not None and known < _ABOVE_FULL_WELL * raw:
            return []
        where = f"amplifier {figures['amplifier']}: " if several else ""
        says = (
            "neither profile nor header has a saturation, and calibrated frames get bit 1 there"
            if known is None
            else f"profile or header say {known:g}"
        )
        return [f"{where}pixels are full at {raw:.0f} adu (raw) by their flats; {says}"]

    def _remarks(self, figures, several):
        """Return sentences on gain and read noise that differ from header or profile."""
        where = f"amplifier {figures['amplifier']}: " if several else ""
        remarks = []
        for name, unit in (("gain", "electrons per adu"), ("read_noise", "electrons")):
            value, error = figures[name], figures[f"{name}_error"]
            if not (math.isfinite(value) and math.isfinite(error)):
                continue
            used = figures[f"{name}_used"]
            header = figures[f"{name}_header"]
            claim = used if math.isfinite(used) else header
            limit = max(_LEAST_DEPARTURE * value, _DEPARTURE_ERRORS * error)
            is_of_header = math.isclose(claim, header, rel_tol=1e-3)
            claims = []
            if abs(value - claim) > limit:
                claims.append(f"the {'header' if is_of_header else 'profile'} has {claim:g}")
            if not is_of_header and abs(value - header) > limit:
                claims.append(f"the header has {header:g}")
                # A wrong card of the header is no fault where the profile has a better value.
                claims += ["the profile has the right one"] * (len(claims) == 1)
            if claims:
                remarks.append(
                    f"{where}{name.replace('_', ' ')} {with_error(value, error)} {unit} is"
                    f" measured, {', '.join(claims)}"
                )
            if name == "gain" and not math.isfinite(used):
                remarks.append(
                    f"{where}neither profile nor header has a gain: the measured"
                    f" {with_error(value, error)} electrons per adu is used"
                )
        return remarks


def exposure_of(row):
    """Return the exposure of a frame in seconds, NaN where it is not known or 0."""
    return _positive_or_nan(row.facts["exptime"])


def _error_of(noise, error, transfer):
    """Return the error of a read noise in electrons."""
    if not math.isfinite(transfer.gain):
        return math.nan
    return math.hypot(error * transfer.gain, noise * transfer.gain_error)


def _positive_or_nan(value):
    is_number = isinstance(value, int | float) and math.isfinite(value) and value > 0
    return float(value) if is_number else math.nan


def _count(record):
    return len(record.data["members"])
