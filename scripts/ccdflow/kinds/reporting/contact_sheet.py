"""The contact sheet of a night: the small pictures of its frames, and their list."""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from dataclasses import replace

from isal import isal_zlib

from ccdflow import paths
from ccdflow.detector.star_width import star_width
from ccdflow.files import file_access
from ccdflow.frame.small_images import pixels_per_small_pixel, small_image
from ccdflow.kinds.calibrating.science import SCIENCE
from ccdflow.kinds.product_writing import write_text_product
from ccdflow.kinds.reducing.frame import FRAME
from ccdflow.kinds.reducing.frame_sources import night_frame_records
from ccdflow.kinds.reducing.small_pictures import (
    mapped_image_of,
    n_rows_of_square,
    values_and_picture,
)
from ccdflow.kinds.reporting.night_products import PictureOfFrames
from ccdflow.kinds.reporting.sheet_tiles import NightTiles
from ccdflow.run import job_records
from ccdflow.run.raw_frames.rows import OK, digest

# The width of stars is measured in frames of these types.
_SKY_TYPES = ("science",)


class Sheet(PictureOfFrames):
    """The small pictures of a night's frames, reduced and calibrated, and their list."""

    name = "sheet"
    version = 3
    rule = "contact_sheet"
    plans_some_nights = True
    nouns = ("contact sheet", "contact sheets")
    is_in_batches = True
    file = paths.SHEET_FILE
    reports_frames = True

    def drawn_groups(self, context, night):
        """Return the calibrated frames of a night."""
        return SCIENCE.night_groups(context, night)

    def needs(self, context, night):
        """Return the reduced and the calibrated frames of a night."""
        return [*FRAME.products_on_page(context, night), *super().needs(context, night)]

    def keep_or_forget(self, planner, night):
        """Return whether the list stays, because its folder of pictures cannot be written to.

        A line of the run then names this folder. If pictures are missing or changed, the list
        counts as missing, so that it is made again.
        """
        context, product = planner.context, self.product(night)
        if context.problem_of(f"{paths.night_folder(night)}/{paths.SMALL_PICTURES_FOLDER}/"):
            planner.keep(product)
            return True
        record = context.earlier_record(product)
        if record is None or record.status != job_records.MADE:
            return False
        stamps = _hash_of_pictures(_picture_folder(context, product))
        if stamps == record.data.get("pictures"):
            return False
        if self._has_listed_pictures(context, product):
            data = {**record.data, "pictures": stamps}
            context.ledger[product] = replace(record, basis=dict(record.basis), data=data)
        else:
            planner.stamps.count_as_missing(product)
        return False

    def _has_listed_pictures(self, context, product):
        """Return whether the pictures in the folder have the lengths and checksums of the list."""
        folder = _picture_folder(context, product)
        try:
            listed_checksums = json.loads(file_access.read_bytes(context.results / product))[
                "files"
            ]
            checksums = {
                entry.name: _length_and_checksum(file_access.read_bytes(entry.path))
                for entry in _entries_of_folder(folder)
            }
        except (OSError, ValueError, KeyError):
            return False
        return checksums == listed_checksums

    def night_basis(self, context, night):
        """Return the sources of the list of a night: the keys of its frames."""
        lines = [
            [row.file, n_rows_of_square(row), *(record.key for record in records)]
            for row, *records in _rows_with_pictures(context, night)
        ]
        return {"version": self.version, "frames": lines}

    def make(self, context, job, *, threads):
        """Make the missing pictures, remove pictures without a frame, and write the list."""
        basis = self.basis(context, job)
        earlier_entries = _listed_entries(context, job.product)
        entries, checksum_by_name = {}, {}
        for row, *records in _rows_with_pictures(context, job.night):
            pictures = []
            for each in records:
                unit = each.data.get("unit", "adu")
                values, content = values_and_picture(context, row, each.product, each.key, unit)
                name = paths.small_picture(job.night, each.product).rpartition("/")[2]
                checksum_by_name[name] = _length_and_checksum(content)
                pictures.append({"product": each.product, "file": name, **vars(values)})
            width = _width_of_stars(context, row, records[-1], earlier_entries)
            entries[row.file] = {"pictures": pictures, **width}
        folder = _picture_folder(context, job.product)
        for entry in _entries_of_folder(folder):
            if entry.name not in checksum_by_name:
                os.unlink(entry.path)  # noqa: PTH108
        text = json.dumps({"frames": entries, "files": checksum_by_name}, separators=(",", ":"))
        record = write_text_product(context, job, basis, text)
        return replace(record, data={"pictures": _hash_of_pictures(folder)})

    def frame_reports(self, context, record):
        """Return the width of the stars of each science frame, for a watch."""
        entries = (
            _listed_entries(context, record.product) if record.status == job_records.MADE else {}
        )
        return [
            (file, f"stars {each['width']:.1f} px ({each['stars']})", [])
            for file, each in entries.items()
            if each.get("width")
        ]

    def rows_and_groups(self, context, job):
        """Return the rows of the night, and the groups of its calibrated frames."""
        return context.rows_of(job.night), self.drawn_groups(context, job.night)

    def sections(self, context, night):
        """Return the sections with the contact sheet and with the strip of time."""
        entries = {}
        for product in self.products_on_page(context, night):
            # The list is not there if its job failed.
            with suppress(FileNotFoundError):
                entries = json.loads(file_access.read_bytes(context.results / product))["frames"]
        tiles = NightTiles(context, night, entries)
        sections = (tiles.sheet(), tiles.strip())
        return [section for section in sections if section is not None]


SHEET = Sheet()
"""The kind of a night's contact sheet."""


def _rows_with_pictures(context, night):
    """Yield each row of a night with the one or two records of its pictured products."""
    calibrated_records = {
        group.files[0]: record
        for group, record in SCIENCE.night_records(context, night)
        if record is not None and record.status == job_records.MADE
    }
    for row, reduced_record in zip(
        context.rows_of(night), night_frame_records(context, night), strict=True
    ):
        is_reduced = reduced_record is not None and reduced_record.status == job_records.MADE
        if row.status == OK and not is_reduced:
            continue
        calibrated_record = calibrated_records.get(row.file)
        records = [reduced_record] if row.status == OK else []
        records += [] if calibrated_record is None else [calibrated_record]
        if records:
            yield row, *records


def _width_of_stars(context, row, record, earlier_entries):
    """Return the width of a science frame's stars for its entry; {} for other frames.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.raw_frames.rows.Row
    record : ccdflow.run.job_records.Record
        Record of the product that is measured.
    earlier_entries : dict of str to dict
        The entries of the earlier list, by raw file, with the widths that are still valid.
    """
    if row.facts["type"] not in _SKY_TYPES:
        return {}
    entry = earlier_entries.get(row.file, {})
    if entry.get("measured") == record.key:
        return {name: entry[name] for name in ("measured", "width", "stars")}
    pixels = mapped_image_of(context, row, record.product)
    small_pixels = small_image(pixels)
    width, n_stars = star_width(
        pixels, step=pixels_per_small_pixel(pixels.shape), small_image=small_pixels
    )
    rounded_width = None if math.isnan(width) else round(width, 2)
    return {"measured": record.key, "width": rounded_width, "stars": n_stars}


def _listed_entries(context, product):
    """Return the entries of a night's list on the disk, by raw file; {} without a list."""
    try:
        return json.loads(file_access.read_bytes(context.results / product))["frames"]
    except (OSError, ValueError, KeyError):
        return {}


def _picture_folder(context, product):
    """Return the folder of a night's small pictures, which is beside their list."""
    return (context.results / product).with_name(paths.SMALL_PICTURES_FOLDER)


def _length_and_checksum(content):
    """Return [length, CRC-32] of the content of a file, as the list has them."""
    return [len(content), isal_zlib.crc32(content)]


def _entries_of_folder(folder):
    """Return the directory entries of the pictures in a folder; [] without the folder."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if paths.is_small_picture(entry.name)]
    except FileNotFoundError:
        return []


def _hash_of_pictures(folder):
    """Return the hash of names, sizes and times of the pictures in a folder; '' if unreadable."""
    try:
        stamps = [
            [entry.name, *file_access.stamp_of(entry.path)] for entry in _entries_of_folder(folder)
        ]
    except OSError:
        # The plan makes nothing in such a folder, and the run reports it.
        return ""
    return digest(sorted(stamps))
