"""The measurements of a detector by a night's darks and flats: bad pixels, gain of amplifiers."""

from __future__ import annotations

import math

from ccdflow import paths
from ccdflow.detector.pixels.response import LOW_SIGMA
from ccdflow.files.values import short_number
from ccdflow.kinds.masters.combining import are_too_few
from ccdflow.kinds.masters.dark import DARK_KIND
from ccdflow.kinds.masters.flat import FLAT_KIND
from ccdflow.kinds.matching.setups import epoch_of
from ccdflow.kinds.measuring import measurement_cards, pixel_tables
from ccdflow.kinds.measuring.detector_setups import (
    detector_setup_of,
    names_of_setups,
    setups_in_words,
)
from ccdflow.kinds.measuring.measurement_kind import MeasurementKind
from ccdflow.kinds.measuring.night_masters import NightMasters
from ccdflow.kinds.measuring.night_measurement import measure_night
from ccdflow.pages.contents import Section
from ccdflow.pages.text_formatting import with_error
from ccdflow.run import job_records
from ccdflow.run.job import Group, Step, Use
from ccdflow.run.plan import WantedProduct
from ccdflow.run.rawframes.rows import digest

_COUNTS = ("hot", "varies", "low", "columns")


class NightDetector(MeasurementKind):
    """The measurements of a detector by the darks and flats of a night."""

    name = "detector"
    rule = "measure_detector"
    plans_some_nights = True
    nouns = ("measurement of a detector", "measurements of detectors")
    progress_noun = "measurements of detectors"
    version = 7
    header_version = 3
    why_moved = "there are no such darks or flats any more"

    def has_name(self, product):
        """Return whether a path is that of the measurement of a night."""
        return paths.is_measurement_of_night(product, "pixels_")

    def is_enabled(self, context):
        """Return whether the configuration asks for measurements."""
        return context.settings["detector"]["enabled"]

    # -- planning ----------------------------------------------------------------------------------

    def plan(self, planner):
        """Plan the measurement of each detector in each night with darks or flats."""
        context = planner.context
        if not self.is_enabled(context) or not (
            DARK_KIND.is_enabled(context) or FLAT_KIND.is_enabled(context)
        ):
            planner.keep_all_of(self)
            return
        context.groups.update(self._make_groups(context))
        for group in self.groups(context):
            if context.is_of_closed_night(group.product):
                planner.keep(group.product)
                continue
            basis = self.group_basis(context, group)
            masters = [use.product for step in group.steps for use in step.uses]
            planner.want(self, WantedProduct(group.product, group.night, basis, needs=masters))

    def _make_groups(self, context):
        """Return {product: Group} of the darks and flats that one detector took in a night."""
        masters_by_setup = {}
        for kind in (DARK_KIND, FLAT_KIND):
            if not kind.is_enabled(context):
                continue
            for master in kind.groups(context):
                if context.is_closed(master.night_of_page):
                    continue
                row = context.row(master.files[0])
                setup = detector_setup_of(context, row)
                masters_by_setup.setdefault((master.night_of_page, setup), []).append(master)
        groups, names = {}, names_of_setups(masters_by_setup)
        for (night, setup), masters in masters_by_setup.items():
            camera = dict(setup)["camera"]
            product = paths.measured_detector(camera, night, names[night, setup])
            steps = tuple(
                Step(
                    kind.name,
                    tuple(
                        Use(m.product, lag=0, scale=1.0, variance=0.0, grade="A")
                        for m in masters
                        if m.kind == kind.name
                    ),
                )
                for kind in (DARK_KIND, FLAT_KIND)
            )
            shared = (*setup, ("epoch", epoch_of(context, camera, night)))
            files = tuple(sorted({file for m in masters for file in m.files}))
            groups[product] = Group(
                product=product,
                night=night,
                camera=camera,
                shared=shared,
                files=files,
                nights=(night,),
                kind=self.name,
                steps=steps,
            )
        return groups

    def group_basis(self, context, group):
        """Return the settings and the masters as they turned out."""
        outcomes = [
            (step.kind, record)
            for step in group.steps
            for use in step.uses
            if (record := context.outcome(use.product)) is not None
        ]
        masters = [[record.product, record.key, record.status] for _, record in outcomes]
        basis = {
            "arithmetic": self.version,
            "settings": _settings_of_measurement(context),
            "masters": masters,
        }
        if any(kind == FLAT_KIND.name and are_too_few(record) for kind, record in outcomes):
            # Only nights with such flats are measured anew.
            basis["pairs"] = "tell the gain"
        return basis

    def what_changed(self, earlier_basis, current_basis):
        """Say why a measurement is out of date."""
        for name, words in (("masters", "its masters changed"), ("settings", "settings changed")):
            if earlier_basis[name] != current_basis[name]:
                return words
        return "new arithmetic"

    # -- the job -----------------------------------------------------------------------------------

    def make(self, context, job, *, threads):
        """Measure a detector from the masters of a night and their members."""
        group = context.group(job.product)
        basis = self.group_basis(context, group)
        key = digest(basis)
        night = NightMasters(context, group)
        if not night.darks and not night.flats and not night.pairs:
            reason = (
                "no combined dark or flat was made of this night's frames, and no two of its flats"
                " that are alike have one exposure"
            )
            return job_records.Record(
                job.product, self.name, key, job_records.REFUSED, reason, basis=basis
            )
        findings = measure_night(night, **_settings_of_measurement(context), threads=threads)
        record = job_records.Record(
            job.product,
            self.name,
            key,
            basis=basis,
            data={
                "night": group.night,
                "header": self.header_version,
                "looked": findings.looked,
                "shapes": [list(image.masks["flat"].shape) for image in findings.images],
                "quality": [
                    {k: short_number(v) for k, v in each.items()} for each in findings.figures
                ],
                "remarks": findings.remarks,
            },
        )
        cards = [
            ("CCDFCAM", group.camera, "camera"),
            ("NIGHT", group.night, "night of its darks and flats"),
            ("LOOKED", " ".join(findings.looked), "sources of the bad pixels"),
            *pixel_tables.weak_cards_of(findings.images),
            *measurement_cards.cards_of_pixels(night, findings, _settings_of_measurement(context)),
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
            group = context.find_group(record.product)
            if record.status == job_records.MADE and group is not None:
                newest[group.shared] = record
        names = setups_in_words(newest)
        return [
            f"detector: {names[shared]} of {record.data['night']}: {text}"
            for shared, record in newest.items()
            for text in record.data["remarks"]
        ]

    def section(self, context, night):
        """Return the section on each amplifier's figures by a night's flats and darks."""
        rows, sentences, units = [], [], set()
        groups = self.night_groups(context, night)
        names = setups_in_words([group.shared for group in groups])
        for group in groups:
            record = context.outcome(group.product)
            if record is None or record.status != job_records.MADE:
                continue
            name = names[group.shared]
            subject = f"The detector {name}" if len(names) > 1 else "The detector"
            sentences += [f"{subject}: {text}." for text in record.data["remarks"]]
            for figures in record.data["quality"]:
                units.add("e-" if _has_gain(figures) else "adu")
                rows.append(
                    (
                        f"{name} {figures['amplifier']}",
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
        hot_rate = f"{context.settings['detector']['hot_rate']:g} {' or '.join(sorted(units))}/s"
        headings = (
            "Amplifier", "Gain (e-/adu)", "Gain in use (e-/adu)", "Read noise (e-)",
            "Not linear (%)", "Full well (adu)", f"Hot ({hot_rate} above neighbours)", "Varying",
            "Low", "In bad columns",
        )  # fmt: skip
        text = (
            "Gain by photon transfer from flats of one exposure, read noise from pairs of biases;"
            " departure from linearity at half of the full well. Hot, varying and low pixels and"
            " those in bad columns are counted. A pixel is hot if the darks have it above its"
            " neighbours by the rate in the heading and by five errors, or not linear in time. A"
            " column that is missing, or a dash, was not determined: the night lacks the darks or"
            " flats for it."
        )
        return Section(
            "detector",
            "The detector",
            tuple(sentences),
            (text,),
            headings=headings,
            rows=tuple(rows),
        )


def _settings_of_measurement(context):
    """Return the settings of a measurement, as `night_measurement.measure_night` takes them."""
    detector_settings = context.settings["detector"]
    # A switch that is off changes no key, nor does the usual limit.
    options = {"hot_rate": detector_settings["hot_rate"]} | (
        {"like_ccdmask": True} if detector_settings["ccdmask"] else {}
    )
    return options | (
        {"low_sigma": detector_settings["low_sigma"]}
        if detector_settings["low_sigma"] != LOW_SIGMA
        else {}
    )


def _has_gain(figures):
    """Return whether the dark current of an amplifier is in electrons."""
    gains = figures["gain"], figures["gain_used"]
    return any(isinstance(gain, float) and math.isfinite(gain) for gain in gains)


def _count_text(count):
    """Return a count as text; a dash where nothing was counted."""
    return str(count) if isinstance(count, int) else "–"


def _figure_text(value):
    """Return a figure of four digits as text; '' where it is not known."""
    return f"{value:.4g}" if isinstance(value, float) and math.isfinite(value) else ""


def _with_error(value, error):
    """Return a value with its error as text; '' where the value is not known."""
    return with_error(value, error) if isinstance(value, float) and math.isfinite(value) else ""


DETECTOR = NightDetector()
"""The kind of a night's measurement of a detector."""
