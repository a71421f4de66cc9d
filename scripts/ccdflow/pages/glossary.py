"""The meaning and unit of the columns of tables, which a page shows on hovering over a heading.

A kind may give the hints of its columns itself (`ccdflow.pages.contents.Section.hints`). The hints
of all other columns are here.
"""

from __future__ import annotations

_GRADE = (
    "A: every step, with masters of the same night; B: every step, but a master is of another night or cut from a"  # noqa: E501
    " larger window, a dark is scaled down or of another or unknown temperature, or one that does harm is left out;"  # noqa: E501
    " C: a step is missing, a dark is scaled up, or the scales of the amplifiers differ"
)

SECTION_TERMS = {
    "darks-and-flats": {
        "Product": "File of the combined dark or flat, below combined/ and the night",
        "Frames": "Number of frames that were combined",
        "Amplifier": "The part of the detector that is read through one output",
        "Figures": "Of a dark: current in the unit a second, hot pixels, glow; of a flat: mean level and its range, signal to noise of a pixel",  # noqa: E501
        "Noise measured / predicted": "Noise of the product over that which its frames predict; 1 where both agree",  # noqa: E501
        "Remarks": "Frames left out, frames missing, and the reasons",
    },
    "choices": {
        "Frames": "The frames that a master is for",
        "Step": "The master of this step: bias, dark or flat",
        "Master": "The combined frame that is taken",
        "How": "Nights between, factor on the exposure, and the noise that it adds",
        "Second choice": "The master that would have been taken next",
        "Why it was not taken": "Fault of the second choice",
        "Grade": _GRADE,
    },
    "calibrated": {
        "Frame": "Raw file, relative to the raw folder",
        "Grade": _GRADE,
        "Bias": "The combined bias that was subtracted",
        "Dark": "The combined dark that was subtracted",
        "Flat": "The combined flat that it was divided by",
        "Sky": "Median of the image, in its unit (electrons where the gain is known)",
        "Noise": "Noise of a pixel as measured between neighbouring rows, in the image's unit",
        "Predicted": "Noise of a pixel that UNCERT predicts, in the image's unit",
        "Saturated": "Number of saturated pixels, as MASK has them",
        "Remarks": "Steps without a master, or the reason why there is no calibrated frame",
    },
    "detector": {
        "Amplifier": "Camera and amplifier",
        "Gain": "Electrons per adu by photon transfer from pairs of flats, and its error",
        "Gain in use": "Electrons per adu that frames are multiplied with",
        "Read noise": "Electrons, from pairs of biases, and its error",
        "Not linear": "Departure from a straight line at half of the full well, percent, and its error",  # noqa: E501
        "Full well": "Level above the bias at which pixels pile up, adu",
        "Hot": "Pixels whose dark current stands out from their neighbours'",
        "Varying": "Pixels whose value varies from frame to frame by more than noise",
        "Low": "Pixels that are dead or of low response",
        "In bad columns": "Pixels in bad columns",
    },
    "helps": {
        "Master": "The combined frame that is left out for a trial",
        "Frames": "Number of frames that took it",
        "Noise with": "Noise from pixel to pixel with all masters, in the unit of the frames",
        "Structure with": "Scatter of boxes of 64 pixels with all masters, in the unit of the frames",  # noqa: E501
        "Noise without": "The same without this master",
        "Structure without": "The same without this master",
        "Verdict": "Whether the frames are better with it",
    },
    "shutter": {
        "Night": "Night of the flats",
        "Detector": "Camera and setup",
        "Flats of": "Exposure times of the flats, seconds",
        "Least": "Smallest dead time of a cell of the image, beside the mean, milliseconds",
        "Largest": "Largest dead time of a cell, beside the mean, milliseconds",
        "Error": "Standard error of a cell, milliseconds",
        "Mean": "Mean dead time of the whole image and its error, milliseconds; needs a steady lamp",  # noqa: E501
        "Scatter": "Scatter of the flats about it over that of noise; 1 where both agree",
    },
    "steps": {
        "First night": "The first night after the step",
        "Amplifier": "Camera, amplifier and setup",
        "Figure": "The figure that has changed",
        "Before": "The figure before the step, with its unit",
        "After": "The figure after it, with its unit",
        "Errors": "Size of the step in its standard errors",
    },
    "ageing": {
        "Masters": "Camera and type of the masters that are compared",
        "Between them": "Variance of their difference beyond noise",
        "A day adds": "Growth of that variance with a day between them",
        "For the profile": "The archive's value, as a line of the camera's profile",
        "In use": "The value by which masters are chosen",
    },
    "verified": {
        "product": "File, relative to the results folder",
        "verdict": "verified, differs, or cannot be made again",
        "why": "The difference, or why it cannot be made again",
    },
}
"""The meaning of each heading, for each section of a page by its anchor."""

REMARKS = "Remarks"
"""The heading of a column without one, because screen readers need a heading."""


def hint_of(heading, section):
    """Return the meaning of a column of a section's table; '' where it has no hint.

    Parameters
    ----------
    heading : str
    section : ccdflow.pages.contents.Section

    Returns
    -------
    str
    """
    for name, hint in zip(section.headings, section.hints, strict=False):
        if name == heading and hint:
            return hint
    terms = SECTION_TERMS.get(section.anchor, {})
    # A heading may end with a unit in parentheses.
    heading_without_unit = heading.partition(" (")[0]
    return terms.get(heading or REMARKS, terms.get(heading_without_unit, ""))
