"""Archives of raw frames with headers and zeros: the choice of masters needs no pixels."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import count
from pathlib import Path

import numpy as np
from small_frames import LFC_LIKE, write_raw

from ccdflow import kinds, settings
from ccdflow.kinds.matching import association
from ccdflow.run import session
from ccdflow.run.context import PlanContext
from ccdflow.run.run_start import DRY_RUN

NIGHT, NIGHT_BEFORE, NIGHT_AFTER = "2024-03-10", "2024-03-09", "2024-03-12"


PROFILE = LFC_LIKE.format(name="TESTCAM").replace("-116.9", "0")


TYPES = {"bias": "BIAS", "dark": "DARK", "flat": "FLAT", "science": "OBJECT"}


class HeaderArchive:
    """Raw frames of nights. Methods take cards by name, ``CCD_TEMP`` for ``CCD-TEMP``.

    Attributes
    ----------
    raw : pathlib.Path
        The raw folder.
    """

    def __init__(self, folder):
        self.raw = folder / "raw"
        self._numbers = count()

    def take(self, kind, night, frames=1, *, exptime=0.0, time="20", shape=(8, 80), **cards):
        """Write some frames of a night, and return the name of the last one."""
        day = date.fromisoformat(night) + timedelta(days=int(time) < 12)
        for _ in range(frames):
            number = next(self._numbers)
            header = {
                "INSTRUME": "TESTCAM",
                "IMAGETYP": TYPES[kind],
                "EXPTIME": exptime,
                "DATE-OBS": f"{day}T{time}:{number // 60:02d}:{number % 60:02d}",
                "FILTER": "V",
                "OBJECT": kind,
                "CCD-TEMP": -20.0,
            }
            header |= {name.replace("_", "-"): value for name, value in cards.items()}
            header = {name: value for name, value in header.items() if value is not None}
            file = f"{night}/{kind}{number:03d}.fits"
            write_raw(self.raw / file, (np.zeros(shape, np.uint16), header))
        return file

    def calibrations(self, night, *, dark=300.0, frames=5, without=(), **cards):
        """Write biases, darks and flats of a night."""
        for kind, exptime in (("bias", 0.0), ("dark", dark), ("flat", 3.0)):
            if kind not in without:
                self.take(kind, night, frames, exptime=exptime, **cards)

    def plan(self, *, profile="", **config):
        """Return the plan of a dry run."""
        cameras = self.raw.parent / "cameras"
        cameras.mkdir(exist_ok=True)
        (cameras / "testcam.yaml").write_text(PROFILE + profile)
        results = self.raw.parent / "results"
        values = {"raw": str(self.raw), "results": str(results), "cameras": str(cameras)}
        values = settings.load_settings(values | {"limits": {"settle": 0}} | config)
        return PlanContext.of(session.start(values, chain=kinds.CHAIN, request=DRY_RUN).context)

    def chosen(self, file, **options):
        """Return {step: night of its master, or reason for none}, with the grade under 'grade'."""
        context = self.plan(**options)
        (group,) = (g for g in context.groups.values() if g.product == f"calibrated/{file}")
        choices = {}
        for step in group.steps:
            use = association.first_use(context, step)
            missing = association.why_missing(context, step)
            choices[step.kind] = missing or Path(use.product).parent.name
            grade = "C" if missing else use.grade
            choices["grade"] = max(choices.get("grade", "A"), grade)
        return choices
