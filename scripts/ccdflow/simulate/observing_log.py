"""Observing logs: the guide's night, and one night of an archive."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ccdflow.simulate.user_values import parse_date

LATITUDE, LONGITUDE = 33.4, -116.9
"""Latitude and longitude of Palomar, degrees, east positive."""

MOST_FRAMES_PER_NIGHT = 2000
"""Most frames of a night: one frame every 20 s takes from 01:00 to 12:07 UT."""


@dataclass(frozen=True)
class LogLine:
    """One line of the observing log: an exposure.

    Attributes
    ----------
    file : str
        Path in the night's folder, with ``/`` between folders.
    number : int
    imagetyp, object, filter : str
        Values in the log, and in the header.
    exptime : float
        Seconds.
    start : datetime.datetime
        UT at which the shutter opened.
    """

    file: str
    number: int
    imagetyp: str
    object: str
    filter: str
    exptime: float
    start: datetime

    @property
    def night_and_hours(self):
        """Date of the night's evening, and hours from the local mean noon before to the start."""
        shifted = self.start + timedelta(hours=LONGITUDE / 15 - 12)
        return shifted.date(), shifted.hour + shifted.minute / 60 + shifted.second / 3600


# The lines of the guide's observing log: number, IMAGETYP, OBJECT, FILTER, EXPTIME (s), UT.
_GUIDE_FRAMES = (
    *((n, "BIAS", "bias", "i'", 0.0, f"00:{51 + n}:10") for n in range(1, 7)),
    (14, "FLATFIELD", "flat_g", "g'", 70.001, "04:17:28"),
    (15, "FLATFIELD", "flat_g", "g'", 70.011, "04:20:11"),
    (16, "FLATFIELD", "flat_g", "g'", 70.001, "04:22:54"),
    (17, "FLATFIELD", "flat_i", "i'", 7.0, "04:28:02"),
    (18, "FLATFIELD", "flat_i", "i'", 7.0, "04:29:41"),
    (19, "FLATFIELD", "flat_i", "i'", 7.0, "04:31:20"),
    (37, "OBJECT", "field_1", "g'", 300.062, "06:48:31"),
    (43, "OBJECT", "field_2", "i'", 300.014, "08:41:05"),
)
_GUIDE_DARKS = (
    (2, "BIAS", "bias", "i'", 0.0, "12:58:10"),
    (13, "DARK", "dark", "i'", 300.0, "13:08:20"),
    (14, "DARK", "dark", "i'", 300.0, "13:14:53"),
    (15, "DARK", "dark", "i'", 300.0, "13:21:26"),
    (17, "DARK", "dark", "i'", 70.0, "13:31:40"),
    (18, "DARK", "dark", "i'", 70.0, "13:34:23"),
    (19, "DARK", "dark", "i'", 70.0, "13:37:06"),
    (23, "DARK", "dark", "i'", 7.0, "13:45:12"),
    (24, "DARK", "dark", "i'", 7.0, "13:46:51"),
    (25, "DARK", "dark", "i'", 7.0, "13:48:30"),
)
# Runs of frames in each hundred of an archive's night: number of the first frame after the run,
# from 0, IMAGETYP, OBJECT, EXPTIME (s).
_ARCHIVE_FRAMES = (
    (10, "BIAS", "bias", 0.0),
    (20, "FLATFIELD", "flat_g", 7.0),
    (25, "DARK", "dark", 7.0),
    (100, "OBJECT", "field_1", 10.0),
)


def guide_frames(*, date="2016-01-16", darks_date=None):
    """Return the guide's 14 frames and the 10 of its ``darks`` folder.

    Parameters
    ----------
    date, darks_date : str, optional
        UT dates of the frames, and of the frames in ``darks`` (default: `date`).

    Returns
    -------
    tuple of LogLine
    """
    tables = (("", date, _GUIDE_FRAMES), ("darks/", darks_date or date, _GUIDE_DARKS))
    return tuple(
        LogLine(
            file=f"{folder}ccd.{number:03d}.0.fits.gz",
            number=number,
            imagetyp=imagetyp,
            object=target,
            filter=band,
            exptime=exptime,
            start=datetime.fromisoformat(f"{parse_date(day)}T{ut}"),
        )
        for folder, day, table in tables
        for number, imagetyp, target, band, exptime, ut in table
    )


def archive_frames(night, count):
    """Return the first `count` frames of one night of an archive.

    Each hundred begins with biases, flats and darks (`_ARCHIVE_FRAMES`); its other frames are
    objects. The n-th frame does not depend on the count, so that a night can grow.

    Parameters
    ----------
    night : datetime.date
        Local date of the evening. The UT date of the frames is the next day.
    count : int

    Returns
    -------
    tuple of LogLine
        With files ``YYYY-MM-DD/ccd.NNN.0.fits.gz`` in the folder of the night.
    """
    first = datetime.combine(night + timedelta(days=1), datetime.min.time()) + timedelta(hours=1)
    return tuple(_archive_frame(night, n, first + n * timedelta(seconds=20)) for n in range(count))


def _archive_frame(night, n, start):
    """Return the n-th frame of a night, counted from 0."""
    _, imagetyp, target, exptime = next(row for row in _ARCHIVE_FRAMES if n % 100 < row[0])
    number = n + 1
    file = f"{night.isoformat()}/ccd.{number:03d}.0.fits.gz"
    return LogLine(
        file=file,
        number=number,
        imagetyp=imagetyp,
        object=target,
        filter="g'",
        exptime=exptime,
        start=start,
    )
