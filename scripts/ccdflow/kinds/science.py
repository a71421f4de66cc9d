"""Calibrated frames: reduced frames less bias and dark, over the flat; uncertainty and mask."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from ccdflow import paths
from ccdflow.camera.filters import is_open
from ccdflow.detector import cosmics
from ccdflow.errors import DamagedError, FrameError
from ccdflow.files import packed
from ccdflow.frame.calibrated import ARITHMETIC, calibrate_file
from ccdflow.frame.chain import MasterChain
from ccdflow.frame.masters import MasterStore
from ccdflow.frame.products import product_images
from ccdflow.frame.readout import readout_of
from ccdflow.kinds import ageing, applying, association, helping, shutter_correction
from ccdflow.kinds import detector as detectors
from ccdflow.kinds.association import STEPS, taken, why_missing
from ccdflow.kinds.calibration_plan import FramePlanner
from ccdflow.kinds.frame import raw_pixels
from ccdflow.kinds.kind import Kind
from ccdflow.kinds.master import masters_carried
from ccdflow.kinds.preparing import measured_read_noise
from ccdflow.kinds.writing import drawing_module
from ccdflow.maskbits import SATURATED
from ccdflow.pages.page import Picture, Section
from ccdflow.run import ledger
from ccdflow.run.context import calibrated, is_wanted, reduced
from ccdflow.run.job import FRAMES, Size
from ccdflow.run.ledger import Record
from ccdflow.run.rows import OK, SET_ASIDE, digest

# Frames that are named at the end of a run.
_MOST_LINES = 10
_LEVEL_IN = "no flat: the bias level is still in the frame, for want of overscan and bias"

_STORE = MasterStore()


class Science(Kind):
    """A calibrated frame."""

    name = "science"
    rule = "calibrate"
    words = ("frame", "frames")
    counted = ("calibrated frame", "calibrated frames")
    short = "calibrated frames"
    todo = "calibrate"
    stage = 6
    version = ARITHMETIC
    header = 2
    place = "calibrated/"
    reach = FRAMES
    tells = True
    why_moved = "its reduced frame is not there any more"

    def has_name(self, product):
        """Tell whether a path is that of a calibrated frame."""
        return product.startswith(self.place)

    def configuration(self, context):
        """Return this kind's block of the settings."""
        return context.settings["calibrate"]

    # -- planning ----------------------------------------------------------------------------------

    def plan(self, planner):
        """Want each reduced frame of the types that are asked for, calibrated."""
        context = planner.context
        own = self.configuration(context)
        if not own["enabled"]:
            planner.keep_all_of(self)
            return
        frames = FramePlanner(planner, self, Calibration)
        for row in context.rows_in_order():
            product = calibrated(row.file)
            is_asked_for = row.facts["type"] in own["types"] and is_wanted(row, context.settings)
            if row.status == SET_ASIDE and not row.gone:
                # What was made of the raw file as it was is moved away.
                continue
            if row.status != OK or not is_asked_for:
                # What is not asked for, or is still being copied, is not touched.
                planner.keep(product)
            elif row.geometry:
                frame = context.outcome(reduced(row.file))
                if frame is not None and frame.status == ledger.MADE:
                    frames.want(row, product, frame)
        products = {calibrated(file) for file in context.store.rows}
        for product, record in context.ledger.items():
            if record.kind == self.name and product not in products:
                # The notes on the raw file may be lost.
                planner.keep(product)

    def steps_for(self, context, frame_type):
        """Return the kinds of masters that frames of a type are calibrated with, in order."""
        kinds = [kind for kind in STEPS if kind in self.configuration(context)["steps"]]
        if frame_type in kinds:
            # A dark is calibrated without a dark, and what comes after it.
            kinds = kinds[: kinds.index(frame_type)]
        return [context.chain.by_name(kind) for kind in kinds]

    def basis(self, context, job):
        """Return what a calibrated frame depends on, as it turned out."""
        return Calibration(context, context.groups[job.product]).basis

    def what_changed(self, before, now):
        """Say what makes a calibrated frame out of date."""
        if before.get("frame") != now["frame"]:
            return "its reduced frame changed"
        if before.get("masters") != now["masters"] or before.get("how") != now["how"]:
            return "its masters changed"
        if before.get("missing") != now["missing"]:
            return "another step is missing"
        if before.get("settings") != now["settings"]:
            return "settings changed"
        if before.get("detector") != now.get("detector"):
            return "what is known of its detector changed"
        return "new arithmetic"

    # -- the job -----------------------------------------------------------------------------------

    def make(self, context, job, *, threads):
        """Calibrate a frame, or refuse it."""
        return Calibration(context, context.groups[job.product]).make()

    def carries(self, context, job):
        """Return the frame's row, its steps, and the groups of the masters that it may take."""
        group = context.groups[job.product]
        before = [context.groups[p] for p in group.pixels if p in context.groups]
        masters = masters_carried(context, group)
        rows = [context.store.rows[group.files[0]]]
        rows += shutter_correction.rows_needed(context, group)
        return rows, [group, *masters, *before]

    def size(self, context, job):
        """Return the size of one frame."""
        row = context.store.rows[context.groups[job.product].files[0]]
        pixels = raw_pixels(context, row)
        return Size(frames=1, largest=pixels, pixels=pixels)

    # -- lines, sections, flags --------------------------------------------------------------------

    def night_groups(self, context, night):
        """Return the frames of a night that are calibrated, as groups, sorted by product."""

        def make():
            found = {}
            for product in sorted(context.groups):
                group = context.groups[product]
                if group.kind == self.name:
                    found.setdefault(group.night, []).append(group)
            return found

        return context.lookup(("calibrated by night",), make).get(night, [])

    def shown(self, context, night):
        """Return the calibrated frames of a night."""
        return [group.product for group in self.night_groups(context, night)]

    def told(self, context, record):
        """Return the sky, its noise and the grade of a calibrated frame, or why there is none."""
        file = context.groups[record.product].files[0]
        if record.status != ledger.MADE:
            return [(file, "", [f"not calibrated: {record.reason}"])]
        data, figures = record.data, []
        for image in data["images"]:
            if image["sky"] is not None:
                figures.append(f"sky {image['sky']:.4g} {data['unit']}")
            if image["sky_rms"] is not None:
                figures.append(f"noise {image['sky_rms']:.3g}")
            if image["sky_predicted"] is not None:
                figures.append(f"(predicted {image['sky_predicted']:.3g})")
        said = "; ".join(filter(None, [*data["reasons"], data["uncertain"]]))
        grade = f"grade {data['grade']}" + (f": {said}" if said else "")
        saturated = data.get("saturated", 0)
        warnings = [f"{saturated} pixels saturated"] * (saturated > 0)
        return [(file, "  ".join([*figures, grade]), warnings)]

    def closing(self, context, records):
        """Return the lines on frames that were not calibrated, or lack a step."""
        if not self.configuration(context)["enabled"]:
            return []
        lines = [
            f"not calibrated: {record.product}: {record.reason}"
            for record in records
            if record.status == ledger.REFUSED
        ]
        made = [_lacks(record) for record in records if record.status == ledger.MADE]
        lines = lines[:_MOST_LINES] + _more(lines)
        why = _why_missing(context)
        for kind in STEPS:
            lines += _lacking(f"without {kind}", made, lambda one, kind=kind: why(*one).get(kind))
        lines += _lacking("without UNCERT", made, lambda one: one[2])
        return lines + helping.lines(records)

    def section(self, context, night):
        """Return the section on what the masters did to the frames of a night."""
        records = [context.outcome(group.product) for group in self.night_groups(context, night)]
        return helping.section(context, filter(None, records))

    def index_basis(self, context):
        """Return what the overview depends on: the masters whose ageing it shows."""
        if not self.configuration(context)["enabled"]:
            return {}
        found = ageing.basis_of(context)
        return {"ageing": [self.version, digest(found)]} if found else {}

    def overview(self, context):
        """Return the section on how masters age: what to write into a camera's profile."""
        found = ageing.series_of(context) if self.index_basis(context) else []
        if not found:
            return None
        draw = drawing_module("ageing").ageing_picture
        png = draw(
            [(each.name, ageing.UNITS[each.kind], each.points(), each.in_use) for each in found],
            title="How masters depart from one another",
            explanation="Each point is two masters: the variance of their difference beyond their"
            " noise. Dashed: the ageing that masters are chosen with.",
        )
        return Section(
            "ageing",
            "Ageing of masters",
            paragraphs=(
                "What the archive says changes no choice by itself: write the value into the"
                " camera's profile if you agree with it.",
            ),
            headings=("Masters", "Between them", "A day adds", "For the profile", "In use"),
            rows=tuple(each.cells() for each in found),
            pictures=(Picture(png, "Difference of masters against the days between them"),),
        )


SCIENCE = Science()


def _more(lines):
    rest = len(lines) - _MOST_LINES
    return [f"... and {rest} more, see {paths.ASSOCIATIONS}"] if rest > 0 else []


def _lacks(record):
    """Return (product, kinds of masters that it lacks, why it has no uncertainty)."""
    # The data are JSON text until they are read: once.
    data = dict(record.data.items())
    return record.product, data["missing"], data["uncertain"]


def _why_missing(context):
    """Return what gives {kind: why a calibrated frame lacks it}; thousands have the same steps.

    The reasons name other products and change with them: a frame's own record names the kinds.
    """
    known = {}

    def why(product, missing, _):
        group = context.groups.get(product)
        if group is None or not missing:
            return {}
        row = context.store.rows[group.files[0]]
        alike = (row.recipe, row.geometry, *map(id, group.steps))
        if alike not in known:
            known[alike] = Calibration(context, group).missing
        return known[alike]

    return why


def _lacking(what, made, why):
    """Return a line on how many frames lack something, with the reason of the first, or none."""
    found = [(one[0], text) for one in made if (text := why(one))]
    if not found:
        return []
    number = f"{len(found)} of {len(made)} calibrated frames"
    where = "" if len({text for _, text in found}) == 1 else f" ({found[0][0]})"
    return [f"calibrated {what}: {number}{where}: {found[0][1]}"]


def _saturated(images):
    """Return the number of saturated pixels of a frame as figures; {} without a mask."""
    counts = [image["flags"][SATURATED] for image in images if "flags" in image]
    return {"saturated": sum(counts)} if counts else {}


class Calibration:
    """How one frame is calibrated, as its masters turned out.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group
        Of one frame.
    """

    def __init__(self, context, group):
        self.context = context
        self.group = group
        self.settings = SCIENCE.configuration(context)

    @cached_property
    def row(self):
        """The frame's row of the inventory."""
        return self.context.store.rows[self.group.files[0]]

    @cached_property
    def frame(self):
        """The record of the reduced frame; None if it was not made."""
        return self.context.outcome(reduced(self.row.file))

    @cached_property
    def _found(self):
        """The `Use` of each step, None where there is none."""
        return {step.kind: taken(self.context, step) for step in self.group.steps}

    @cached_property
    def is_level_out(self):
        """Whether the bias level is subtracted: by the overscan, or with the combined bias."""
        recipe = self.context.store.recipe(self.row.recipe)
        amplifiers = self.context.store.geometry(self.row.geometry).amplifiers
        is_subtracted = recipe.subtract and all(a.overscan for a in amplifiers)
        return is_subtracted or self._found.get("bias") is not None

    @cached_property
    def uses(self):
        """The masters that are applied: {kind: `ccdflow.run.job.Use`}."""
        uses = {kind: use for kind, use in self._found.items() if use is not None}
        if not self.is_level_out:
            uses.pop("flat", None)
        if self.is_dark_left_out:
            uses.pop("dark")
        return uses

    @cached_property
    def is_dark_left_out(self):
        """Whether the dark does more harm than good, and the configuration leaves such ones out."""
        return self.settings["skip_harmful"] and association.harms(self.context, self._found)

    @cached_property
    def missing(self):
        """What is missing, in words with what there is: {kind: text}."""
        found = {step.kind: why_missing(self.context, step) for step in self.group.steps}
        if not self.is_level_out and self._found.get("flat") is not None:
            found["flat"] = _LEVEL_IN
        return {kind: text for kind, text in found.items() if text}

    def degrees(self, use):
        """Return by how many degrees a dark is warmer than the frame, None where nobody knows."""
        return association.degrees_apart(use, self.row)

    @property
    def grade(self):
        """A, B or C."""
        grades = [use.grade for use in self.uses.values()]
        grades += ["B"] if self.is_dark_left_out else []
        return "C" if self.missing else max(grades, default="A")

    @property
    def reasons(self):
        """What keeps it from grade A, for its header: what others there are does not matter."""
        said = [f"no {kind}" for kind in self.missing]
        said += ["dark left out: more noise than structure"] if self.is_dark_left_out else []
        said += [f"{kind} {r}" for kind, use in self.uses.items() for r in use.remarks]
        return [*said, *filter(None, [self.shutter.why_not])]

    @cached_property
    def is_refused(self):
        """Whether the configuration asks for whole frames only, and this one would not be."""
        return bool(self.missing) and self.settings["missing"] == "refuse"

    @cached_property
    def extra(self):
        """What the frame gets of the measurements of its detector."""
        return detectors.Measured(self.context, self.group, self.row, self.settings)

    @property
    def compress(self):
        """How its file is compressed: '' (not at all), lossless or quantised."""
        wanted = self.settings["compress"]
        return packed.LOSSLESS if wanted is True else wanted or ""

    @cached_property
    def shutter(self):
        """How its shutter is corrected."""
        use = self.uses.get("flat")
        flat = None if use is None else self.context.outcome(use.product)
        return shutter_correction.Correction(self.context, self.group, self.row, flat)

    @cached_property
    def basis(self):
        """What its key is the hash of."""
        names = ["uncertainty", "mask"]
        if self.settings["cosmic_rays"]:
            names += ["cosmic_rays", "cosmic_sigma", "cosmic_contrast"]
        packing = {"compress": self.compress, "tiles": packed.TILES} if self.compress else {}
        measured = self.extra.basis + self.shutter.basis
        return {
            **({"detector": measured} if measured else {}),
            **({"search": cosmics.VERSION} if self.settings["cosmic_rays"] else {}),
            "arithmetic": SCIENCE.version,
            "frame": getattr(self.frame, "key", ""),
            "masters": [
                [kind, use.product, self.context.outcome(use.product).key]
                for kind, use in self.uses.items()
            ],
            "how": [
                [kind, use.scale, use.lag, self.degrees(use), use.grade, list(use.remarks)]
                for kind, use in self.uses.items()
            ],
            # What else there is changes no pixel; a frame that is refused says it.
            "missing": self.missing if self.is_refused else sorted(self.missing),
            "settings": {**{name: self.settings[name] for name in names}, **packing},
        }

    def make(self):
        """Calibrate the frame; return its `ccdflow.run.ledger.Record`."""
        record = Record(self.group.product, SCIENCE.name, digest(self.basis), basis=self.basis)
        if self.frame is None or self.frame.status != ledger.MADE:
            return replace(record, status=ledger.REFUSED, reason="there is no reduced frame")
        if self.is_refused:
            reason = "; ".join(self.missing.values())
            return replace(record, status=ledger.REFUSED, reason=reason)
        try:
            done, helps = self._calibrate(record.key)
        except DamagedError:
            # What is read is made again, and then the frame.
            raise
        except FrameError as error:
            return replace(record, status=ledger.REFUSED, reason=error.reason)
        return replace(
            record,
            stamp=ledger.stamp_of(self.context.results / record.product),
            content=str(done.words),
            data={**self._data(done), "helps": helps},
        )

    def _calibrate(self, key):
        context = self.context
        path = context.results / reduced(self.row.file)
        uses = {
            kind: applying.applied(context, _STORE, kind, use, path, self.degrees(use))
            for kind, use in self.uses.items()
        }
        extras = self.extra.extras([image.shape for image in self._images])
        if self.shutter.is_made:
            uses["flat"] = replace(uses["flat"], master=self.shutter.applied(uses["flat"].master))
            extras = replace(extras, cards=(*extras.cards, *self.shutter.cards))
        chain, readouts = MasterChain(**uses), self.readouts()
        done = calibrate_file(
            path,
            context.results / self.group.product,
            chain,
            readouts,
            key=key,
            grade=self.grade,
            reasons=self.reasons,
            uncertainty=self.settings["uncertainty"],
            mask=self.settings["mask"],
            scale_up=self.settings["scale_up"],
            tolerance=self.settings["temperature_tolerance"],
            extras=extras,
            compress=self.compress,
            name=self.group.product,
        )
        helps = helping.measure(
            path,
            chain,
            readouts,
            places=[image.hdu for image in self._images],
            unit=done.unit,
            is_spectrum=bool(grism := self.row.facts["grism"]) and not is_open(grism),
            name=self.group.product,
        )
        return done, helps

    @property
    def _images(self):
        store = self.context.store
        return product_images(store.geometry(self.row.geometry), store.recipe(self.row.recipe))

    def readouts(self):
        """Return what is known of the amplifiers of each image of the frame."""
        store = self.context.store
        geometry, recipe = store.geometry(self.row.geometry), store.recipe(self.row.recipe)
        bias, flat = (
            None if use is None else self.context.outcome(use.product)
            for use in map(self.uses.get, ("bias", "flat"))
        )
        levels = self.frame.data["levels"]

        def readout(amplifier):
            noise = measured_read_noise(bias, amplifier.name)
            return readout_of(
                amplifier,
                recipe,
                level=levels.get(amplifier.name),
                read_noise=noise,
                measured=noise is not None,
                gain=self.extra.gain(amplifier),
                measured_gain=self.extra.gain_of_noise(amplifier, flat),
                full_well=self.extra.full_well(amplifier),
            )

        return [
            [readout(amplifier) for amplifier in image.amplifiers]
            for image in product_images(geometry, recipe)
        ]

    def _data(self, done):
        figures = ("sky", "sky_rms", "sky_predicted")
        return {
            "header": SCIENCE.header,
            "grade": self.grade,
            "reasons": self.reasons,
            "missing": sorted(self.missing),
            "uncertain": done.uncertain,
            "unit": done.unit,
            "images": [{name: image.get(name) for name in figures} for image in done.images],
            **_saturated(done.images),
        }
