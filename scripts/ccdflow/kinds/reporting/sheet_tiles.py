"""The values of a night's frames for its contact sheet and its strip of time."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import datetime
from functools import cached_property
from pathlib import Path

from ccdflow import paths
from ccdflow.kinds.calibrating.saturated_frames import (
    field_and_light,
    number_of_pixels,
    unusual_saturation,
)
from ccdflow.kinds.calibrating.science import SCIENCE
from ccdflow.kinds.reducing import frame_warnings
from ccdflow.kinds.reporting.night_frames import page_frames
from ccdflow.pages.contents import REDUCED
from ccdflow.pages.sheet import SmallPicture, Tile, sheet_section
from ccdflow.pages.time_strip import TimePanel, TimePoint, strip_section
from ccdflow.run import job_records
from ccdflow.run.products.product_names import reduced_product
from ccdflow.run.raw_frames.rows import ARRIVING_STATUS, RAW_MISSING

# The highest value of most converters, adu.
_CONVERTER_TOP = 65535
# A patch is saturated if its value is at least this fraction of the saturation, and at most as far
# above it: levels of amplifiers differ. With a smaller fraction bright stars that are not full are
# called saturated; with a larger one full pixels of a lower level are not. Chosen, not measured.
_SATURATED_FRACTION = 0.99
# A temperature above this is in K: no detector works at 100 degrees C.
_MOST_CELSIUS = 100.0
# Decimals of the range of temperatures in words, degrees: headers have more, which are noise.
_DECIMALS_OF_DEGREES = 1
# A frame with one of these statuses has no mark for it.
_UNMARKED_STATUSES = {RAW_MISSING, REDUCED}
_DARKENED_TYPES = ("bias", "dark")
_BEST_GRADE = "A"


class NightTiles:
    """The frames of a night as tiles of its contact sheet and points of its strip of time.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    night : str
    entries : dict of str to dict
        Entries of the night's list of small pictures, by raw file; {} where nothing is drawn.

    Attributes
    ----------
    frames : list of ccdflow.pages.contents.ShownFrame
        The frames of the night, by time.
    rows : dict of str to ccdflow.run.raw_frames.rows.Row
        The rows of the night by raw file, without frames that still arrive.
    """

    def __init__(self, context, night, entries):
        self.context = context
        self.night = night
        self.entries = entries
        self._calibrated_records = {
            group.files[0]: context.outcome(group.product)
            for group in SCIENCE.night_groups(context, night)
        }
        self.frames = sorted(
            page_frames(context, night, paths.FROM_NIGHT),
            key=lambda frame: (frame.time or "~", frame.file),
        )
        self.rows = {
            row.file: row for row in context.rows_of(night) if row.status != ARRIVING_STATUS
        }
        self._warnings_by_file = frame_warnings.warnings_of_frames(
            self.rows.values(), context.outcome, frame_warnings.separating_settings(context)
        )

    def sheet(self):
        """Return the section with the contact sheet; None without small pictures."""
        if not self.entries:
            return None
        return sheet_section([self.tile(frame) for frame in self.frames])

    def tile(self, frame):
        """Return the tile of a frame."""
        return Tile(
            frame.file,
            frame.image_type,
            tile_caption(frame, has_camera=self._has_several_cameras),
            frame.time,
            tuple(self._marks(frame)),
            tuple(self._pictures(frame)),
            tuple(self._notes(frame)),
        )

    def _pictures(self, frame):
        """Yield the small pictures of a frame: reduced, and calibrated if that exists."""
        for each in self._entry_pictures(frame):
            is_reduced = each["product"] == reduced_product(frame.file)
            picture_path = f"{paths.SMALL_PICTURES_FOLDER}/{each['file']}"
            step = "reduced" if is_reduced else "calibrated"
            yield SmallPicture(picture_path, step, f"{paths.FROM_NIGHT}/{each['product']}", each)

    def _marks(self, frame):
        """Yield (mark, reason) of a frame: set aside, left out, saturated, warnings and others."""
        if frame.status not in _UNMARKED_STATUSES:
            yield frame.status, frame.reason or frame.status
        if frame.remark:
            yield "left out", frame.remark
        if reason := self.saturation_in_words(frame):
            yield "saturated", reason
        record = self._calibrated_records.get(frame.file)
        if record is not None and record.status != job_records.MADE:
            yield "not calibrated", record.reason
        elif record is not None:
            yield from grade_marks(record, self._usual_grade)
        if warnings_of_frame := self._warnings_by_file.get(frame.file):
            yield "warning", "; ".join(text for _, text in warnings_of_frame.texts)

    def _notes(self, frame):
        """Yield the grade of a frame, with reasons, if it is below A and usual in the night."""
        record = self._calibrated_records.get(frame.file)
        if record is not None and record.status == job_records.MADE:
            yield from grade_notes(record, self._usual_grade)

    @cached_property
    def _has_several_cameras(self):
        """Whether the night has frames of more than one camera."""
        return has_several_cameras(self.frames)

    @cached_property
    def _usual_grade(self):
        """The grade that half of the night's calibrated frames do not exceed."""
        return usual_grade(self._calibrated_records.values())

    @cached_property
    def _saturated_pixels(self):
        """The numbers of saturated pixels of the calibrated frames with a mask, by raw file."""
        return {
            file: record.data["saturated"]
            for file, record in self._calibrated_records.items()
            if record is not None and "saturated" in record.data and file in self.rows
        }

    @cached_property
    def _files_by_field_and_light(self):
        """{field and light: raw files} of the frames whose saturated pixels are counted."""
        files = defaultdict(list)
        for file in self._saturated_pixels:
            files[field_and_light(self.rows[file])].append(file)
        return files

    def saturation_in_words(self, frame):
        """Return in words the saturation that an observer should look at; '' for none.

        It is an amplifier that is saturated throughout, or unusually many saturated pixels by the
        mask. Without a mask it is a saturated patch of the small picture. The brightest stars of a
        frame do not count.
        """
        record = self.context.outcome(reduced_product(frame.file))
        data = {} if record is None else record.data
        names = [name for name, flag in data.get("flags", {}).items() if flag == "saturated"]
        if names:
            return f"amplifier {', '.join(names)} throughout"
        if frame.file in self._saturated_pixels:
            return self._unusual_saturation(frame)
        pictures, levels = self._entry_pictures(frame), data.get("levels")
        if not pictures or not levels:
            return ""
        geometry = self.context.store.geometry(self.rows[frame.file].geometry)
        saturations = [amplifier.saturation for amplifier in geometry.amplifiers]
        return saturated_patch(pictures[0], levels, saturations)

    def _unusual_saturation(self, frame):
        """Return in words that a frame's mask has unusually many saturated pixels; '' if not."""
        counts, row = self._saturated_pixels, self.rows[frame.file]
        files_alike = self._files_by_field_and_light[field_and_light(row)]
        return unusual_saturation(
            counts[frame.file],
            number_of_pixels(self.context, row),
            [counts[file] for file in files_alike if file != frame.file],
        )

    def _entry_pictures(self, frame):
        """Return the small pictures of a frame, as the night's list has them."""
        return self.entries.get(frame.file, {}).get("pictures", ())

    # -- the strip of time -------------------------------------------------------------------------

    def strip(self):
        """Return the section with the strip of time; None where no frame has a time."""
        panels = [
            panel
            for arguments in self._panel_arguments()
            if (panel := self._panel(*arguments)) is not None
        ]
        return strip_section(panels)

    def _panel_arguments(self):
        """Yield the arguments of `_panel` for each figure of the strip."""
        yield "Bias level", "adu", "Overscan, mean of all amplifiers", self._mean_of("levels")
        yield "Noise", "adu", "Overscan pixel, mean of all amplifiers", self._mean_of("noises")
        yield (
            "Median of flats",
            "adu",
            "Median of the small picture of a reduced flat; tables have the mean",
            self._level_of_flat,
        )
        yield (
            "Sky",
            "adu a second",
            "Typical value of a reduced science frame over its exposure",
            self._sky,
        )
        yield (
            "Width of stars",
            "pixels",
            "Median full width at half maximum of the brightest stars",
            self._width,
        )
        yield (
            "Temperature",
            self._degrees(),
            "Of the detector, as the header has it",
            self._temperature,
            _DECIMALS_OF_DEGREES,
        )

    def _panel(self, name, unit, hint, value_of, most_decimals=TimePanel.most_decimals):
        """Return the `TimePanel` of a figure over the night, None without values.

        Parameters
        ----------
        name, unit, hint : str
            Name and unit of the figure, and the text on hovering.
        value_of : callable
            Takes a frame and returns its value, or None.
        most_decimals : int, optional
            Largest number of decimals of the range in words.
        """
        points = []
        for number, frame in enumerate(self.frames):
            hours, value = self._hours(frame), value_of(frame)
            if hours is None or value is None or not math.isfinite(value):
                continue
            words = f"{Path(frame.file).name}: {value:.5g} {unit}"
            is_drawn = bool(self.entries.get(frame.file))
            points.append(
                TimePoint(hours, value, frame.image_type, words, number if is_drawn else -1)
            )
        return TimePanel(name, unit, hint, tuple(points), most_decimals) if points else None

    def _hours(self, frame):
        """Return the hours of a frame since the midnight of `_first_date`; None without a time."""
        moment = _time_of(frame.time)
        if moment is None:
            return None
        days = (moment.date() - self._first_date).days
        return 24 * days + moment.hour + moment.minute / 60 + moment.second / 3600

    @cached_property
    def _first_date(self):
        """The date of the night's first frame, from whose midnight the hours are counted."""
        return min(moment for frame in self.frames if (moment := _time_of(frame.time))).date()

    def _mean_of(self, name):
        """Return the function for a frame's mean figure over its amplifiers."""

        def mean_of_amplifiers(frame):
            """Return the mean of the figure over the amplifiers of a frame; None without one."""
            values = [each for each in getattr(frame, name) if math.isfinite(each)]
            return sum(values) / len(values) if values else None

        return mean_of_amplifiers

    def _central_level(self, frame):
        """Return the median of a frame's small picture, adu; None without a picture."""
        pictures = self._entry_pictures(frame)
        return pictures[0]["centre"] if pictures else None

    def _level_of_flat(self, frame):
        """Return the median of a flat's small picture, adu; None for other frames."""
        return self._central_level(frame) if frame.image_type == "flat" else None

    def _sky(self, frame):
        """Return the median of a science frame's small picture, adu a second; None for others."""
        level = self._central_level(frame) if frame.image_type == "science" else None
        return level / frame.exptime if level is not None and frame.exptime > 0 else None

    def _width(self, frame):
        """Return the width of a frame's stars, pixels; None where it was not measured."""
        return self.entries.get(frame.file, {}).get("width")

    def _degrees(self):
        """Return the unit of the headers' temperatures: K if one is too high for degrees C."""
        degrees = [
            value for frame in self.frames if (value := self._temperature(frame)) is not None
        ]
        return "K" if degrees and max(degrees) > _MOST_CELSIUS else "°C"

    def _temperature(self, frame):
        """Return the temperature of a frame as in its header, K or degrees C; None without one."""
        try:
            return float(self.rows[frame.file].facts["temperature"])
        except (TypeError, ValueError):
            return None


def usual_grade(records):
    """Return the grade that half of some calibrated frames do not exceed; A for none.

    Parameters
    ----------
    records : iterable of ccdflow.run.job_records.Record or None
        Those of frames that were not calibrated do not count.

    Returns
    -------
    str
    """
    grades = sorted(
        record.data["grade"]
        for record in records
        if record is not None and record.status == job_records.MADE
    )
    return grades[len(grades) // 2] if grades else _BEST_GRADE


def grade_marks(record, usual):
    """Return the mark of a calibrated frame that is worse than usual in its night.

    Parameters
    ----------
    record : ccdflow.run.job_records.Record
    usual : str
        The `usual_grade` of the night.

    Returns
    -------
    list of (str, str)
        The grade and its reasons; empty for other frames.
    """
    return [_grade_note(record)] if record.data["grade"] > usual else []


def grade_notes(record, usual):
    """Return the note of a calibrated frame that is below A, and not worse than usual.

    Parameters
    ----------
    record, usual
        As of `grade_marks`.

    Returns
    -------
    list of (str, str)
        The grade and its reasons; empty for other frames.
    """
    return [_grade_note(record)] if _BEST_GRADE < record.data["grade"] <= usual else []


def has_several_cameras(frames):
    """Return whether some shown frames are of more than one camera."""
    return len({frame.camera for frame in frames if frame.camera}) > 1


def saturated_patch(picture, levels, saturations):
    """Return the value of a saturated patch of a small picture in words, or ''.

    Parameters
    ----------
    picture : dict of str to (float or str)
        The values of the small picture, as the night's list has them.
    levels : dict of str to float
        The bias levels of the amplifiers, which were subtracted from the picture, adu.
    saturations : list of float or None
        The saturation of each amplifier, adu; None where the profile has none.

    Returns
    -------
    str
    """
    highest = picture["centre"] + picture["scale"] * math.sinh(picture["high"])
    highest += max(levels.values())
    tops = [saturation for saturation in saturations if saturation is not None] or [_CONVERTER_TOP]
    is_near = _SATURATED_FRACTION * min(tops) <= highest <= (2 - _SATURATED_FRACTION) * max(tops)
    # The patch may be of an amplifier of lower level than was added: the sum is cut at the top.
    highest = min(highest, max(*tops, _CONVERTER_TOP))
    return f"a patch of it reaches {highest:.0f} adu" if is_near else ""


def _grade_note(record):
    """Return a calibrated frame's grade and its reasons, for a mark or note."""
    return f"grade {record.data['grade']}", "; ".join(record.data["reasons"])


def tile_caption(frame, *, has_camera):
    """Return the caption of a frame's tile: type, object, filter and exposure.

    Parameters
    ----------
    frame : ccdflow.pages.contents.ShownFrame
    has_camera : bool
        Whether the camera is named as well.

    Returns
    -------
    str
    """
    words = [frame.image_type or "unknown type"]
    # With a closed shutter, headers still have object and filter of the frame before.
    if frame.image_type not in _DARKENED_TYPES:
        if frame.object and frame.object.lower() != frame.image_type:
            words.append(frame.object)
        if frame.filter:
            words.append(frame.filter)
    if math.isfinite(frame.exptime) and frame.image_type != "bias":
        # Four significant digits of 1e4 s or more would be written with an exponent.
        form = ".4g" if frame.exptime < 1e4 else ".0f"
        # A no-break space: no line ends between a number and its unit.
        words.append(f"{frame.exptime:{form}}\u00a0s")
    if has_camera:
        words.append(frame.camera)
    return ", ".join(words)


def _time_of(text):
    """Return the time in a header's text, without a time zone; None where it is no time."""
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=None)
    except ValueError:
        return None
