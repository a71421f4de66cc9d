"""The jobs that write pages: they gather values, `ccdflow.pages.page` writes them."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from pathlib import Path

from ccdflow import paths
from ccdflow.files.hdus import versions
from ccdflow.jobs.remembered import geometry_of, recipe_of
from ccdflow.jobs.work_pictures import drawing, first_image, how_level, names_of, night_figures
from ccdflow.jobs.writing import write_text
from ccdflow.pages import page
from ccdflow.run import ledger, plan
from ccdflow.run.inventory import ARRIVING, OK, ORPHAN, SET_ASIDE

_STATUS = {ORPHAN: "raw file is gone", SET_ASIDE: page.SET_ASIDE}
_FROM_NIGHT = "../.."
_REACH = {"rows": "row by row", "columns": "column by column", "frame": "from all pixels alike"}
# A read noise that differs by more than this from what is claimed is said to.
CLAIM_TOLERANCE = 0.15


def write_page(context, job):
    """Write the page of a night."""
    night = job.night
    basis = plan.page_basis(context, night)
    groups = plan.night_groups(context, night)
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
            trend=_trend(context, plan.trend_groups(context, night), night),
            recipes=tuple((camera, _recipes(context, night, camera)) for camera in cameras),
            provenance=_provenance(),
            notes=(
                *_claims(context, groups),
                *_flagged(context, night),
                *_undrawn(context, night),
            ),
            elsewhere=_elsewhere(context, night),
            index="../../" + paths.INDEX_PAGE,
        )
    )
    return write_text(context, job, basis, content)


def page_frames(context, night, prefix):
    """Return the frames of a night as pages show them, products relative to ``prefix``."""
    frames = []
    left_out = _left_out(plan.night_groups(context, night), context)
    for row in context.rows_of(night):
        product = paths.reduced(row.file)
        record = context.outcome(product) if row.status in (OK, ORPHAN) else None
        status, reason = _STATUS.get(row.status, ""), row.reason
        made = record is not None and record.status == ledger.MADE
        if record is not None and record.status == ledger.SET_ASIDE:
            status, reason = page.SET_ASIDE, record.reason
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


_OFF = "Combining biases is switched off in the configuration"


def _elsewhere(context, night):
    """Return why combined biases of a night's frames are not on its page, or ''."""
    if not any(row.facts["type"] == "bias" for row in context.rows_of(night)):
        return ""
    if not context.settings["combine"]["enabled"]:
        return f"{_OFF}; what was combined before is as it was, and is not shown here."
    nights = plan.elsewhere(context, night)
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
        left_out=tuple(page.LeftOut(*out) for out in data.get("left_out", ())),
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
    geometry, recipe = geometry_of(context, row.geometry), recipe_of(context, row.recipe)
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


def _trend(context, groups, highlight=None):
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
        for product, reason in plan.undrawn(context, night)
    ]


def _some(files, most=3):
    if len(files) <= most:
        return ", ".join(files)
    return f"{len(files)} frames ({', '.join(files[:most])} ...)"


def _recipes(context, night, camera):
    """Return in a sentence what was done to a camera's frames."""
    row = next((r for r in context.rows_of(night) if r.camera == camera and r.geometry), None)
    if row is None:
        return "No frame could be reduced."
    geometry, recipe = geometry_of(context, row.geometry), recipe_of(context, row.recipe)
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


def _provenance():
    names = {"CCDFLOW": "ccdflow", "CCDPVER": "ccdproc", "ASTRPVER": "astropy", "NUMPYVER": "numpy"}
    return tuple((names[keyword], text) for keyword, text, _ in versions())


def write_index(context, job):
    """Write the overview of all nights."""
    basis = plan.index_basis(context)
    nights = sorted({row.night for row in context.store.rows.values()})
    by_night = defaultdict(list)
    for group in context.groups.values():
        by_night[group.shown].append(group)
    lines, aside = [], []
    for night in nights:
        frames = page_frames(context, night, ".")
        aside += [frame for frame in frames if frame.status == page.SET_ASIDE]
        lines.append(_night_line(context, night, frames, by_night[night]))
    groups = sorted(context.groups.values(), key=lambda group: (group.shown, group.product))
    content = page.index_page(
        page.IndexPage(
            nights=tuple(reversed(lines)),
            aside=tuple(aside),
            trend=_trend(context, groups),
            provenance=_provenance(),
            notes=() if context.settings["combine"]["enabled"] else (f"{_OFF}.",),
        )
    )
    return write_text(context, job, basis, content)


def _night_line(context, night, frames, groups):
    statuses = Counter(frame.status for frame in frames)
    outcomes = [context.outcome(group.product) for group in groups]
    return page.NightLine(
        night=night,
        page=paths.night_page(night),
        cameras=tuple(sorted({frame.camera for frame in frames if frame.camera})),
        kinds=tuple(sorted(Counter(frame.kind for frame in frames if frame.kind).items())),
        reduced=statuses[page.REDUCED],
        set_aside=statuses[page.SET_ASIDE],
        other=len(frames) - statuses[page.REDUCED] - statuses[page.SET_ASIDE],
        combined=sum(record is not None and record.status == ledger.MADE for record in outcomes),
        groups=len(groups),
    )
