"""Cameras: the recognition of their frames, the facts of their headers, their amplifiers.

A camera comes from a profile (`profiles`). A frame that no profile recognises belongs to a generic
camera, which works from the header cards alone.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

from ccdflow.camera import facts
from ccdflow.camera.amplifiers.assembly import geometry_of_drafts
from ccdflow.camera.amplifiers.header_sections import drafts_from_header
from ccdflow.camera.amplifiers.profile_sections import drafts_from_profile
from ccdflow.camera.geometry import AmplifierSpec, Cards
from ccdflow.camera.hashed_text import hashed_text
from ccdflow.camera.image_hdus import array_shape, image_hdus
from ccdflow.camera.image_types import TypeRule
from ccdflow.camera.reduction_recipe import ReductionRecipe
from ccdflow.errors import FrameError, UserError
from ccdflow.files.cards import (
    CardSpec,
    card_value,
    first_value_of_cards,
    hdu_indices,
    matches_patterns,
)
from ccdflow.files.remembered_results import compute_at_once


@dataclass(frozen=True)
class Condition:
    """A header card that a camera's frames have.

    Attributes
    ----------
    card : CardSpec
        In any HDU, unless the card names one.
    values : tuple of (str or float)
        Globs or numbers; the value of the card has to match one of them.
    """

    card: CardSpec
    values: tuple[str | float, ...]

    def holds(self, headers):
        """Return whether the headers have this card with one of these values."""
        hdu = self.card.hdu
        order = range(len(headers)) if hdu is None else hdu_indices(headers, hdu)
        values = (card_value(headers[i], self.card.keyword, self.card.occurrence) for i in order)
        return any(matches_patterns(value, self.values) for value in values)

    @property
    def is_exact(self):
        """Whether no value is a glob."""
        return not any(isinstance(v, str) and re.search(r"[*?\[]", v) for v in self.values)


@dataclass(frozen=True)
class Camera:
    """A camera: from its profile, or generic.

    Attributes
    ----------
    name : str
    path : str
        The profile's file, '' for a generic camera.
    recognise : tuple of Condition
        A frame of the camera meets all of them.
    cards : tuple of (str, tuple of CardSpec)
        The cards of each fact (`ccdflow.camera.facts.KEYWORDS`).
    types : tuple of TypeRule
    longitude : float or None
        Degrees, east positive; None for the header's own.
    size : (int or None, int or None)
        NAXIS1, NAXIS2 of the frames that the amplifiers are for; None for any.
    amplifiers : tuple of AmplifierSpec
        Empty to take them from the header.
    has_overscan : bool
        Whether the camera has an overscan that may be used.
    layout : str or None
        'image' or 'extensions', None for that of the configuration.
    reduction : tuple of (str, object)
        Settings that override the configuration's.
    is_raw : bool
        Whether frames count as raw although their headers may have marks of a reduction.
    gain, read_noise : float or None
        Electrons per adu, electrons, of all amplifiers; they replace those of cards.
    measures_gain : bool
        Whether the gain of frames is the measured one, and not that of cards.
    measures_shutter : bool
        Whether calibrated frames are corrected for the dead time of the shutter.
    linear : float or None
        Raw adu above which the response of all amplifiers is not linear any more.
    epochs : tuple of str
        The first nights after the camera was opened or changed, sorted.
    dark_rate : float or None
        Dark current of a pixel, electrons per second; None if unknown.
    ageing : tuple of (str, float)
        Departure of a master from the truth for each day between master and frame, by its kind.
    warming : tuple of (str, float)
        Departure of a bias or flat from the truth for each degree between it and the frame, by its
        kind.
    """

    name: str
    path: str = ""
    recognise: tuple[Condition, ...] = ()
    cards: tuple[tuple[str, tuple[CardSpec, ...]], ...] = ()
    types: tuple[TypeRule, ...] = ()
    longitude: float | None = None
    size: tuple[int | None, int | None] = (None, None)
    amplifiers: tuple[AmplifierSpec, ...] = ()
    has_overscan: bool = True
    layout: str | None = None
    reduction: tuple[tuple[str, object], ...] = ()
    is_raw: bool = False
    gain: float | None = None
    read_noise: float | None = None
    measures_gain: bool = False
    measures_shutter: bool = False
    linear: float | None = None
    epochs: tuple[str, ...] = ()
    dark_rate: float | None = None
    ageing: tuple[tuple[str, float], ...] = ()
    warming: tuple[tuple[str, float], ...] = ()

    def __repr__(self):
        return hashed_text(self)

    @cached_property
    def text(self):
        """All values as text, for hashes."""
        return repr(self)

    @cached_property
    def text_without_path(self):
        """All values but the path of the profile's file, as text, for hashes."""
        return repr(replace(self, path=""))

    def epoch_of(self, night):
        """Return the night with which the epoch of a night began; '' before the first of them."""
        return max((epoch for epoch in self.epochs if epoch <= night), default="")

    def n_sides_met(self, headers):
        """Return the number of sides in `size` if an image has these sides; -1 if no image has."""
        n_sides = -1
        for index in image_hdus(headers):
            lengths = array_shape(headers[index])[::-1]
            if all(side in (None, length) for side, length in zip(self.size, lengths, strict=True)):
                n_sides = sum(side is not None for side in self.size)
        return n_sides

    @property
    def specificity(self):
        """The number of cards by which frames are recognised, and of those with an exact value."""
        return len(self.recognise), sum(condition.is_exact for condition in self.recognise)

    def describe(self, headers, *, file, remembered=compute_at_once):
        """Return the header values of a frame.

        Parameters
        ----------
        headers : list of astropy.io.fits.Header
            One for each HDU.
        file : str
            Path relative to the raw folder; its folder's name is the night if no card gives one.
        remembered : callable, optional
            A `ccdflow.files.remembered_results.Remembered` of this camera alone.

        Returns
        -------
        ccdflow.camera.facts.FrameFacts
            An unknown image type is not an error: `type` is '' and `reason` names the cause.

        Raises
        ------
        FrameError
            If the file holds no image.
        """
        return facts.frame_facts(
            headers, dict(self.cards), self.types,
            facts.ProfileFacts(self.longitude, self._has_gain, self.gain), file=file,
            remembered=remembered,
        )  # fmt: skip

    @property
    def _has_gain(self):
        """Whether the profile has the gain of all amplifiers as numbers, or has it measured."""
        gains = [amplifier.gain for amplifier in self.amplifiers] or [None]
        are_numbers = all(isinstance(gain, int | float) for gain in gains)
        return are_numbers or self.measures_gain or self.gain is not None

    def geometry(self, headers, *, file, layout="image"):
        """Return the science and overscan pixels of a frame, and the place of each amplifier.

        Parameters
        ----------
        headers : list of astropy.io.fits.Header
            One for each HDU.
        file : str
            Named in errors.
        layout : str, optional
            'image' or 'extensions', where the profile has neither.

        Returns
        -------
        ccdflow.camera.geometry.Geometry

        Raises
        ------
        FrameError
            If the frame does not fit its profile, or its cards leave the frame or contradict
            each other; the remedy names the keys of the profile.

        Examples
        --------
        The header's own sections, where a camera has no profile:

        >>> from astropy.io import fits
        >>> header = fits.Header({"BITPIX": 16, "NAXIS": 2, "NAXIS1": 36, "NAXIS2": 20})
        >>> header["BIASSEC"], header["TRIMSEC"] = "[33:36,1:20]", "[1:32,1:20]"
        >>> camera = identify([header], [], file="a.fits")
        >>> (amplifier,) = camera.geometry([header], file="a.fits").amplifiers
        >>> amplifier.data.to_fits(), amplifier.overscan[0].to_fits(), amplifier.along
        ('[1:32,1:20]', '[33:36,1:20]', 'rows')
        """
        specs = dict(self.cards)
        names = [field.name for field in fields(Cards) if field.name in specs]
        cards = Cards(**{name: specs[name] for name in names}, profile_gain=self.gain)
        if self.measures_gain:
            cards = replace(cards, gain=())
        if self.amplifiers:
            drafts, notes = drafts_from_profile(
                headers, self.amplifiers, self.size, cards, file=file
            )
        else:
            drafts, notes = drafts_from_header(
                headers, cards, takes_overscan=self.has_overscan, file=file
            )
        figures = {
            name: value
            for name in ("gain", "read_noise", "linear")
            if (value := getattr(self, name)) is not None
        }
        if self.measures_gain:
            figures["gain"] = None
        return geometry_of_drafts(
            [replace(draft, **figures) for draft in drafts] if figures else drafts,
            headers,
            camera=self.name,
            source="header" if self.has_overscan and not self.amplifiers else "profile",
            layout=self.layout or layout,
            binning_cards=cards.binning,
            notes=notes,
            file=file,
        )

    def recipe(self, defaults):
        """Return the recipe by which this camera's frames are reduced.

        Parameters
        ----------
        defaults : dict of str to object
            The configuration's settings, by the names of `ReductionRecipe`; not changed.

        Returns
        -------
        ReductionRecipe

        Raises
        ------
        UserError
            If a setting is not one of `ReductionRecipe`.
        """
        settings = dict(defaults) | dict(self.reduction)
        if self.layout is not None:
            settings["layout"] = self.layout
        if self.is_raw:
            settings["raw"] = True
        known_names = [field.name for field in fields(ReductionRecipe)]
        for name in settings:
            if name not in known_names:
                raise UserError(
                    "not a setting of the reduction",
                    keyword=name,
                    allowed=", ".join(known_names),
                    remedy="correct it below `reduction:` of the profile",
                )
        return ReductionRecipe(**settings)


def identify(headers, cameras, *, file):
    """Return the camera that took a frame.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        One for each HDU.
    cameras : iterable of Camera
    file : str
        Named in the error.

    Returns
    -------
    Camera
        The profile whose cards all match. If several match, the one with most cards; of these the
        one with most exact values; of these the one whose `size` is the frame's. If none matches, a
        generic camera.

    Raises
    ------
    FrameError
        If two profiles match equally well: the frame is refused.

    Examples
    --------
    Without a profile a camera has the name of its instrument:

    >>> from astropy.io import fits
    >>> identify([fits.Header({"INSTRUME": "ZWO ASI 1600"})], [], file="m51.fit").name
    'zwo_asi_1600'
    """
    cameras = tuple(cameras)
    candidates = [c for c in cameras if all(condition.holds(headers) for condition in c.recognise)]
    if not candidates:
        return generic_camera(headers, used_names=frozenset(camera.name for camera in cameras))
    candidates.sort(key=lambda camera: camera.specificity, reverse=True)
    best_cameras = [
        camera for camera in candidates if camera.specificity == candidates[0].specificity
    ]
    if len(best_cameras) == 1:
        return best_cameras[0]
    sizes = [camera.n_sides_met(headers) for camera in best_cameras]
    fitting_cameras = [c for c, size in zip(best_cameras, sizes, strict=True) if size == max(sizes)]
    if len(fitting_cameras) == 1:
        return fitting_cameras[0]
    raise FrameError(
        "two camera profiles recognise this frame equally well",
        file=file,
        keyword="recognise",
        value=" and ".join(Path(camera.path).name for camera in fitting_cameras[:2]),
        allowed="one profile for each frame",
        remedy="add a card to `recognise` of one of them that the other's frames do not have, or "
        "the `size` that each is for",
    )


NAME_CARDS = ("INSTRUME", "DETECTOR", "CAMERA", "CCDNAME", "CAMERAS", "FPA", "HEAD")
"""Cards that name a camera without a profile; the first that is not blank counts. Cameras of one
name share measured gains: SDSS has the arms of its spectrographs in CAMERAS, Palomar in FPA."""


def generic_camera(headers, *, used_names=frozenset()):
    """Return a camera that works from header cards alone, named after instrument or detector.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    used_names : frozenset of str, optional
        Names of profiles, which do not recognise the frame.

    Returns
    -------
    Camera
    """
    specs = [CardSpec(keyword) for keyword in NAME_CARDS]
    value = first_value_of_cards(headers, specs, range(len(headers)))
    text = None if value is None or not str(value).strip() else str(value)
    name = _name_of(text) if text is not None else "unknown"
    return Camera(
        name=_free_name(name, used_names),
        cards=tuple(facts.default_cards().items()),
    )


# A camera's name has at most this many characters: a text of many CONTINUE cards would fill tables
# and lines.
_LONGEST_NAME = 80


def _free_name(name, used_names):
    """Return the name, with ``-generic`` appended until no profile has it."""
    while name in used_names:
        name += "-generic"
    return name


def _name_of(text):
    """Return the name of a camera that has no profile; two texts never share one.

    Capitals become small letters. A text of letters, digits and hyphens stays, and single blanks
    become underscores. Any other text gets eight digits of its hash. So does a text that ends like
    a name with such digits or with ``-generic``.

    Examples
    --------
    >>> _name_of("GMOS-N"), _name_of("Test Cam"), _name_of("test/cam")
    ('gmos-n', 'test_cam', 'test-cam-cb6dde66')
    """
    text = text.strip().lower()
    name = text.replace(" ", "_")
    may_be_taken = text == "unknown" or bool(re.search(r"-([0-9a-f]{8}|generic)$", text))
    is_plain = re.fullmatch(r"[a-z0-9-]+( [a-z0-9-]+)*", text) is not None
    if is_plain and not may_be_taken and len(text) <= _LONGEST_NAME:
        return name
    digits = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    letters = re.sub(r"[^a-z0-9]+", "-", text[:_LONGEST_NAME]).strip("-")
    return "-".join(filter(None, (letters, digits)))
