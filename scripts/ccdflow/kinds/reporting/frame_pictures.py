"""The picture of a night's frames before and after reducing: those of each camera and type."""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np

from ccdflow import paths
from ccdflow.camera.sections import Region
from ccdflow.errors import FrameError
from ccdflow.files import decoding, file_errors, raw_files
from ccdflow.kinds.drawn_pictures import drawing_module
from ccdflow.kinds.product_writing import refused_record, write_text_product
from ccdflow.kinds.reducing.frame import FRAME
from ccdflow.kinds.reducing.small_pictures import mapped_image_of
from ccdflow.kinds.reporting.night_products import PictureOfFrames, file_picture
from ccdflow.pages.frame_html import pictures_section
from ccdflow.run import job_records
from ccdflow.run.products.product_names import reduced_product
from ccdflow.run.raw_frames import raw_verdicts
from ccdflow.run.raw_frames.rows import OK

PICTURES_VERSION = 10
"""Raised when a change alters any picture: all pictures and pages are then made again."""


class FramesPicture(PictureOfFrames):
    """``before_after.png``: raw and reduced frames side by side, with their overscan."""

    name = "frames picture"
    rule = "picture"
    plans_some_nights = True
    nouns = ("picture of frames", "pictures of frames")
    is_in_batches = True
    file = paths.BEFORE_AFTER

    def needs(self, context, night):
        """Return all reduced frames of a night."""
        return FRAME.products_on_page(context, night)

    def keep_or_forget(self, planner, night):
        """Return whether the picture stays: it is current, if frames without a raw file count.

        Without their raw files the picture could not be drawn again.
        """
        basis = partial(self.night_basis, planner.context, night, draws_missing_frames=True)
        return planner.keep_if_current(self, self.product(night), basis)

    def night_basis(self, context, night, *, draws_missing_frames=False):
        """Return the sources of the picture of a night.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        night : str
            YYYY-MM-DD, or the folder of undated frames.
        draws_missing_frames : bool, optional
            Whether frames whose raw file is missing count, as in an earlier picture.

        Returns
        -------
        dict of str to (int or list)
        """
        rows = drawn_frames(context, night, draws_missing_frames=draws_missing_frames)
        return {
            "version": PICTURES_VERSION,
            "frames": [
                [row.file, context.outcome(reduced_product(row.file)).key, row.facts["biassec"]]
                for row in rows
            ],
        }

    def make(self, context, job, *, threads):
        """Draw the first frames of each camera and image type of a night, raw beside reduced."""
        rows, basis = drawn_frames(context, job.night), self.basis(context, job)
        if not rows:
            return refused_record(job, basis, "no frame of this night was reduced")
        images = (frame_images(context, row) for row in rows)
        try:
            png = drawing_module("before_after").before_after_picture(
                images, title=f"Before and after: night {job.night}"
            )
        except FrameError as error:
            # A raw file vanished or changed: the page is made without the picture, and names the
            # cause.
            return job_records.Record(
                job.product, job.kind, job.key, job_records.GONE, str(error), basis=basis,
                data=raw_verdicts.data_of_raw_away(context, error, rows[0].file),
            )  # fmt: skip
        return write_text_product(context, job, basis, png)

    def rows_and_groups(self, context, job):
        """Return the rows of the night, and no group."""
        return context.rows_of(job.night), []

    def page_basis(self, context, night):
        """Return the key of the picture."""
        return {"picture": getattr(context.outcome(self.product(night)), "key", "")}

    def section(self, context, night):
        """Return the section with the picture of frames before and after reducing."""
        alt = "One frame of each image type: raw, reduced, and the profile of its overscan"
        return pictures_section(file_picture(context, self.product(night), alt))


FRAMES_PICTURE = FramesPicture()
"""The kind of a night's picture of raw and reduced frames."""


def drawn_frames(context, night, *, draws_missing_frames=False):
    """Return the rows of a night that are drawn: the first ones of each camera and image type.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    night : str
    draws_missing_frames : bool, optional
        Whether frames whose raw file is missing count, as in an earlier picture.

    Returns
    -------
    list of ccdflow.run.raw_frames.rows.Row
    """
    most_drawn = context.settings["pictures"]["per_type"]
    drawn_rows, n_drawn = [], Counter()
    for row in context.rows_of(night):
        if row.status != OK or (row.gone and not draws_missing_frames):
            continue
        key = (row.camera, row.facts["type"])
        if most_drawn != "all" and n_drawn[key] >= most_drawn:
            continue
        if context.made_record(reduced_product(row.file)) is not None:
            n_drawn[key] += 1
            drawn_rows.append(row)
    return drawn_rows


def frame_images(context, row):
    """Return a frame raw and reduced with its strips, of the first of its raw HDUs that is used.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.raw_frames.rows.Row
        The row of a raw frame.

    Returns
    -------
    ccdflow.pages.pictures.frame_content.FrameImages
    """
    frame_content = drawing_module("frame_content")
    geometry = context.store.geometry(row.geometry)
    hdu = geometry.amplifiers[0].hdu
    raw = raw_values(context, row, hdu)
    record = context.outcome(reduced_product(row.file))
    levels, noises = record.data["levels"], record.data["noises"]
    amplifiers_of_hdu = [a for a in geometry.amplifiers if a.hdu == hdu]
    strips = [
        frame_content.OverscanStrip(
            _corners_of_region(strip),
            amplifier.name if len(amplifiers_of_hdu) > 1 else "",
            levels[amplifier.name],
            noises[amplifier.name],
        )
        for amplifier in amplifiers_of_hdu
        for strip in amplifier.overscan
        if amplifier.name in levels
    ]
    return frame_content.FrameImages(
        name=row.file,
        image_type=row.facts["type"],
        raw=raw,
        reduced=np.asarray(mapped_image_of(context, row, reduced_product(row.file))),
        strips=tuple(strips),
        data=tuple(_corners_of_region(a.data) for a in amplifiers_of_hdu),
        along=amplifiers_of_hdu[0].along if strips else "rows",
        header_biassec=row.facts["biassec"],
        header_region=_header_region(row, raw.shape),
    )


def level_statistic_in_words(recipe):
    """Return the statistic and model of an overscan level in words."""
    if recipe.model is None:
        return recipe.statistic
    return f"{recipe.model} of order {recipe.order} through the {recipe.statistic}"


def raw_values(context, row, hdu):
    """Return the values of one HDU of a raw frame, (ny, nx), float32, adu.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.raw_frames.rows.Row
        The row of a raw frame.
    hdu : int
        Index of the HDU.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), float32

    Raises
    ------
    FrameError
        If the raw file cannot be read or has changed.
    """
    memory = int(context.settings["limits"]["frame_memory"] * 1e6)
    with file_errors.raw_file_errors(row.file):
        raw = raw_files.open_raw(context.raw / row.file, row.file)
    with raw:
        layout = raw.layout(reads_whole_file=False)
        data = raw.read_all(layout, memory=memory, fingerprint=row.fingerprint)
    stored_values, offset = decoding.stored_pixels(data, layout.hdus[hdu], row.file)
    image = stored_values.astype(np.float32)
    image += offset
    return image


def _corners_of_region(region):
    """Return the corners (y0, y1, x0, x1) of a region, pixels."""
    return (region.y0, region.y1, region.x0, region.x1)


def _header_region(row, shape):
    """Return the corners of BIASSEC; None if it is absent, unreadable or outside the image."""
    text = row.facts["biassec"]
    if not text:
        return None
    try:
        region = Region.from_fits(text, keyword="BIASSEC")
    except FrameError:
        return None
    return _corners_of_region(region) if region.is_within(shape) else None
