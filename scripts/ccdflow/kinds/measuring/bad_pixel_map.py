"""The map of bad pixels of a detector in an epoch, with the nights in which each was seen bad."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ccdflow import paths
from ccdflow.detector.pixels.history import History, combine_nights
from ccdflow.files.header_text import printable_text
from ccdflow.kinds.kind import Kind
from ccdflow.kinds.measuring import counted_nights, measurement_cards, pixel_tables
from ccdflow.kinds.measuring.detector_measurement import DETECTOR
from ccdflow.kinds.measuring.detector_setups import PIXEL_FACTS, names_of_setups, pixel_facts_of
from ccdflow.kinds.measuring.measured_nights import made_measurements
from ccdflow.kinds.product_writing import refused_record
from ccdflow.run import job_records
from ccdflow.run.job import Group
from ccdflow.run.plan import WantedProduct
from ccdflow.run.raw_frames.rows import digest


class _Measurement(NamedTuple):
    """A measurement of the detector: its record, and the data of the record."""

    record: job_records.Record
    data: dict[str, object]


class _ImageHistory(NamedTuple):
    """The bad pixels of an image over the nights of an epoch.

    Attributes
    ----------
    number : int
        Number of the image.
    shape : (int, int)
        (ny, nx).
    history : ccdflow.detector.pixels.history.History
    mask : numpy.ndarray of shape (ny, nx), int16
        Mask of the newest nights.
    """

    number: int
    shape: tuple[int, int]
    history: History
    mask: np.ndarray


class BadPixels(Kind):
    """Maps of bad pixels, with the first and last night of an epoch in which each was seen bad."""

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
        """Plan the map of each detector and epoch; keep the earlier ones without measurements."""
        context = planner.context
        if not DETECTOR.is_enabled(context) or not DETECTOR.groups(context):
            planner.keep_all_of(self)
            return
        for group in self._make_groups(context):
            context.groups[group.product] = group
            basis = self._basis(context, group)
            planner.want(self, WantedProduct(group.product, "", basis, needs=group.measurements))

    def _make_groups(self, context):
        """Yield the group of each map: the measurements of the same pixels in one epoch."""
        groups_by_setup = {}
        for group in DETECTOR.groups(context):
            setup = tuple(zip(PIXEL_FACTS, pixel_facts_of(group.shared), strict=True))
            groups_by_setup.setdefault((dict(group.shared)["epoch"], setup), []).append(group)
        names = names_of_setups(groups_by_setup)
        for (epoch, setup), groups in groups_by_setup.items():
            camera, size = (dict(setup)[name] for name in ("camera", "size"))
            product = paths.bad_pixels(camera, names[epoch, setup], epoch)
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
            measurement_records = made_measurements(context, group.measurements)
        return {
            "version": self.version,
            "nights": sorted([record.product, record.key] for record in measurement_records),
            "settings": {name: context.settings["detector"][name] for name in names},
        }

    def make(self, context, job, *, threads):
        """Write the map: an image with the mask of the newest nights, and a table."""
        group = context.group(job.product)
        all_records = made_measurements(context, group.measurements)
        basis = self._basis(context, group, all_records)
        # Each access to a record's data decodes JSON text: here the thousands of texts are decoded
        # once.
        measurements = [_Measurement(r, dict(r.data.items())) for r in all_records]
        measurements = [each for each in measurements if each.data["looked"]]
        if not measurements:
            return refused_record(job, basis, "no night has darks or flats that show bad pixels")
        record = job_records.Record(job.product, self.name, digest(basis), basis=basis)
        newest_nights = sorted({each.data["night"] for each in measurements})
        newest_nights = newest_nights[-context.settings["detector"]["nights"] :]
        histories = _image_histories(context, job.product, measurements, newest_nights)
        images = [(f"MASK{image.number or ''}", image.mask) for image in histories]
        return pixel_tables.write_product(
            context, record, _cards_of_map(context, group, measurements), images,
            PIXELS=_columns_of_map(histories),
        )  # fmt: skip


BAD_PIXELS = BadPixels()
"""The kind of a detector's map of bad pixels."""


def _image_histories(context, product, measurements, newest_nights):
    """Return the history and mask of each image of a map.

    Parameters
    ----------
    context : ccdflow.run.context.JobContext
    product : str
        The map.
    measurements : list of _Measurement
        Measurements that show bad pixels, oldest first.
    newest_nights : list of str
        The nights that the masks are made of.

    Returns
    -------
    list of _ImageHistory
    """
    shapes = [tuple(shape) for shape in measurements[0].data["shapes"]]
    share = context.settings["detector"]["share"]

    def read_nights(first, stop):
        """Return a list for each image, with its bad pixels in each measurement from first to stop.

        Parameters
        ----------
        first, stop : int
            Indices of the first measurement, and of the one after the last.
        """
        images_of_nights = [
            pixel_tables.read_night_bad_pixels(
                context.results / record.product, data["night"], data["looked"], shapes,
                reads_weak_pixels=data["night"] in newest_nights,
            )
            for record, data in measurements[first:stop]
        ]  # fmt: skip
        return [[images[number] for images in images_of_nights] for number in range(len(shapes))]

    counts, n_counted = counted_nights.count_settled(
        context.results,
        product,
        [[record.product, record.key, record.content] for record, _ in measurements],
        sum(data["night"] not in newest_nights for _, data in measurements),
        read_nights,
    )
    histories = []
    for number, nights in enumerate(read_nights(n_counted, len(measurements))):
        newest = combine_nights([n for n in nights if n.night in newest_nights], share=share)
        mask = np.zeros(shapes[number], np.int16)
        mask.reshape(-1)[newest.index] = newest.bits
        earlier_counts = counts[number] if counts else None
        history = combine_nights(nights, share=share, earlier=earlier_counts)
        histories.append(_ImageHistory(number, shapes[number], history, mask))
    return histories


def _cards_of_map(context, group, measurements):
    """Return the cards of a map: its detector, its settings, and its measurements.

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
    # Measurements beyond the highest number have no card.
    measurements_with_cards = measurements[: measurement_cards.HIGHEST_NUMBER]
    for number, (record, _) in enumerate(measurements_with_cards, start=1):
        cards += [(f"IMCOM{number:03d}", printable_text(record.product), "measurement")]
        cards += [(f"IMKEY{number:03d}", record.key, "its CCDFKEY")]
    return cards


def _columns_of_map(histories):
    """Return the columns of a map's table: place, bits, nights and counts of each pixel."""
    names = ("IMAGE", "X", "Y", "BITS", "FIRST", "LAST", "SEEN", "LOOKED")
    # An undated night has the name of its folder.
    width = max(
        (len(printable_text(night)) for image in histories for night in image.history.nights),
        default=0,
    )
    width = max(width, len("2024-03-01"))
    night_format = f"{width}A"
    formats = ("I", "J", "J", "I", night_format, night_format, "J", "J")
    arrays_by_name = {name: [] for name in names}
    for number, (_, nx), history, mask in histories:
        y, x = np.divmod(history.index, nx)
        nights = np.array([printable_text(night) for night in history.nights], dtype=f"U{width}")
        values = (
            np.full(x.size, number), x + 1, y + 1, mask.reshape(-1)[history.index],
            nights[history.first], nights[history.last],
            history.n_bad_nights, history.n_judged_nights,
        )  # fmt: skip
        for name, array in zip(names, values, strict=True):
            arrays_by_name[name].append(array)
    return {
        name: (column_format, np.concatenate(arrays_by_name[name]))
        for name, column_format in zip(names, formats, strict=True)
    }
