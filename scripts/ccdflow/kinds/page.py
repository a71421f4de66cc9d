"""The page of a night: what each kind of product has to say of it."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

from ccdflow import paths
from ccdflow.files.hdus import versions
from ccdflow.kinds import frame_warnings, picture
from ccdflow.kinds.bias import BIAS
from ccdflow.kinds.figures import names_of, night_figures
from ccdflow.kinds.frame import shown_nights
from ccdflow.kinds.kind import Kind
from ccdflow.kinds.picture import drawing, first_image, how_level, is_of_night
from ccdflow.kinds.writing import write_text
from ccdflow.pages import page
from ccdflow.run import ledger
from ccdflow.run.inventory import ARRIVING, OK, ORPHAN, SET_ASIDE

# Raise it when a change alters any page or the overview: all of them are then written again.
PAGES = 3

_STATUS = {ORPHAN: "raw file is gone", SET_ASIDE: page.SET_ASIDE}
_NOT_NOW = {ledger.FAILED: "failed", ledger.GONE: "left for the next run"}
_FROM_NIGHT = "../.."
_REACH = {"rows": "row by row", "columns": "column by column", "frame": "from all pixels alike"}
# Report a read noise that differs from the header's by more than this fraction.
CLAIM_TOLERANCE = 0.15


class NightPage(Kind):
    """The page of a night."""

    name = "page"
    rule = "page"
    words = ("night's page", "nights' pages")
    place = "nights/"

    def has_name(self, product):
        """Tell whether a path is that of the page of a night."""
        return is_of_night(product, Path(paths.INDEX_PAGE).name)

    def plan(self, planner):
        """Want the page of each night."""
        context = planner.context
        for night in shown_nights(context):
            needs = [need for kind in context.chain for need in kind.shown(context, night)]
            product = paths.night_page(night)
            planner.want(self, product, night, page_basis(context, night), needs=needs)

    def basis(self, context, job):
        """Return what the page of a night depends on."""
        return page_basis(context, job.night)

    def make(self, context, job, *, threads):
        """Write the page of a night."""
        return write_page(context, job)


PAGE = NightPage()


def page_basis(context, night):
    """Return what the page of a night depends on: what each kind says of it."""
    basis = {"version": [PAGES, picture.PICTURES]}
    if missing := undrawn(context, night):
        basis["undrawn"] = missing
    for kind in context.chain:
        basis |= kind.page_basis(context, night)
    return basis


def undrawn(context, night):
    """Return [[product, why]] of what a page shows and could not be made in this run."""
    products = [
        product
        for kind in context.chain
        if isinstance(kind, picture.NightPicture)
        for product in kind.shown(context, night)
    ]
    records = filter(None, map(context.outcome, products))
    return [[r.product, r.reason] for r in records if r.status in _NOT_NOW]


def write_page(context, job):
    """Write the page of a night."""
    night = job.night
    basis = page_basis(context, night)
    groups = BIAS.night_groups(context, night)
    names = names_of(groups)
    cameras = sorted({row.camera for row in context.rows_of(night) if row.camera})
    content = page.night_page(
        page.NightPage(
            night=night,
            frames=tuple(page_frames(context, night, _FROM_NIGHT)),
            before_after=_file_picture(
                context,
                f"{paths.night_folder(night)}/{paths.OVERVIEW}",
                "One frame of each image type: raw, reduced, and the profile of its overscan",
            ),
            combined=tuple(_combined(context, group) for group in groups),
            amplifiers=tuple(
                _amplifier_figures(figures, names[group.product])
                for group, figures in night_figures(context, groups)
            ),
            quality=_file_picture(
                context,
                f"{paths.night_folder(night)}/bias_quality.png",
                "Level through the night, read noise, structure, and noise of the combined bias",
            ),
            trend=trend(context, BIAS.trend_groups(context, night), night),
            recipes=tuple((camera, _recipes(context, night, camera)) for camera in cameras),
            provenance=provenance(),
            notes=(
                *_claims(context, groups),
                *_flagged(context, night),
                *_undrawn(context, night),
                *_warned(context, night),
            ),
            elsewhere=_elsewhere(context, night),
            sections=tuple(s for kind in context.chain if (s := kind.section(context, night))),
            index="../../" + paths.INDEX_PAGE,
        )
    )
    return write_text(context, job, basis, content)


def page_frames(context, night, prefix):
    """Return the frames of a night as pages show them, products relative to ``prefix``."""
    frames = []
    left_out = _left_out(BIAS.night_groups(context, night), context)
    for row in context.rows_of(night):
        product = paths.reduced(row.file)
        record = context.outcome(product) if row.status in (OK, ORPHAN) else None
        status, reason = _STATUS.get(row.status, ""), row.reason
        made = record is not None and record.status == ledger.MADE
        if record is not None and record.status == ledger.SET_ASIDE:
            status, reason = page.SET_ASIDE, record.reason
        elif record is not None and record.status in _NOT_NOW:
            status, reason = _NOT_NOW[record.status], record.reason
        elif made and not status:
            status = page.REDUCED
        if row.status == ARRIVING:
            continue
        frames.append(
            page.Frame(
                file=row.file,
                camera=row.camera,
                kind=row.facts["type"],
                status=status or "not asked for",
                reason=reason,
                remark=left_out.get(row.file, ""),
                object=row.facts["object"],
                filter=row.facts["filter"],
                exptime=_number(row.facts["exptime"]),
                time=row.facts["date_obs"],
                levels=tuple(record.data["levels"].values()) if made else (),
                noises=tuple(record.data["noises"].values()) if made else (),
                product=f"{prefix}/{product}" if made else "",
            )
        )
    return frames


def _left_out(groups, context):
    """Return {raw file: why it is not in the combined bias of its group}."""
    records = filter(None, (context.outcome(group.product) for group in groups))
    outs = [out for record in records for out in record.data.get("left_out", ())]
    return {file: f"not in the combined bias: {text}" for file, text, *_ in outs}


OFF = "Combining biases is switched off in the configuration"


def _elsewhere(context, night):
    """Return why combined biases of a night's frames are not on its page, or ''."""
    if not any(row.facts["type"] == "bias" for row in context.rows_of(night)):
        return ""
    if not BIAS.configuration(context)["enabled"]:
        return f"{OFF}; what was combined before is as it was, and is not shown here."
    nights = BIAS.elsewhere(context, night)
    if not nights:
        return ""
    return (
        "The biases of this night are combined with those of other nights: see "
        f"{'night' if len(nights) == 1 else 'nights'} {', '.join(nights)}."
    )


def _number(value):
    return value if isinstance(value, int | float) else math.nan


def _file_picture(context, product, alt):
    """Return a picture that another job has drawn, or nothing if it was not to be drawn."""
    path = context.results / product
    record = context.outcome(product)
    if record is None or record.status != ledger.MADE or not path.is_file():
        return ()
    return (page.Picture(path.read_bytes(), alt),)


def _combined(context, group):
    record = context.outcome(group.product)
    data = {} if record is None else record.data
    made = record is not None and record.status == ledger.MADE
    figures = data.get("quality", [])
    return page.CombinedBias(
        name=Path(group.product).stem,
        camera=group.camera,
        product=f"{_FROM_NIGHT}/{group.product}" if made else "",
        members=tuple(data.get("members", ())),
        left_out=tuple(
            page.LeftOut(file, text, figure=figure, value=value, threshold=threshold)
            for file, text, figure, value, threshold in data.get("left_out", ())
        ),
        remarks=tuple(data.get("remarks", ())),
        not_made="" if made else getattr(record, "reason", ""),
        recipe=data.get("recipe", ""),
        group=", ".join(f"{name} {value}" for name, value in group.shared if value),
        noises=tuple(each["combined_noise"] for each in figures),
        predicted=tuple(each["predicted_noise"] for each in figures),
        rejected=data.get("rejected", -1),
        pixels=data.get("pixels", 0),
        pictures=_combined_picture(context, group, data) if made else (),
    )


def _combined_picture(context, group, data):
    row = context.row_of(paths.reduced(data["members"][0]))
    geometry, recipe = context.store.geometry(row.geometry), context.store.recipe(row.recipe)
    image = first_image(context, group.product, geometry, recipe)
    pictures = drawing()
    png = pictures.combined_bias_picture(
        pictures.CombinedPanels(
            Path(group.product).stem,
            image,
            members=len(data["members"]),
            noises=tuple(each["combined_noise"] for each in data["quality"]),
            predicted=tuple(each["predicted_noise"] for each in data["quality"]),
            rejected=data["rejected"] / data["pixels"] if data.get("pixels") else math.nan,
            recipe=data["recipe"],
        )
    )
    return (page.Picture(png, f"The combined bias {group.product}: image, profiles, distribution"),)


def _amplifier_figures(figures, name):
    error = figures["drift_an_hour_error"]
    return page.AmplifierFigures(
        camera=name,
        amplifier=figures["amplifier"],
        biases=figures["frames"],
        level=figures["level"],
        span=figures["level_span"],
        # Two levels make a slope, but nothing tells how far to trust it.
        drift=figures["drift_an_hour"] if error == error else math.nan,
        drift_error=error,
        read_noise=figures["read_noise"],
        read_noise_error=figures["read_noise_error"],
        gain=figures["gain"],
        claimed_read_noise=figures["header_read_noise_electrons"],
        row_structure=figures["row_structure"],
        column_structure=figures["column_structure"],
        combined_noise=figures["combined_noise"],
        predicted_noise=figures["predicted_noise"],
    )


def trend(context, groups, highlight=None):
    """Return the picture of the figures of some groups over the nights; () for a single night."""
    found = list(night_figures(context, groups))
    if len({group.shown for group, _ in found}) < 2:
        return ()
    pictures = drawing()
    names = names_of(groups)
    points = [
        pictures.TrendPoint(
            group.shown,
            names[group.product],
            figures["amplifier"],
            figures["level"],
            figures["read_noise"],
            _ratio(figures["combined_noise"], figures["predicted_noise"]),
        )
        for group, figures in found
    ]
    png = pictures.trend_picture(points, highlight=highlight)
    return (page.Picture(png, "Bias level, read noise and combined noise over the nights"),)


def _ratio(value, expected):
    return value / expected if expected > 0 else math.nan


def _claims(context, groups):
    """Return sentences on amplifiers whose read noise is not what their header claims."""
    notes = []
    for group, figures in night_figures(context, groups):
        measured = figures["read_noise_electrons"]
        claim = figures["header_read_noise_electrons"]
        if not (measured > 0 and claim > 0) or abs(measured / claim - 1) <= CLAIM_TOLERANCE:
            continue
        percent = f"{100 * abs(measured / claim - 1):.0f} %"
        notes.append(
            f"{group.camera} {figures['amplifier']}: the read noise is {measured:.3g} electrons, "
            f"{percent} {'more' if measured > claim else 'less'} than the {claim:.3g} that are "
            f"claimed; this, or the gain of {figures['gain']:.3g} electrons per adu, is wrong."
        )
    return notes


def _flagged(context, night):
    """Return sentences on amplifiers that hold no signal."""
    files = defaultdict(list)
    for row in context.rows_of(night):
        record = context.outcome(paths.reduced(row.file))
        flags = record.data.get("flags", {}) if record is not None else {}
        for amplifier, flag in flags.items():
            files[row.camera, amplifier, flag].append(row.file)
    return [
        f"{camera}: amplifier {amplifier} is {flag} throughout in {_some(named)}."
        for (camera, amplifier, flag), named in sorted(files.items())
    ]


def _undrawn(context, night):
    """Return sentences on pictures that are missing from the page."""
    return [
        f"The picture {Path(product).name} could not be drawn: {reason}. The next run draws it."
        for product, reason in undrawn(context, night)
    ]


def _warned(context, night):
    """Return sentences on frames in which something is not as it should be."""
    rows = {row.file: row for row in context.rows_of(night) if row.status != ARRIVING}
    said = frame_warnings.found(rows.values(), context.outcome)
    return frame_warnings.sentences(said, rows)


def _some(files, most=3):
    if len(files) <= most:
        return ", ".join(files)
    return f"{len(files)} frames ({', '.join(files[:most])} ...)"


def _recipes(context, night, camera):
    """Return in a sentence what was done to a camera's frames."""
    row = next((r for r in context.rows_of(night) if r.camera == camera and r.geometry), None)
    if row is None:
        return "No frame could be reduced."
    geometry, recipe = context.store.geometry(row.geometry), context.store.recipe(row.recipe)
    sentences = []
    overscan = [a for a in geometry.amplifiers if a.overscan and recipe.subtract]
    if overscan:
        used = "; ".join(" and ".join(strip.to_fits() for strip in a.overscan) for a in overscan)
        reach = _REACH[overscan[0].along]
        sentences.append(f"The {how_level(recipe)} of the overscan {used} was subtracted {reach}")
    else:
        sentences.append("No overscan was subtracted")
    if recipe.trim:
        kept = "; ".join(a.data.to_fits() for a in geometry.amplifiers)
        sentences.append(f"the pixels {kept} were kept")
    else:
        sentences.append("the frame was left whole")
    return ", and ".join(sentences) + f" (sections from the {geometry.source})."


def provenance():
    """Return names and versions of what made the products, for the foot of a page."""
    names = {"CCDFLOW": "ccdflow", "CCDPVER": "ccdproc", "ASTRPVER": "astropy", "NUMPYVER": "numpy"}
    return tuple((names[keyword], text) for keyword, text, _ in versions())
