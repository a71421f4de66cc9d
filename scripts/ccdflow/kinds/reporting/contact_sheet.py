"""The contact sheet of a night: small pictures of its frames, and the list of them."""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from dataclasses import replace
from functools import partial

from isal import isal_zlib

from ccdflow import paths
from ccdflow.detector.star_width import star_width
from ccdflow.files import atomic_write
from ccdflow.frame.small_images import pixels_per_small_pixel, small_image
from ccdflow.kinds.calibrating.science import SCIENCE
from ccdflow.kinds.product_writing import write_text_product
from ccdflow.kinds.reducing.frame import FRAME
from ccdflow.kinds.reducing.frame_sources import frame_records, shown_nights
from ccdflow.kinds.reducing.small_pictures import (
    is_drawn,
    mapped_image_of,
    rows_read,
    values_shown,
)
from ccdflow.kinds.reporting.frame_pictures import NightPicture
from ccdflow.kinds.reporting.sheet_tiles import NightTiles
from ccdflow.run import job_records
from ccdflow.run.plan import WantedProduct
from ccdflow.run.rawframes.rows import OK, digest

# Stars are looked for in frames of these types.
_SKY_TYPES = ("science",)


class Sheet(NightPicture):
    """The small pictures of a night's frames, reduced and calibrated, and their list."""

    name = "sheet"
    version = 3
    rule = "contact_sheet"
    plans_some_nights = True
    nouns = ("contact sheet", "contact sheets")
    stage = 6
    file = paths.SHEET_FILE
    reports_frames = True

    def plan(self, planner):
        """Plan the list of each night that has frames, with all its pictures."""
        context = planner.context
        for night in shown_nights(context):
            for product in self.products_on_page(context, night):
                if context.problem_of(
                    f"{paths.night_folder(night)}/{paths.SMALL_PICTURES_FOLDER}/"
                ):
                    # A line of the run names the folder, into which nothing can be written.
                    planner.keep(product)
                    continue
                if not self._is_whole(context, product):
                    # A list whose pictures are missing or changed counts as missing.
                    planner.stamps.forget(product)
                basis, needs = partial(sheet_basis, context, night), self._needs(context, night)
                planner.want(self, WantedProduct(product, night, basis, needs=needs))

    def _needs(self, context, night):
        groups = SCIENCE.night_groups(context, night)
        return [*FRAME.products_on_page(context, night), *(group.product for group in groups)]

    def _is_whole(self, context, product):
        """Return whether the pictures in the folder are those of the list, byte for byte."""
        record = context.earlier_record(product)
        if record is None or record.status != job_records.MADE:
            return True
        folder = _picture_folder(context, product)
        stamps = _stamps_of(folder)
        if stamps == record.data.get("pictures"):
            return True
        try:
            listed_sums = json.loads(atomic_write.read_bytes(context.results / product))["files"]
            sums = {
                entry.name: _length_and_checksum(atomic_write.read_bytes(entry.path))
                for entry in _entries_of_folder(folder)
            }
        except (OSError, ValueError, KeyError):
            return False
        if sums != listed_sums:
            return False
        data = {**record.data, "pictures": stamps}
        context.ledger[product] = replace(record, basis=dict(record.basis), data=data)
        return True

    def basis(self, context, job):
        """Return the sources of the list of a night."""
        return sheet_basis(context, job.night)

    def make(self, context, job, *, threads):
        """Make the missing pictures, remove pictures without a frame, and write the list."""
        return write_sheet(context, job)

    def frame_reports(self, context, record):
        """Return the width of the stars of frames of the sky."""
        entries = (
            _listed_before(context, record.product) if record.status == job_records.MADE else {}
        )
        return [
            (file, f"stars {each['width']:.1f} px ({each['stars']})", [])
            for file, each in entries.items()
            if each.get("width")
        ]

    def rows_and_groups(self, context, job):
        """Return the rows of the night, and the groups of its calibrated frames."""
        return context.rows_of(job.night), SCIENCE.night_groups(context, job.night)

    def products_on_page(self, context, night):
        """Return the list of a night that has frames to draw."""
        is_wanted = is_drawn(context) and FRAME.products_on_page(context, night)
        return [self.product(night)] if is_wanted else []

    def page_basis(self, context, night):
        """Return the key of the list."""
        return self.keys_on_page(context, night)

    def sections(self, context, night):
        """Return the contact sheet, and the strip of time."""
        entries = {}
        for product in self.products_on_page(context, night):
            # The list may not have been made.
            with suppress(FileNotFoundError):
                entries = json.loads(atomic_write.read_bytes(context.results / product))["frames"]
        tiles = NightTiles(context, night, entries)
        sections = (tiles.sheet(), tiles.strip())
        return [section for section in sections if section is not None]


SHEET = Sheet()
"""The kind of a night's contact sheet."""


def sheet_basis(context, night):
    """Return the sources of the list of a night: its frames, reduced and calibrated.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    night : str
        YYYY-MM-DD, or the folder of undated frames.

    Returns
    -------
    dict of str to (int or list)
    """
    lines = []
    for row, *records in _rows_with_pictures(context, night):
        lines.append([row.file, rows_read(row), *(record.key for record in records)])
    return {"version": SHEET.version, "frames": lines}


def _rows_with_pictures(context, night):
    """Yield the rows of a night with the records of products that have pictures: one or two."""
    calibrated_records = {
        group.files[0]: record
        for group, record in SCIENCE.night_records(context, night)
        if record is not None and record.status == job_records.MADE
    }
    for row, reduced_record in zip(
        context.rows_of(night), frame_records(context, night), strict=True
    ):
        calibrated_record = calibrated_records.get(row.file)
        if row.status == OK:
            if reduced_record is None or reduced_record.status != job_records.MADE:
                continue
            yield (
                (row, reduced_record)
                if calibrated_record is None
                else (row, reduced_record, calibrated_record)
            )
        elif calibrated_record is not None:
            yield row, calibrated_record


def write_sheet(context, job):
    """Make the missing pictures, remove pictures without a frame, and write the list.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    job : ccdflow.run.job.Job

    Returns
    -------
    ccdflow.run.job_records.Record
    """
    basis = sheet_basis(context, job.night)
    earlier_entries = _listed_before(context, job.product)
    frames, files = {}, {}
    for row, *records in _rows_with_pictures(context, job.night):
        pictures = []
        for each in records:
            unit = each.data.get("unit", "adu")
            values, content = values_shown(context, row, each.product, each.key, unit)
            name = paths.small_picture(job.night, each.product).rpartition("/")[2]
            files[name] = _length_and_checksum(content)
            pictures.append({"product": each.product, "file": name, **vars(values)})
        last_record = records[-1]
        width = _median_width(context, row, last_record.product, last_record.key, earlier_entries)
        frames[row.file] = {"pictures": pictures, **width}
    folder = _picture_folder(context, job.product)
    for entry in _entries_of_folder(folder):
        if entry.name not in files:
            os.unlink(entry.path)  # noqa: PTH108
    text = json.dumps({"frames": frames, "files": files}, separators=(",", ":"))
    record = write_text_product(context, job, basis, text)
    return replace(record, data={"pictures": _stamps_of(folder)})


def _median_width(context, row, product, key, earlier_entries):
    """Return the width of the stars of a frame of the sky, measured before or now; {} for none.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.rawframes.rows.Row
    product, key : str
        The product that is measured, and its key.
    earlier_entries : dict of str to dict
        The entries of the list on the disk, by raw file.
    """
    if row.facts["type"] not in _SKY_TYPES:
        return {}
    entry = earlier_entries.get(row.file, {})
    if entry.get("measured") == key:
        return {name: entry[name] for name in ("measured", "width", "stars")}
    pixels = mapped_image_of(context, row, product)
    small_pixels = small_image(pixels)
    width, stars = star_width(
        pixels, step=pixels_per_small_pixel(pixels.shape), small_image=small_pixels
    )
    rounded_width = None if math.isnan(width) else round(width, 2)
    return {"measured": key, "width": rounded_width, "stars": stars}


def _listed_before(context, product):
    """Return the entries of a night's list as it is on the disk, by raw file; {} for none."""
    try:
        return json.loads(atomic_write.read_bytes(context.results / product))["frames"]
    except (OSError, ValueError, KeyError):
        return {}


def _picture_folder(context, product):
    """Return the folder of a night's small pictures, beside the list of them."""
    return (context.results / product).with_name(paths.SMALL_PICTURES_FOLDER)


def _length_and_checksum(content):
    return [len(content), isal_zlib.crc32(content)]


def _entries_of_folder(folder):
    """Return the entries of the pictures in a folder, without files of the user's own."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if paths.is_small_picture(entry.name)]
    except FileNotFoundError:
        return []


def _stamps_of(folder):
    """Return a hash of names, sizes and times of the pictures in a folder."""
    try:
        stamps = [
            [entry.name, *atomic_write.stamp_of(entry.path)] for entry in _entries_of_folder(folder)
        ]
    except OSError:
        # The plan makes nothing in a folder that cannot be read, and the run reports it.
        return ""
    return digest(sorted(stamps))
