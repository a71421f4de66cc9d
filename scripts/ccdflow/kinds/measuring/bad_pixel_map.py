"""The map of bad pixels of a detector in an epoch, with the nights in which each was seen bad."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ccdflow import paths
from ccdflow.detector.pixels.history import combine_nights
from ccdflow.files.headertext import printable_text
from ccdflow.kinds.kind import Kind
from ccdflow.kinds.measuring import counted_nights, pixel_tables
from ccdflow.kinds.measuring.detector_measurement import DETECTOR
from ccdflow.kinds.measuring.detector_setups import PIXEL_FACTS, names_of_setups, pixels_of
from ccdflow.kinds.measuring.measured_nights import measurements_of
from ccdflow.kinds.product_writing import refused_record
from ccdflow.run import job_records
from ccdflow.run.job import Group
from ccdflow.run.plan import WantedProduct
from ccdflow.run.rawframes.rows import digest


class _Measurement(NamedTuple):
    """A measurement of the detector: its record, and the data of the record."""

    record: job_records.Record
    data: dict[str, object]


class BadPixels(Kind):
    """Maps of bad pixels: all nights of an epoch, and when each pixel was bad first and last."""

    name = "bad pixels"
    rule = "bad_pixels"
    plans_some_nights = True
    nouns = ("map of bad pixels", "maps of bad pixels")
    progress_nouns = nouns
    verb = "make"
    is_report = False
    takes_all_cores = True
    path_prefix = f"{paths.DETECTOR_FOLDER}/"
    version = 4
    why_moved = "there are no such darks or flats any more"

    def has_name(self, product):
        """Return whether a path is that of a map."""
        return product.startswith(self.path_prefix) and product.count("/") == 2

    def plan(self, planner):
        """Plan the map of each detector and epoch."""
        context = planner.context
        if not DETECTOR.is_enabled(context) or not DETECTOR.groups(context):
            planner.keep_all_of(self)
            return
        for group in self._make_groups(context):
            context.groups[group.product] = group
            basis = self._basis(context, group)
            planner.want(self, WantedProduct(group.product, "", basis, needs=group.measurements))

    def _make_groups(self, context):
        """Yield the groups of measurements of the same pixels in one epoch."""
        groups_by_setup = {}
        for group in DETECTOR.groups(context):
            epoch = dict(group.shared)["epoch"]
            groups_by_setup.setdefault((pixels_of(group.shared), epoch), []).append(group)
        setups = {
            each: (each[1], tuple(zip(PIXEL_FACTS, each[0], strict=True)))
            for each in groups_by_setup
        }
        names = names_of_setups(setups.values())
        for (pixels, epoch), groups in groups_by_setup.items():
            camera, size, *_ = pixels
            product = paths.bad_pixels(camera, names[setups[pixels, epoch]], epoch)
            nights = tuple(sorted({group.night for group in groups}))
            members = tuple(group.product for group in groups)
            shared = (("size", size), ("epoch", epoch))
            yield Group(
                product=product,
                night=nights[-1],
                camera=camera,
                shared=shared,
                files=(),
                nights=nights,
                kind=self.name,
                measurements=members,
            )

    def basis(self, context, job):
        """Return the sources of a map: the measurements of all its nights."""
        return self._basis(context, context.group(job.product))

    def _basis(self, context, group, measurement_records=None):
        """Return the sources of a map: its measurements, and the settings that combine them."""
        names = ("nights", "share")
        if measurement_records is None:
            measurement_records = measurements_of(context, group.measurements)
        return {
            "version": self.version,
            "nights": sorted([record.product, record.key] for record in measurement_records),
            "settings": {name: context.settings["detector"][name] for name in names},
        }

    def make(self, context, job, *, threads):
        """Write the map: an image of the last night's mask, and a table."""
        group = context.group(job.product)
        all_records = measurements_of(context, group.measurements)
        basis = self._basis(context, group, all_records)
        # The data of a record are JSON text until they are read: once, as there are thousands.
        measurements = [_Measurement(r, dict(r.data.items())) for r in all_records]
        measurements = [each for each in measurements if each.data["looked"]]
        if not measurements:
            return refused_record(job, basis, "no night has darks or flats that show bad pixels")
        record = job_records.Record(job.product, self.name, digest(basis), basis=basis)
        newest_nights = sorted({each.data["night"] for each in measurements})
        newest_nights = newest_nights[-context.settings["detector"]["nights"] :]
        images, tables = _images_and_tables(context, job.product, measurements, newest_nights)
        return pixel_tables.write_product(
            context, record, _cards_of_map(context, group, measurements), images,
            PIXELS=_columns_of_map(tables),
        )  # fmt: skip


BAD_PIXELS = BadPixels()
"""The kind of a detector's map of bad pixels."""


def _images_and_tables(context, product, measurements, newest_nights):
    """Return the masks of a map, and the histories that its table is made of.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
    product : str
        The map.
    measurements : list of _Measurement
        Measurements that show bad pixels, oldest first.
    newest_nights : list of str
        The nights that the mask is made of.

    Returns
    -------
    images : list of (str, numpy.ndarray)
        Name and mask, (ny, nx), int16.
    tables : list of (int, (int, int), ccdflow.detector.pixels.history.History, numpy.ndarray)
        Number, shape, history and mask of each image.
    """
    shapes = [tuple(shape) for shape in measurements[0].data["shapes"]]
    share = context.settings["detector"]["share"]

    def read(first, end):
        """Return the bad pixels of each image in some of the measurements."""
        images_of_nights = [
            pixel_tables.read_night_bad_pixels(
                context.results / record.product, data["night"], data["looked"], shapes,
                reads_weak_pixels=data["night"] in newest_nights,
            )
            for record, data in measurements[first:end]
        ]  # fmt: skip
        return [[images[number] for images in images_of_nights] for number in range(len(shapes))]

    counts, n_counted = counted_nights.count_settled(
        context.results,
        product,
        [[record.product, record.key, record.content] for record, _ in measurements],
        sum(data["night"] not in newest_nights for _, data in measurements),
        read,
    )
    images, tables = [], []
    for number, nights in enumerate(read(n_counted, len(measurements))):
        now = combine_nights([n for n in nights if n.night in newest_nights], share=share)
        mask = np.zeros(shapes[number], np.int16)
        mask.reshape(-1)[now.index] = now.bits
        images.append((f"MASK{number or ''}", mask))
        earlier = counts[number] if counts else None
        history = combine_nights(nights, share=share, earlier=earlier)
        tables.append((number, shapes[number], history, mask))
    return images, tables


def _cards_of_map(context, group, measurements):
    """Return the cards of a map: its detector, settings, and the first 999 measurements.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
    group : ccdflow.run.job.Group
        Group of the map.
    measurements : list of _Measurement
        Measurements that show bad pixels, oldest first.
    """
    settings = context.settings["detector"]
    cards = [
        ("CCDFCAM", group.camera, "camera"),
        ("EPOCH", dict(group.shared)["epoch"] or "all", "night with which this epoch began"),
        ("NNIGHTS", len(group.nights), "nights with darks or flats"),
        ("NIGHT", measurements[-1].data["night"], "the mask is that of this night"),
        ("BPNIGHTS", settings["nights"], "newest nights that decide at most"),
        ("BPSHARE", settings["share"], "part of the nights in which a bad pixel is bad"),
        ("NCOMBINE", len(measurements), "measurements"),
    ]
    # Nights beyond 999 have no card: FITS keywords have eight letters.
    for position, (each, _) in enumerate(measurements[:999], start=1):
        cards += [(f"IMCOM{position:03d}", printable_text(each.product), "measurement")]
        cards += [(f"IMKEY{position:03d}", each.key, "its CCDFKEY")]
    return cards


def _columns_of_map(tables):
    """Return the columns of the map: index, bits, first and last night of each pixel."""
    names = ("IMAGE", "X", "Y", "BITS", "FIRST", "LAST", "SEEN", "LOOKED")
    # An undated night has the name of its folder.
    width = max(
        (len(printable_text(n)) for *_, history, _ in tables for n in history.nights), default=0
    )
    text = f"{max(width, len('2024-03-01'))}A"
    formats = ("I", "J", "J", "I", text, text, "J", "J")
    parts = {name: [] for name in names}
    for number, (_, nx), history, mask in tables:
        y, x = np.divmod(history.index, nx)
        nights = np.array(
            [printable_text(night) for night in history.nights], dtype=f"U{text[:-1]}"
        )
        values = (
            np.full(x.size, number), x + 1, y + 1, mask.reshape(-1)[history.index],
            nights[history.first], nights[history.last], history.seen, history.looked,
        )  # fmt: skip
        for name, array in zip(names, values, strict=True):
            parts[name].append(array)
    return {
        name: (form, np.concatenate(parts[name])) for name, form in zip(names, formats, strict=True)
    }
