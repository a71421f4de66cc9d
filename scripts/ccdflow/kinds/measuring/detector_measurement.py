"""The measurements of a detector by a night's darks and flats: bad pixels, gain of amplifiers."""

from __future__ import annotations

import math

from ccdflow import paths
from ccdflow.files.values import short_number
from ccdflow.kinds.masters.combining import has_members_below_minimum
from ccdflow.kinds.masters.dark import DARK_KIND
from ccdflow.kinds.masters.flat import FLAT_KIND
from ccdflow.kinds.measuring import measurement_cards, pixel_tables
from ccdflow.kinds.measuring.detector_setups import names_of_setups, setups_in_words
from ccdflow.kinds.measuring.measurement_kind import (
    MeasurementKind,
    masters_by_setup,
    step_of_masters,
)
from ccdflow.kinds.measuring.nights.night_masters import NightMasters
from ccdflow.kinds.measuring.nights.night_measurement import measure_night
from ccdflow.kinds.product_writing import refused_record
from ccdflow.pages.contents import Section
from ccdflow.pages.text_formatting import EMPTY_CELL, value_with_error
from ccdflow.run import job_records
from ccdflow.run.raw_frames.rows import digest

# The figures of an amplifier that are numbers of bad pixels.
_COUNT_NAMES = ("hot", "varies", "low", "columns")
# The names of options in the basis, where another name would change the keys of all archives.
_NAMES_IN_BASIS = {"includes_ccdmask": "like_ccdmask"}
# The `low_sigma` of measurements whose basis has none: this was the default when the setting came.
# It stays when the default changes, because a measurement with another value has another key.
_LOW_SIGMA_IN_NO_BASIS = 4.5
_EXPLANATION = (
    "Gain by photon transfer from flats of one exposure, read noise from pairs of biases; departure"
    " from linearity at half of the full well. Hot, varying and low pixels and those in bad columns"
    " are counted. A pixel is hot if the darks have it above its neighbours by the rate in the"
    " heading and by five errors, or not linear in time. A column that is missing, or a dash, was"
    " not determined: the night lacks the darks or flats for it."
)


class NightDetector(MeasurementKind):
    """The measurements of a detector by the darks and flats of a night."""

    name = "detector"
    rule = "measure_detector"
    plans_some_nights = True
    nouns = ("measurement of a detector", "measurements of detectors")
    progress_nouns = nouns
    version = 9
    header_version = 3
    why_moved = "there are no such darks or flats any more"

    def has_name(self, product):
        """Return whether a path is that of the measurement of a night."""
        return paths.is_measurement_of_night(product, paths.PIXELS_START)

    def is_enabled(self, context):
        """Return whether the configuration asks for measurements."""
        return context.settings["detector"]["enabled"]

    # -- planning ----------------------------------------------------------------------------------

    def is_wanted(self, context):
        """Return whether the configuration asks for measurements, and for darks or flats."""
        has_masters = DARK_KIND.is_enabled(context) or FLAT_KIND.is_enabled(context)
        return self.is_enabled(context) and has_masters

    def new_groups(self, context):
        """Return the groups of darks and flats that one detector took in a night."""
        kinds = [kind for kind in (DARK_KIND, FLAT_KIND) if kind.is_enabled(context)]
        masters_of_setups = masters_by_setup(context, kinds)
        groups, names = [], names_of_setups(masters_of_setups)
        for (night, setup), masters in masters_of_setups.items():
            camera = dict(setup)["camera"]
            product = paths.measured_detector(camera, night, names[night, setup])
            steps = tuple(step_of_masters(kind, masters) for kind in (DARK_KIND, FLAT_KIND))
            files = [file for master in masters for file in master.files]
            groups.append(self.group_of_masters(context, product, night, setup, steps, files))
        return groups

    def group_basis(self, context, group):
        """Return the sources of a measurement: settings, and key and status of its masters."""
        outcomes = [
            (step.kind, record)
            for step in group.steps
            for use in step.uses
            if (record := context.outcome(use.product)) is not None
        ]
        masters = [[record.product, record.key, record.status] for _, record in outcomes]
        basis = {
            "arithmetic": self.version,
            "settings": _settings_in_basis(context),
            "masters": masters,
        }
        if any(
            kind == FLAT_KIND.name and has_members_below_minimum(record)
            for kind, record in outcomes
        ):
            # The entry is there only where pairs are used: all other measurements keep their keys.
            basis["pairs"] = "tell the gain"
        return basis

    def what_changed(self, earlier_basis, current_basis):
        """Return why a measurement is out of date."""
        for name, words in (("masters", "its masters changed"), ("settings", "settings changed")):
            if earlier_basis[name] != current_basis[name]:
                return words
        return "new arithmetic"

    # -- the job -----------------------------------------------------------------------------------

    def make(self, context, job, *, threads):
        """Measure a detector from the masters of a night and their members."""
        group = context.group(job.product)
        basis = self.group_basis(context, group)
        night = NightMasters(context, group)
        if not night.darks and not night.flats and not night.flat_pairs:
            reason = (
                "no combined dark or flat was made of this night's frames, and no two of its flats"
                " that are alike have one exposure"
            )
            return refused_record(job, basis, reason)
        options = _options_of_measurement(context)
        findings = measure_night(night, **options, threads=threads)
        record = job_records.Record(
            job.product,
            self.name,
            digest(basis),
            basis=basis,
            data={
                "night": group.night,
                "header": self.header_version,
                "looked": findings.sources_used,
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
            ("LOOKED", " ".join(findings.sources_used), "sources of the bad pixels"),
            *pixel_tables.weak_pixel_cards(findings.images),
            *measurement_cards.cards_of_pixels(night, findings, options),
        ]
        return pixel_tables.write_product(
            context,
            record,
            cards,
            PIXELS=pixel_tables.bad_pixel_columns(findings.images),
            WEAK=pixel_tables.weak_pixel_columns(findings.images),
        )

    # -- lines, sections, flags --------------------------------------------------------------------

    def closing_lines(self, context, records):
        """Return a line on each difference to header or profile, by each setup's newest night."""
        newest_records = {}
        for record in sorted(records, key=lambda r: r.data.get("night", "")):
            group = context.find_group(record.product)
            if record.status == job_records.MADE and group is not None:
                newest_records[group.shared] = record
        names = setups_in_words(newest_records)
        return [
            f"detector: {names[shared]} of {record.data['night']}: {text}"
            for shared, record in newest_records.items()
            for text in record.data["remarks"]
        ]

    def section(self, context, night):
        """Return the section on each amplifier's figures by a night's flats and darks, or None."""
        groups = self.night_groups(context, night)
        names = setups_in_words([group.shared for group in groups])
        names_and_data = [
            (names[group.shared], record.data)
            for group in groups
            if (record := context.made_record(group.product)) is not None
        ]
        figures = [(name, each) for name, data in names_and_data for each in data["quality"]]
        if not figures:
            return None
        units = sorted({"e-" if _has_gain(each) else "adu" for _, each in figures})
        rate_in_words = f"{context.settings['detector']['hot_rate']:g} {' or '.join(units)}/s"
        headings = (
            "Amplifier", "Gain (e-/adu)", "Gain in use (e-/adu)", "Read noise (e-)",
            "Not linear (%)", "Full well (adu)", f"Hot ({rate_in_words} above neighbours)",
            "Varying", "Low", "In bad columns",
        )  # fmt: skip
        return Section(
            "detector",
            "The detector",
            _sentences_of_detectors(names_and_data, has_several=len(names) > 1),
            (_EXPLANATION,),
            headings=headings,
            rows=tuple(_figure_cells(name, each) for name, each in figures),
        )


def _sentences_of_detectors(names_and_data, *, has_several):
    """Return the sentences of a night's page on its detectors.

    Parameters
    ----------
    names_and_data : list of (str, dict of str to object)
        Name of each detector, and the data of its measurement's record.
    has_several : bool
        Whether the sentences name the detector.
    """
    return tuple(
        f"The detector {name}: {text}." if has_several else f"The detector: {text}."
        for name, data in names_and_data
        for text in data["remarks"]
    )


def _figure_cells(name, figures):
    """Return the cells of an amplifier in the table of a night; ``name`` is the detector's."""
    return (
        f"{name} {figures['amplifier']}",
        _measured_with_error(figures["gain"], figures["gain_error"]),
        _figure_text(figures["gain_used"]),
        _measured_with_error(figures["read_noise"], figures["read_noise_error"]),
        _measured_with_error(100 * figures["departure"], 100 * figures["departure_error"]),
        _figure_text(figures["full_well"]),
        *(_count_text(figures[name]) for name in _COUNT_NAMES),
    )


def _options_of_measurement(context):
    """Return the settings of a measurement as `measure_night` takes them: a dict."""
    settings = context.settings["detector"]
    return {
        "hot_rate": settings["hot_rate"],
        "includes_ccdmask": settings["ccdmask"],
        "low_sigma": settings["low_sigma"],
    }


def _settings_in_basis(context):
    """Return the settings of a measurement for its basis.

    Settings that came later are in it only where they differ from what was done before: so no
    measurement of an archive got another key when they came.
    """
    options = _options_of_measurement(context)
    if not options["includes_ccdmask"]:
        del options["includes_ccdmask"]
    if options["low_sigma"] == _LOW_SIGMA_IN_NO_BASIS:
        del options["low_sigma"]
    return {_NAMES_IN_BASIS.get(name, name): value for name, value in options.items()}


def _has_gain(figures):
    """Return whether a gain of an amplifier is known, so that its dark current is in electrons."""
    gains = figures["gain"], figures["gain_used"]
    return any(isinstance(gain, float) and math.isfinite(gain) for gain in gains)


def _count_text(count):
    """Return a count as text; a dash where nothing was counted."""
    return str(count) if isinstance(count, int) else EMPTY_CELL


def _figure_text(value):
    """Return a figure of four digits as text; '' where it is not known."""
    return f"{value:.4g}" if isinstance(value, float) and math.isfinite(value) else ""


def _measured_with_error(value, error):
    """Return a value with its error as text; '' where the value is not known."""
    return (
        value_with_error(value, error) if isinstance(value, float) and math.isfinite(value) else ""
    )


DETECTOR = NightDetector()
"""The kind of a night's measurement of a detector."""
