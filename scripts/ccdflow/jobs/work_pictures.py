"""The jobs that draw frames and biases: they gather values, `ccdflow.pages.pictures` draws them."""

from __future__ import annotations

import math
from importlib import import_module

import numpy as np
from astropy.io import fits

from ccdflow import paths
from ccdflow.camera.sections import Region
from ccdflow.errors import FrameError
from ccdflow.files import decoding, rawfile
from ccdflow.frame.products import product_images
from ccdflow.jobs.remembered import geometry_of, recipe_of
from ccdflow.jobs.writing import write_text
from ccdflow.run import ledger, plan


def drawing():
    """Return the module that draws, loaded only where there is something to draw: 0.4 s."""
    return import_module("ccdflow.pages.pictures")


def draw_frames(context, job):
    """Draw one frame of each image type of a night, raw beside reduced."""
    rows = plan.drawn_frames(context, job.night)
    basis = plan.picture_basis(context, job.night)
    if not rows:
        reason = "no frame of this night was reduced"
        return ledger.Record(
            job.product, job.kind, plan.digest(basis), ledger.REFUSED, reason, basis=basis
        )
    panels = (frame_panels(context, row) for row in rows)
    try:
        png = drawing().overview(panels, title=f"Before and after: night {job.night}")
    except FrameError as error:
        # A raw file went away or changed: the page is made without the picture, and says so.
        reason = f"{error.file}: {error.problem}"
        return ledger.Record(job.product, job.kind, job.key, ledger.GONE, reason, basis=basis)
    return write_text(context, job, basis, png)


def frame_panels(context, row):
    """Return what is drawn of a frame; of several raw HDUs the first that is used."""
    pictures = drawing()
    geometry, recipe = geometry_of(context, row.geometry), recipe_of(context, row.recipe)
    hdu = geometry.amplifiers[0].hdu
    raw = read_raw(context, row, hdu)
    record = context.outcome(paths.reduced(row.file))
    levels, noises = record.data["levels"], record.data["noises"]
    own = [a for a in geometry.amplifiers if a.hdu == hdu]
    strips = [
        pictures.Strip(
            _corners(strip),
            amplifier.name if len(own) > 1 else "",
            levels[amplifier.name],
            noises[amplifier.name],
        )
        for amplifier in own
        for strip in amplifier.overscan
        if amplifier.name in levels
    ]
    hdus = len(geometry.raw_shapes)
    return pictures.FramePanels(
        name=row.file,
        kind=row.facts["type"],
        raw=raw,
        reduced=first_image(context, paths.reduced(row.file), geometry, recipe),
        strips=tuple(strips),
        data=tuple(_corners(a.data) for a in own),
        along=own[0].along if strips else "rows",
        statistic=how_level(recipe),
        header_biassec=row.facts["biassec"],
        header_region=_header_region(row, raw.shape),
        note=f"The raw frame has {hdus} images; the first is shown." if hdus > 1 else "",
    )


def how_level(recipe):
    """Return in a few words how a level was made."""
    if recipe.model is None:
        return recipe.statistic
    return f"{recipe.model} of order {recipe.order} through the {recipe.statistic}"


def read_raw(context, row, hdu):
    """Return the values of one HDU of a raw frame, (ny, nx), float32, adu."""
    memory = int(context.settings["limits"]["frame_memory"] * 1e6)
    with rawfile.reading(row.file):
        raw = rawfile.open_raw(context.raw / row.file, row.file)
    with raw:
        layout = raw.layout(whole=False)
        data = raw.read_all(layout, memory=memory, fingerprint=row.fingerprint)
    stored, offset = decoding.array(data, layout.hdus[hdu], row.file)
    return stored.astype(np.float32) + offset


def first_image(context, product, geometry, recipe):
    """Return the first image of a product, (ny, nx), native byte order."""
    hdu = product_images(geometry, recipe)[0].hdu
    with fits.open(context.results / product, memmap=False) as hdus:
        data = hdus[hdu].data
        return data.astype(data.dtype.newbyteorder("="))


def _corners(region):
    return (region.y0, region.y1, region.x0, region.x1)


def _header_region(row, shape):
    text = row.facts["biassec"]
    if not text:
        return None
    try:
        region = Region.from_fits(text, keyword="BIASSEC")
    except FrameError:
        return None
    return _corners(region) if region.within(shape) else None


def draw_quality(context, job):
    """Draw what the biases of a night say about each amplifier."""
    basis = plan.quality_basis(context, job.night)
    groups = plan.night_groups(context, job.night)
    names = names_of(groups)
    amplifiers = [
        _amplifier_night(figures, names[group.product])
        for group, figures in night_figures(context, groups)
    ]
    if not amplifiers:
        reason = "there are not two biases to compare"
        return ledger.Record(
            job.product, job.kind, plan.digest(basis), ledger.REFUSED, reason, basis=basis
        )
    title = f"What the biases say: night {job.night}"
    return write_text(context, job, basis, drawing().night_quality_picture(amplifiers, title=title))


def names_of(groups):
    """Return {product: name} of groups: the camera, and what the groups of a camera differ in."""
    names = {}
    for group in groups:
        traits = _traits(group)
        same = set(traits).intersection(*(_traits(g) for g in groups if g.camera == group.camera))
        own = [trait for trait in traits if trait not in same]
        names[group.product] = " ".join([group.camera, *own])
    return names


def _traits(group):
    """Return what a group's frames share, a short text each."""
    return [
        trait.strip().replace(" ", "x" if name == "ccdsum" else " ")
        for name, value in group.shared
        for trait in value.split(", ")
        if trait.strip() and value != "None"
    ]


def night_figures(context, groups):
    """Yield (group, figures) of each amplifier that the biases of some groups say something of."""
    for group in groups:
        record = context.outcome(group.product)
        for figures in record.data.get("quality", ()) if record is not None else ():
            yield group, figures


def _amplifier_night(figures, name):
    gain = figures["gain"]
    claim, combined = figures["header_read_noise_electrons"], figures["combined_noise"]
    return drawing().AmplifierNight(
        amplifier=f"{name} {figures['amplifier']}",
        hours=tuple(figures["hours"]),
        levels=tuple(figures["levels"]),
        pair_noise=tuple(figures["pairs"]),
        claimed_noise=claim / gain if gain == gain and gain else math.nan,
        row_structure=figures["row_structure"],
        column_structure=figures["column_structure"],
        row_error=figures["row_structure_error"],
        column_error=figures["column_structure_error"],
        combined_noise=((figures["frames"], combined),) if combined == combined else (),
    )
