"""The measurements of a detector by a night's darks and flats: bad pixels, gain of amplifiers."""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import cached_property, partial

import numpy as np

from ccdflow import paths
from ccdflow.calibrate.extras import Extras
from ccdflow.camera.profiles import MEASURED
from ccdflow.detector.cosmics import search
from ccdflow.detector.flat_figures import gain_differs
from ccdflow.detector.pixels.response import LOW
from ccdflow.kinds.dark import DARK
from ccdflow.kinds.flat import FLAT
from ccdflow.kinds.masters import member_masters
from ccdflow.kinds.masters.combining import short
from ccdflow.kinds.matching.setups import epoch_of
from ccdflow.kinds.measuring import detecting, measurement_cards, pixel_tables
from ccdflow.kinds.measuring.detector_setups import SETUP_FACTS, names_of, pixels_of, setup_of
from ccdflow.kinds.measuring.measurement_kind import MeasurementKind
from ccdflow.pages.page import Section
from ccdflow.pages.words import with_error
from ccdflow.run import ledger
from ccdflow.run.job import Group, Step, Use
from ccdflow.run.rawframes.rows import digest

# Factor over the level of full pixels that no night's flats exceed.
_SAME_WELL = 1.02


class NightDetector(MeasurementKind):
    """The measurements of a detector by the darks and flats of a night."""

    name = "detector"
    rule = "measure_detector"
    plans_some_nights = True
    words = ("measurement of a detector", "measurements of detectors")
    short = "measurements of detectors"
    version = 5
    why_moved = "there are no such darks or flats any more"

    def has_name(self, product):
        """Tell whether a path is that of the measurement of a night."""
        return paths.is_of_night(product, "pixels_")

    def is_enabled(self, context):
        """Tell whether the configuration asks for measurements."""
        return context.settings["detector"]["enabled"]

    # -- planning ----------------------------------------------------------------------------------

    def plan(self, planner):
        """Want the measurement of each detector in each night with darks or flats."""
        context = planner.context
        if not self.is_enabled(context) or not (
            DARK.is_enabled(context) or FLAT.is_enabled(context)
        ):
            planner.keep_all_of(self)
            return
        context.groups.update(self._make_groups(context))
        for group in self.groups(context):
            if context.is_settled(group.product):
                planner.keep(group.product)
                continue
            basis = self.group_basis(context, group)
            masters = [use.product for step in group.steps for use in step.uses]
            planner.want(self, group.product, group.night, basis, needs=masters)

    def _make_groups(self, context):
        by_setup = {}
        for kind in (DARK, FLAT):
            if not kind.is_enabled(context):
                continue
            for master in kind.groups(context):
                if context.is_closed(master.shown):
                    continue
                row = context.store.rows[master.files[0]]
                setup = setup_of(context, row)
                by_setup.setdefault((master.shown, setup), []).append(master)
        groups, names = {}, names_of(by_setup)
        for (night, setup), masters in by_setup.items():
            camera = dict(setup)["camera"]
            product = paths.measured_detector(camera, night, names[night, setup])
            steps = tuple(
                Step(
                    kind.name,
                    tuple(Use(m.product, 0, 1.0, 0.0, "A") for m in masters if m.kind == kind.name),
                )
                for kind in (DARK, FLAT)
            )
            shared = (*setup, ("epoch", epoch_of(context, camera, night)))
            files = tuple(sorted({file for m in masters for file in m.files}))
            groups[product] = Group(
                product, night, camera, shared, files, (night,), self.name, steps
            )
        return groups

    def group_basis(self, context, group):
        """Return the settings and the masters as they turned out."""
        masters = [
            [record.product, record.key, record.status]
            for step in group.steps
            for use in step.uses
            if (record := context.outcome(use.product)) is not None
        ]
        return {"arithmetic": self.version, "settings": _settings(context), "masters": masters}

    def what_changed(self, before, now):
        """Say why a measurement is out of date."""
        return "its masters changed" if before["masters"] != now["masters"] else "settings changed"

    # -- the job -----------------------------------------------------------------------------------

    def make(self, context, job, *, threads):
        """Measure a detector from the masters of a night and their members."""
        group = context.groups[job.product]
        basis = self.group_basis(context, group)
        record = ledger.Record(job.product, self.name, digest(basis), basis=basis)
        night = detecting.NightMeasurement(context, group)
        if not night.darks and not night.flats:
            reason = "no combined dark or flat was made of this night's frames"
            return ledger.Record(
                job.product, self.name, record.key, ledger.REFUSED, reason, basis=basis
            )
        findings = night.measure(**_settings(context))
        record = ledger.Record(
            job.product,
            self.name,
            record.key,
            basis=basis,
            data={
                "night": group.night,
                "looked": findings.looked,
                "shapes": [list(one.masks["flat"].shape) for one in findings.images],
                "quality": [{k: short(v) for k, v in each.items()} for each in findings.figures],
                "remarks": findings.remarks,
            },
        )
        cards = [
            ("CCDFCAM", group.camera, "camera"),
            ("NIGHT", group.night, "night whose darks and flats tell"),
            ("LOOKED", " ".join(findings.looked), "what of the night could tell"),
            *pixel_tables.weak_cards_of(findings.images),
            *measurement_cards.cards_of_pixels(night, findings, _settings(context)),
        ]
        return pixel_tables.write_product(
            context,
            record,
            cards,
            PIXELS=pixel_tables.columns_of(findings.images),
            WEAK=pixel_tables.weak_columns_of(findings.images),
        )

    # -- lines, sections, flags --------------------------------------------------------------------

    def closing(self, context, records):
        """Return the differences to header or profile, of the newest night of each setup."""
        newest = {}
        for record in sorted(records, key=lambda r: r.data.get("night", "")):
            group = context.groups.get(record.product)
            if record.status == ledger.MADE and group is not None:
                newest[group.shared] = record
        return [
            f"detector: {record.product}: {text}"
            for record in newest.values()
            for text in record.data["remarks"]
        ]

    def section(self, context, night):
        """Return the section on each amplifier's figures by a night's flats and darks."""
        rows, sentences = [], []
        for group in self.night_groups(context, night):
            record = context.outcome(group.product)
            if record is None or record.status != ledger.MADE:
                continue
            sentences += [f"The detector: {text}." for text in record.data["remarks"]]
            for figures in record.data["quality"]:
                rows.append(
                    (
                        f"{group.camera} {figures['amplifier']}",
                        _with_error(figures["gain"], figures["gain_error"]),
                        _figure_text(figures["gain_used"]),
                        _with_error(figures["read_noise"], figures["read_noise_error"]),
                        _with_error(100 * figures["departure"], 100 * figures["departure_error"]),
                        _figure_text(figures["full_well"]),
                        *(_count_text(figures[name]) for name in _COUNTS),
                    )
                )  # fmt: skip
        if not rows:
            return None
        headings = (
            "Amplifier", "Gain, e-/adu", "Gain in use", "Read noise, e-", "Not linear, %",
            "Full well, adu", "Hot", "Varying", "Low", "In bad columns",
        )  # fmt: skip
        text = (
            "Gain by photon transfer from flats of one exposure, read noise from pairs of biases;"
            " departure from linearity at half of the full well. The last four columns count"
            " pixels; a dash: not determined, because no dark or no such flat of the night tells."
        )
        return Section(
            "detector",
            "The detector",
            tuple(sentences),
            (text,),
            headings=headings,
            rows=tuple(rows),
        )


def _settings(context):
    """Return the settings of a measurement, as `detecting.NightMeasurement.measure` takes them."""
    own = context.settings["detector"]
    # A switch that is off changes no key, nor does the usual limit.
    options = {"hot_rate": own["hot_rate"]} | ({"like_ccdmask": True} if own["ccdmask"] else {})
    return options | ({"low_sigma": own["low_sigma"]} if own["low_sigma"] != LOW else {})


_COUNTS = ("hot", "varies", "low", "columns")


def _count_text(count):
    return str(count) if isinstance(count, int) else "–"


def _figure_text(value):
    return f"{value:.4g}" if isinstance(value, float) and math.isfinite(value) else ""


def _with_error(value, error):
    return with_error(value, error) if isinstance(value, float) and math.isfinite(value) else ""


DETECTOR = NightDetector()


def pixels_for(context, row):
    """Return the measurements that tell which pixels of a frame are bad, newest first.

    Parameters
    ----------
    context : ccdflow.run.context.Planning
    row : ccdflow.run.rawframes.rows.Row
        Of the frame.

    Returns
    -------
    tuple of str
        Those of the newest nights up to that of the frame, in its epoch; where there are none,
        those of the next night.
    """
    if not DETECTOR.is_enabled(context):
        return ()

    def make():
        by_setup = {}
        for group in DETECTOR.groups(context):
            key = (*pixels_of(group.shared), dict(group.shared)["epoch"])
            by_setup.setdefault(key, {}).setdefault(group.night, []).append(group.product)
        return {key: (sorted(nights), nights) for key, nights in by_setup.items()}

    own = tuple(row.facts[name] for name in (*SETUP_FACTS, "part"))
    setup = context.lookup(
        ("detector's setup", row.camera, row.geometry, own), lambda: setup_of(context, row)
    )
    key = (*pixels_of(setup), epoch_of(context, row.camera, row.night))

    def choose():
        none = ([], {})
        in_order, nights = context.lookup(("pixels by night", DETECTOR.name), make).get(key, none)
        end, most = bisect_right(in_order, row.night), context.settings["detector"]["nights"]
        chosen = in_order[max(0, end - most) : end] if end else in_order[:1]
        return tuple(product for night in reversed(chosen) for product in nights[night])

    return context.lookup(("pixels for", row.night, *key), choose)


def measurements_of(context, products):
    """Return the records of those measurements that were made, oldest first.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    products : iterable of str
        Measurements.

    Returns
    -------
    list of ccdflow.run.ledger.Record
    """
    records = [context.outcome(product) for product in products]
    made = [r for r in records if r is not None and r.status == ledger.MADE]
    return sorted(made, key=lambda r: (r.data.get("night", ""), r.product))


def how_measured(context, row):
    """Return the profile's choices that a job needs: (("gain", "measured"),) or ().

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.rawframes.rows.Row
        The row of a raw frame.
    """
    profile = next((each for each in context.cameras if each.name == row.camera), None)
    return (("gain", MEASURED),) if profile is not None and profile.measures_gain else ()


class Measured:
    """The corrections of a frame by the measurements of its detector.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group
        Of the frame.
    row : ccdflow.run.rawframes.rows.Row
    settings : dict
        The block ``calibrate`` of the configuration.
    """

    def __init__(self, context, group, row, settings):
        self._context = context
        self._group = group
        self._row = row
        self._settings = settings

    @cached_property
    def records(self):
        """The measurements that were made, oldest first."""
        records = measurements_of(self._context, self._group.pixels)
        return [record for record in records if record.kind == DETECTOR.name]

    @cached_property
    def basis(self):
        """The part of the frame's key on them; [] for nothing."""
        return [[record.product, record.key] for record in self.records]

    def gain(self, amplifier):
        """Return the measured gain of an amplifier, None where that in use is not measured.

        Where an image has several amplifiers, their flat, made without gains, has the ratios of
        their adu, and the mean of their gains turns a frame over it into electrons.
        """
        if amplifier.gain is not None:
            return None
        gains = self._gains
        if amplifier.name not in gains:
            return None
        return float(np.mean([gain for gain, _ in gains.values()]))

    def gain_of_noise(self, amplifier, flat):
        """Return the measured gain by which UNCERT is made, None where that in use is borne out.

        Parameters
        ----------
        amplifier : ccdflow.camera.geometry.Amplifier
        flat : ccdflow.run.ledger.Record or None
            Of the frame's combined flat, whose gain is taken where no night's is measured.

        Returns
        -------
        float or None
            Electrons per adu.
        """
        if self.gain(amplifier) is not None:
            return None
        if amplifier.name not in self._gains:
            return member_masters.measured_gain(flat, amplifier)
        measured, error = self._gains[amplifier.name]
        if amplifier.gain is None or gain_differs(amplifier.gain, measured, error):
            return measured
        return None

    def full_well(self, amplifier):
        """Return the level at which pixels are full, adu above bias: the median of the nights.

        None where no night's flats were full, or any night's lie above it.
        """
        own = [each for each in self._figures if each["amplifier"] == amplifier.name]
        levels = [each["full_well"] for each in own if math.isfinite(each["full_well"])]
        if not levels:
            return None
        level = float(np.median(levels))
        return None if any(each["level"] > _SAME_WELL * level for each in own) else level

    @cached_property
    def _figures(self):
        """The figures of the nights of the same readout, oldest first."""
        setup, figures = setup_of(self._context, self._row), []
        for record in self.records:
            group = self._context.groups.get(record.product)
            if group is not None and group.shared[: len(setup)] == setup:
                figures += record.data.get("quality", ())
        return figures

    @cached_property
    def _gains(self):
        """{amplifier: (gain, error)}: the mean over nights of the same readout, by their errors."""
        sums = {}
        for each in self._figures:
            if math.isfinite(each["gain"]) and each["gain_error"] > 0:
                weight = each["gain_error"] ** -2
                total = sums.setdefault(each["amplifier"], [0.0, 0.0])
                total[0] += weight * each["gain"]
                total[1] += weight
        return {name: (total / weights, weights**-0.5) for name, (total, weights) in sums.items()}

    def extras(self, shapes):
        """Return the `ccdflow.calibrate.extras.Extras` of a frame.

        Parameters
        ----------
        shapes : list of (int, int)
            (ny, nx) of its images.
        """
        cards, masks = [], ()
        usable = [r for r in self.records if r.data["shapes"] == [list(s) for s in shapes]]
        if usable:
            share = self._context.settings["detector"]["share"]
            masks = pixel_tables.masks_of(self._context, usable, shapes, share)
            newest = usable[-1]
            cards += [
                ("BPMIM", newest.product, "newest measurement of bad pixels"),
                ("BPMKEY", newest.key, "its CCDFKEY"),
                ("BPMNTS", len(usable), "measurements that tell which pixels are bad"),
            ]
            if len(usable) > 1:
                text = "part of the nights in which a bad pixel is bad"
                cards.append(("BPMSHARE", float(share), text))
            for place, each in enumerate(usable[-2::-1][:98], start=2):
                cards += [
                    (f"BPMIM{place:02d}", each.product, "the one before it"),
                    (f"BPMKEY{place:02d}", each.key, "its CCDFKEY"),
                ]
        geometry = self._context.store.geometry(self._row.geometry)
        gains = {g for a in geometry.amplifiers if (g := self.gain(a)) is not None}
        if gains:
            cards.append(("GAINMEAS", short(gains.pop()), "[electron/adu] measured, and used here"))
        return Extras(masks, self._find_cosmics(), tuple(cards))

    def _find_cosmics(self):
        own = self._settings
        if not own["cosmic_rays"]:
            return None
        return partial(search, sigma=own["cosmic_sigma"], contrast=own["cosmic_contrast"])
