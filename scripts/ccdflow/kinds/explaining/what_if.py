"""The effect of another master on a frame: pixels in memory and three numbers, no product."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from ccdflow.calibrate import master_windows
from ccdflow.calibrate.applied_masters import (
    AppliedMaster,
    DarkLimits,
    FrameMasters,
    dark_scale,
)
from ccdflow.calibrate.blocks import calibrate_file
from ccdflow.calibrate.frame_corrections import FrameCalibration
from ccdflow.calibrate.master_store import MasterStore
from ccdflow.errors import UserError
from ccdflow.files.fits_products.multi_image_products import read_stored_hdus
from ccdflow.files.values import number_or_none
from ccdflow.kinds.calibrating.calibration import Calibration
from ccdflow.kinds.calibrating.science import SCIENCE
from ccdflow.kinds.masters import master_reading
from ccdflow.kinds.matching import association, master_library, match_sentences
from ccdflow.kinds.matching.answers import answers_of
from ccdflow.kinds.matching.master_columns import day_of
from ccdflow.pages.pictures.image_rows import ImageRow, image_rows
from ccdflow.robust import MAD_TO_SIGMA
from ccdflow.run.products.product_names import reduced_product


@dataclass(frozen=True)
class WhatIf:
    """A frame calibrated with its own master and with another one.

    Attributes
    ----------
    image, other_image : numpy.ndarray of shape (ny, nx), float32
        First image of the frame, in ``unit``: with its own master, and with the other one.
    unit : str
    noise, other_noise : float
        Measured noise of a sky pixel, in ``unit``: with the own master, and with the other one; 0
        where it was not measured.
    """

    image: np.ndarray
    other_image: np.ndarray
    unit: str
    noise: float
    other_noise: float

    @property
    def difference(self):
        """``other_image - image``, in ``unit``."""
        return self.other_image - self.image

    @property
    def level_change(self):
        """The median of the `difference`, in ``unit``."""
        return float(np.nanmedian(self.difference))

    @property
    def scatter(self):
        """The robust standard deviation of the `difference`, in ``unit``."""
        deviations = np.abs(self.difference - self.level_change)
        return MAD_TO_SIGMA * float(np.nanmedian(deviations))

    def lines(self):
        """Return the three numbers in words."""
        percent = 100 * (self.other_noise / self.noise - 1) if self.noise else 0.0
        return [
            f"  level    changes by {self.level_change:+.4g} {self.unit} (median)",
            f"  scatter  of the change from pixel to pixel: {self.scatter:.4g} {self.unit}",
            f"  noise    of a sky pixel: {self.noise:.4g} now, {self.other_noise:.4g} {self.unit}"
            f" with the other ({percent:+.1f} %)",
        ]


def try_master(context, product, master):
    """Calibrate a frame twice: with its own masters, and with another one in the place of one.

    Parameters
    ----------
    context : ccdflow.run.context.Context
        With its groups.
    product : str
        The calibrated frame.
    master : path-like
        A combined bias, dark or flat.

    Returns
    -------
    WhatIf

    Raises
    ------
    UserError
        If there is no such frame or reduced frame, or the file is no master.
    FrameError
        If the master cannot be applied to the frame.
    """
    group = context.find_group(product)
    if group is None or group.kind != SCIENCE.name:
        raise UserError(
            "is not a calibrated frame",
            file=product,
            allowed="a file below calibrated/",
            remedy="give a calibrated frame",
        )
    calibration = Calibration(context, group)
    if calibration.reduced_record is None:
        raise UserError(
            "its reduced frame is not there", file=product, remedy="run snakemake first"
        )
    store, path = MasterStore(), context.results / reduced_product(calibration.row.file)
    applied_masters = {
        kind: master_reading.read_applied_master(
            context,
            store,
            kind=kind,
            use=use,
            path=path,
            degrees_warmer=calibration.degrees_warmer(use),
        )
        for kind, use in calibration.uses.items()
    }
    kind = _kind_of(master)
    masters_then = {**applied_masters, kind: _other_master(store, kind, master, calibration, path)}
    with tempfile.TemporaryDirectory() as folder:
        image, figures = _calibrate_with(
            path, Path(folder) / "now.fits", calibration, FrameMasters(**applied_masters)
        )
        other_image, other_figures = _calibrate_with(
            path, Path(folder) / "then.fits", calibration, FrameMasters(**masters_then)
        )
    noises = [each.images[0].get("sky_rms") or 0.0 for each in (figures, other_figures)]
    return WhatIf(image, other_image, other_figures.unit, *noises)


def _other_master(store, kind, master, calibration, path):
    """Return the `AppliedMaster` of a master that is tried on a frame.

    Parameters
    ----------
    store : ccdflow.calibrate.master_store.MasterStore
    kind : {'bias', 'dark', 'flat'}
    master : path-like
    calibration : ccdflow.kinds.calibrating.calibration.Calibration
        Calibration of the frame.
    path : pathlib.Path
        The reduced frame.
    """
    hdu = master_windows.first_image_hdu(read_stored_hdus(path))
    master_tried, cut = master_windows.master_for(
        store, kind, master, hdu, file=calibration.group.product, name=str(master)
    )
    scale = 1.0
    if kind == "dark":
        seconds = number_or_none(calibration.row.facts["exptime"])
        scale = dark_scale(seconds, master_tried, file=calibration.row.file)
    return AppliedMaster(master_tried, scale, cut=cut)


def rule_line(context, product, master):
    """Return a line with the rule's verdict on another master for a frame; '' without one.

    Parameters
    ----------
    context : ccdflow.run.context.PlanContext
        With its groups.
    product : str
        The calibrated frame.
    master : path-like
        A combined bias, dark or flat.

    Returns
    -------
    str

    Raises
    ------
    UserError
        If the file is not a master.
    """
    group, path = context.group(product), Path(master).resolve()
    kind = _kind_of(master)
    if not path.is_relative_to(context.results.resolve()):
        return ""
    name = path.relative_to(context.results.resolve()).as_posix()
    answer = next((each for each in answers_of(context, group) if each.kind == kind), None)
    if answer is None:
        return ""
    if answer.use is not None and answer.use.product == name:
        return "  rule     this master is the one that the frame takes"
    candidates = {use.product: use for use in answer.step.uses}
    if name in candidates and answer.use is not None:
        reason = match_sentences.why_lost(
            answer.use, candidates[name], master_library.rules_of(context)
        )
        return f"  rule     it is not taken: {reason}"
    night = path.parent.name
    refusals = association.refused_masters(context, kind, group, {night})
    reasons = [reason for candidate, reason in refusals if candidate.product == name]
    if reasons:
        return f"  rule     it may not be taken: {reasons[0]}"
    is_causal = master_library.rules_of(context).is_causal
    if is_causal and _is_later_than_taken(night, group, answer.use):
        return "  rule     it is not taken: of a later night"
    return ""


def _is_later_than_taken(night, group, use):
    """Return whether a night is later than a frame's, and the frame has an earlier master.

    The masters of such a night neither compete nor are refused.
    """
    days = day_of(night), day_of(group.night)
    if use is None or match_sentences.is_later(use) or None in days:
        return False
    return days[0] > days[1]


def _calibrate_with(path, target, calibration, masters):
    """Calibrate a frame with some masters, and return its first image and its figures.

    Parameters
    ----------
    path, target : pathlib.Path
        The reduced frame, and the file to write.
    calibration : ccdflow.kinds.calibrating.calibration.Calibration
        Calibration of the frame.
    masters : ccdflow.calibrate.applied_masters.FrameMasters
        The masters by which the frame is calibrated.
    """
    limits = DarkLimits(np.inf, np.inf)
    frame_calibration = FrameCalibration(masters, calibration.readouts(), limits=limits)
    figures = calibrate_file(path, target, frame_calibration, name=calibration.group.product)
    with fits.open(target, memmap=False) as hdus:
        first_hdu = next(hdu for hdu in hdus if hdu.data is not None)
        return np.asarray(first_hdu.data, np.float32), figures


def _kind_of(master):
    """Return the kind of the master in a file, by the name that ccdflow gave it."""
    path = Path(master)
    if not path.is_file():
        raise UserError(
            "there is no such master",
            file=master,
            allowed="a file below combined/",
            remedy="see `ls combined/*` in the results folder",
        )
    for kind in ("bias", "dark", "flat"):
        if path.name.startswith(kind):
            return kind
    raise UserError(
        "its name does not say which master it is",
        file=master,
        allowed="a name that begins with bias, dark or flat",
        remedy="give a master under the name it was made with",
    )


def picture_of_change(what_if, *, product, master):
    """Return the picture of a `WhatIf` as a PNG: the frame now and then, and the difference.

    Parameters
    ----------
    what_if : WhatIf
    product : str
        The calibrated frame.
    master : str
        The other master.

    Returns
    -------
    bytes
    """
    rows = [
        ImageRow(
            product,
            ((what_if.image, what_if.unit, "Now"), (what_if.other_image, what_if.unit, "With it")),
        ),
        ImageRow("The change", ((what_if.difference, what_if.unit, "With it, minus now"),)),
    ]
    text = "; ".join(" ".join(line.split()) for line in what_if.lines())
    return image_rows(rows, title=f"What if: {master}", explanation=text)
