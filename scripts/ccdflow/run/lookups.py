"""The keys of lookups and of values on outcomes that a context keeps."""

from __future__ import annotations

from enum import StrEnum


class Lookup(StrEnum):
    """The first item of a key of `ccdflow.run.context.Context.lookup`.

    A lookup depends on rows, groups and settings, which are constant in a run. A watch keeps the
    lookups of masters and setups from plan to plan, and makes all others anew for each new frame.
    """

    # Values on the groups of one kind; the second item of the key is the name of the kind.
    GROUPS = "groups"
    GROUPS_BY_NIGHT = "groups by night"
    NIGHTS_OF_GROUPS = "nights of groups"
    GROUPS_ELSEWHERE = "groups elsewhere"
    MASTER_LIBRARY = "master library"
    # Values on setups, cameras and masters.
    MASTER_LIBRARIES = "master libraries"
    SETUP = "setup"
    LAYOUT = "layout"
    GEOMETRY = "geometry"
    PROFILE = "profile"
    SPELLINGS = "spellings"
    DISTINGUISHING_CARDS = "cards that tell masters apart"
    MAPS_BY_NIGHT = "maps by night"
    PIXELS_BY_NIGHT = "pixels by night"
    PIXELS_OF_ROW = "pixels for"
    DETECTOR_SETUP = "detector's setup"
    RESPONSE = "response"
    GLOW = "glow"
    CHIP_RECIPE = "recipe of a chip"
    RAW_PIXELS = "raw pixels"
    SIZE_OF_FRAME = "size of frame"
    # Values on all frames.
    ROWS_BY_PRODUCT = "rows by product"
    ROWS_BY_NIGHT = "rows by night"
    AGEING = "ageing"
    NOISES = "noises"
    PAIRS = "pairs of bias and dark"
    PLACE = "place"
    LISTED_FRAMES = "frames as they were listed"
    REFUSALS = "refusals foreseen"
    SKY_RATES = "sky rates"
    SMALL_PICTURES = "small pictures"
    VERDICTS = "verdicts"
    MATCHING_FILES = "files that are those of their records"
    MISSING_SOURCES = "missing sources"

    @property
    def is_of_masters(self):
        """Whether the values are on groups of one kind: a new science frame changes none."""
        return self in (
            Lookup.GROUPS, Lookup.GROUPS_BY_NIGHT, Lookup.NIGHTS_OF_GROUPS,
            Lookup.GROUPS_ELSEWHERE, Lookup.MASTER_LIBRARY,
        )  # fmt: skip

    @property
    def is_of_setups(self):
        """Whether the values are on setups, cameras, masters: a new science frame changes none."""
        return self in (
            Lookup.MASTER_LIBRARIES, Lookup.SETUP, Lookup.LAYOUT, Lookup.GEOMETRY, Lookup.PROFILE,
            Lookup.SPELLINGS, Lookup.DISTINGUISHING_CARDS, Lookup.MAPS_BY_NIGHT,
            Lookup.PIXELS_BY_NIGHT, Lookup.PIXELS_OF_ROW, Lookup.DETECTOR_SETUP, Lookup.RESPONSE,
            Lookup.GLOW, Lookup.CHIP_RECIPE, Lookup.RAW_PIXELS, Lookup.SIZE_OF_FRAME,
        )  # fmt: skip


class OutcomeKey(StrEnum):
    """The first item of a key of a value on outcomes.

    `ccdflow.run.context.Context.kept_by_key` and ``kept_by_identity`` of the same class take such a
    key. The value depends on the records of products, so a job makes it anew for each call.
    """

    # Values on all frames, or on the frames of a night.
    COVERAGE = "coverage"
    SHOWN_NIGHTS = "shown nights"
    FRAME_RECORDS = "frame records"
    HASH_OF_FRAMES = "hash of frames"
    REDUCED_FRAMES = "reduced frames"
    CALIBRATED_FRAMES = "calibrated frames"
    CALIBRATED_RECORDS = "calibrated records"
    DRAWN_FRAMES = "drawn frames"
    # Values on a group, its masters or measurements.
    HASH_OF_GROUP = "hash of group"
    SOURCES_ALIKE = "sources alike"
    CHOICE_IDS = "choice ids"
    MEASUREMENTS = "measurements"
    BASIS_OF_MEASUREMENTS = "basis of measurements"
    TEXT_OF_MEASUREMENTS = "text of measurements"
    # Values on the objects of steps.
    ANSWER = "answer"
    ANSWERS = "answers"
    RIVAL = "rival"
    STEP_LINE = "step line"
    BEST_PAIR = "best pair"
    BIASES_OF_DARKS = "biases of darks"
    BIAS_WITHOUT_DARK = "bias without dark"
    COMPETING_FLATS = "competing flats"
    STEP_IN_ORDER = "step in order"
    MAY_CHANGE = "may change"
    NEEDS = "needs"
    FIRST_USE = "first use"
