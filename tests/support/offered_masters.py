"""Frames and masters as the rule of matching sees them, for tests."""

from ccdflow.kinds.matching.rule_values import CandidateMaster, Observation

LFC = (("camera", "lfc"), ("binning", "1x1"), ("gain", "g1.1"))


NIGHT = "2016-01-16"


def frame(night=NIGHT, exptime=300.0, filter="g'", setup=LFC, **temperatures):
    """Return the observation of a frame."""
    return Observation(setup, night, exptime, filter, **temperatures)


def master(kind, night, frames=3, exptime=300.0, filter="g'", setup=LFC, name="", **temperatures):
    """Return a candidate master."""
    observation = Observation(setup, night, exptime, filter, **temperatures)
    product = f"combined/{night}/{kind}_{filter}_{exptime}_{frames}{name}"
    return CandidateMaster(product, kind, observation, frames)
