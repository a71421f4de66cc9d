"""Camera profiles: how a camera's frames are recognised, and what they hold.

A profile is a file ``config/cameras/NAME.yaml``, checked against
``config/schemas/camera.schema.json``. A frame that no profile recognises belongs to a generic
camera, which works from the header cards alone.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from ccdflow import schemas, yamltext
from ccdflow.camera import facts
from ccdflow.camera.assemble import resolve
from ccdflow.camera.facts import FrameFacts
from ccdflow.camera.geometry import (
    Amplifier,
    AmplifierSpec,
    Cards,
    Geometry,
    array_shape,
    image_hdus,
)
from ccdflow.camera.headersections import drafts_from_header
from ccdflow.camera.imagetypes import TypeRule
from ccdflow.camera.marks import refuse_reduced
from ccdflow.camera.profilesections import drafts_from_profile
from ccdflow.camera.sections import FORMS, Region, read_region
from ccdflow.errors import FrameError, UserError
from ccdflow.files.cards import (
    CardSpec,
    as_list,
    card_value,
    find_first,
    hdu_indices,
    matches,
    read_card,
)

__all__ = [
    "Amplifier",
    "Camera",
    "FrameFacts",
    "Geometry",
    "ReductionRecipe",
    "Region",
    "generic_camera",
    "identify",
    "load_camera",
    "load_cameras",
    "refuse_reduced",
]

SCHEMA = "camera.schema.json"


# The gain is that of the photon transfer, not of a card.
MEASURED = "measured"
# Let the width of the strip decide whether the level along it is smoothed.
AUTO = "auto"
# The median of n columns has pi / (2 n) of the variance of a pixel, and all pixels of its row share
# it. From 16 columns on that is below a tenth, and a pixel's noise grows by less than a twentieth.
WIDE_ENOUGH = 16
# Rows for each order of a polynomial: short windows get a straight line, or a constant.
_FOR_AN_ORDER = 16
_LINES = ("rows", "columns")


def _across_and_along(amplifier):
    """Return how many columns the strips of an amplifier have together, and how many rows."""
    axis = int(amplifier.along == "rows")
    return sum(s.shape[axis] for s in amplifier.overscan), amplifier.data.shape[1 - axis]


@dataclass(frozen=True)
class ReductionRecipe:
    """How a camera's frames are reduced.

    Parameters
    ----------
    subtract, trim : bool
        Whether the overscan is subtracted, whether the frame is cut to its science pixels.
    statistic : str
        'median' or 'mean' across the strip.
    model : str or None
        None for the statistic itself; 'polynomial' or 'spline' fitted to it along the strip; 'auto'
        until `for_geometry` decides between None and 'polynomial'.
    order : int
        Degree of the polynomial, or number of spline pieces.
    reject_sigma : float
        Values this many sigma from the model are left out of the fit; 0 for none.
    reject_iterations : int
    dtype : str
        'float32' or 'float64', of the product.
    mask : bool
        Whether the product has a mask extension.
    layout : str
        'image' or 'extensions'.
    raw : bool
        Whether pixels below 0 of a frame of floating point are no mark of a reduction.
    """

    subtract: bool = True
    trim: bool = True
    statistic: str = "median"
    model: str | None = None
    order: int = 3
    reject_sigma: float = 3.0
    reject_iterations: int = 3
    dtype: str = "float32"
    mask: bool = False
    layout: str = "image"
    raw: bool = False

    def for_geometry(self, geometry):
        """Return the recipe with a model along the overscan that its strips are wide enough for.

        Parameters
        ----------
        geometry : Geometry
            Its strips decide, never a pixel: all frames of one geometry are treated alike.

        Returns
        -------
        ReductionRecipe
            Without 'auto': no model where all strips have `WIDE_ENOUGH` columns or more, else a
            polynomial of the order that is set, or of less where the strip is short.
        """
        if self.model != AUTO:
            return self
        strips = [_across_and_along(a) for a in geometry.amplifiers if a.along in _LINES]
        if not self.subtract or all(across >= WIDE_ENOUGH for across, _ in strips):
            return replace(self, model=None)
        shortest = min(along for _, along in strips)
        return replace(self, model="polynomial", order=min(self.order, shortest // _FOR_AN_ORDER))

    def canonical(self):
        """A plain dict; the settings of a model that is not used are not in it."""
        settings = asdict(self)
        if not self.raw:
            del settings["raw"]
        if self.model in (None, AUTO):
            for name in ("order", "reject_sigma", "reject_iterations"):
                del settings[name]
        return dict(sorted(settings.items()))


@dataclass(frozen=True)
class Condition:
    """A header card that a camera's frames have.

    Parameters
    ----------
    card : CardSpec
        In any HDU, unless it names one.
    values : tuple
        Globs or numbers, one of which it must be.
    """

    card: CardSpec
    values: tuple

    def holds(self, headers):
        """Whether the headers have this card with one of these values."""
        hdu = self.card.hdu
        order = range(len(headers)) if hdu is None else hdu_indices(headers, hdu)
        values = (card_value(headers[i], self.card.keyword, self.card.occurrence) for i in order)
        return any(matches(value, self.values) for value in values)

    @property
    def exact(self):
        """Whether no value is a glob."""
        return not any(isinstance(v, str) and re.search(r"[*?\[]", v) for v in self.values)


@dataclass(frozen=True)
class Camera:
    """A camera: from its profile, or generic.

    Parameters
    ----------
    name : str
    path : str
        The profile, '' for a generic camera.
    recognise : tuple of Condition
        All must hold.
    cards : tuple of (str, tuple of CardSpec)
        Where each fact stands (`ccdflow.camera.facts.KEYWORDS`).
    types : tuple of TypeRule
    longitude : float or None
        Degrees, east positive; None for the header's own.
    size : (int or None, int or None)
        NAXIS1, NAXIS2 the amplifiers are given for; None for any.
    amplifiers : tuple of AmplifierSpec
        Empty to take them from the header.
    overscan : bool
        False where the camera has no overscan worth using.
    layout : str or None
        'image' or 'extensions', None for the caller's.
    reduction : tuple of (str, object)
        Settings that override the configuration's.
    raw : bool
        Whether frames are raw, whatever marks of a reduction they carry.
    gain, read_noise : float or None
        Electrons per adu, electrons: of all amplifiers, before what their cards say.
    measures_gain : bool
        Whether the gain of frames is the measured one, whatever their cards say.
    measures_shutter : bool
        Whether calibrated frames are corrected for the dead time of the shutter.
    linear : float or None
        Raw adu above which the response of all amplifiers is not linear any more.
    epochs : tuple of str
        Nights, sorted, from which on the camera is another one: it was opened or changed.
    dark_rate : float or None
        Electrons a second in a pixel, if it is known.
    ageing : tuple of (str, float)
        By how much a master departs from the truth for each day between, by its kind.
    """

    name: str
    path: str = ""
    recognise: tuple[Condition, ...] = ()
    cards: tuple[tuple[str, tuple[CardSpec, ...]], ...] = ()
    types: tuple[TypeRule, ...] = ()
    longitude: float | None = None
    size: tuple[int | None, int | None] = (None, None)
    amplifiers: tuple[AmplifierSpec, ...] = ()
    overscan: bool = True
    layout: str | None = None
    reduction: tuple[tuple[str, object], ...] = ()
    raw: bool = False
    gain: float | None = None
    read_noise: float | None = None
    measures_gain: bool = False
    measures_shutter: bool = False
    linear: float | None = None
    epochs: tuple[str, ...] = ()
    dark_rate: float | None = None
    ageing: tuple[tuple[str, float], ...] = ()

    def epoch_of(self, night):
        """Return the night with which the epoch of a night began; '' before the first of them."""
        return max((epoch for epoch in self.epochs if epoch <= night), default="")

    def sizes_met(self, headers):
        """How many numbers of `size` an image of the file has; -1 where none has them all."""
        found = -1
        for index in image_hdus(headers):
            shape = array_shape(headers[index])[::-1]
            if all(want in (None, have) for want, have in zip(self.size, shape, strict=True)):
                found = sum(want is not None for want in self.size)
        return found

    @property
    def specificity(self):
        """How many cards recognise it, and how many of those with an exact value."""
        return len(self.recognise), sum(condition.exact for condition in self.recognise)

    def describe(self, headers, *, file):
        """Return the header values of a frame.

        Parameters
        ----------
        headers : list of astropy.io.fits.Header
            One for each HDU.
        file : str
            Path relative to the raw folder; a folder's name stands in for a night no card tells.

        Returns
        -------
        FrameFacts
            An image type nobody knows is no error: `type` is '' and `reason` says why.

        Raises
        ------
        FrameError
            If the file holds no image.
        """
        return facts.describe(
            headers, dict(self.cards), self.types, longitude=self.longitude, file=file
        )

    def geometry(self, headers, *, file, layout="image"):
        """Which pixels of a frame are science, which overscan, and where each amplifier lies.

        Parameters
        ----------
        headers : list of astropy.io.fits.Header
            One for each HDU.
        file : str
            Named in errors.
        layout : str
            'image' or 'extensions', where the profile says neither.

        Returns
        -------
        Geometry

        Raises
        ------
        FrameError
            If the frame does not fit its profile, or its cards leave the frame or contradict
            each other; the error says what to put into the profile.
        """
        known = dict(self.cards)
        cards = Cards(**{field.name: known[field.name] for field in fields(Cards)})
        notes = ()
        if self.amplifiers:
            drafts = drafts_from_profile(headers, self.amplifiers, self.size, cards, file=file)
        else:
            drafts, notes = drafts_from_header(headers, cards, overscan=self.overscan, file=file)
        own = {
            name: value
            for name in ("gain", "read_noise", "linear")
            if (value := getattr(self, name)) is not None
        }
        if self.measures_gain:
            own["gain"] = None
        return resolve(
            [replace(draft, **own) for draft in drafts] if own else drafts,
            headers,
            camera=self.name,
            source="header" if self.overscan and not self.amplifiers else "profile",
            layout=self.layout or layout,
            binning_cards=cards.binning,
            notes=notes,
            file=file,
        )

    def recipe(self, defaults):
        """How this camera's frames are reduced.

        Parameters
        ----------
        defaults : dict
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
        if self.raw:
            settings["raw"] = True
        known = [field.name for field in fields(ReductionRecipe)]
        for name in settings:
            if name not in known:
                raise UserError(
                    "not a setting of the reduction", keyword=name, allowed=", ".join(known)
                )
        return ReductionRecipe(**settings)


def load_cameras(folder):
    """Read all camera profiles of a folder.

    Parameters
    ----------
    folder : path-like
        Holds ``NAME.yaml`` files.

    Returns
    -------
    tuple of Camera
        In the order of their names.

    Raises
    ------
    UserError
        If the folder is missing or a profile is not valid.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError("the folder of camera profiles is missing", file=folder)
    try:
        # `glob` would find nothing in a folder that may not be read.
        paths = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    except OSError as error:
        raise UserError(
            f"the folder of camera profiles cannot be read ({error.strerror or error})",
            file=folder,
            remedy="check its permissions and its disk",
        ) from None
    by_name = {}
    for path in paths:
        if by_name.setdefault(path.stem, path) != path:
            raise UserError(
                f"two profiles are of one camera: {by_name[path.stem].name} is there as well",
                file=path,
                remedy="remove or rename one of them",
            )
    return tuple(load_camera(path) for path in paths)


def load_camera(path):
    """Read one camera profile; the camera's name is that of the file.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Camera

    Raises
    ------
    UserError
        If it is not YAML or not valid: names the file, the key, the value and what is allowed.
    """
    path = Path(path)
    profile = yamltext.read(path)
    if not isinstance(profile, dict):
        raise UserError(
            "the file holds no profile",
            file=path,
            allowed="keys and their values, `recognise:` among them (docs/cameras.md)",
        )
    check_profile(profile, file=path)
    if not profile["recognise"]:
        raise UserError("no card recognises the camera", file=path, keyword="recognise")
    cards = facts.default_cards()
    for name, given in profile.get("keywords", {}).items():
        cards[name] = () if given == "none" else tuple(read_card(one) for one in as_list(given))
    amplifiers = tuple(
        _amplifier(entry, index, file=path)
        for index, entry in enumerate(profile.get("amplifiers", ()))
    )
    names = [amplifier.name for amplifier in amplifiers]
    if len(set(names)) < len(names):
        raise UserError("two amplifiers of one name", file=path, keyword="amplifiers", value=names)
    if profile.get("overscan") == "none" and any(a.overscan for a in amplifiers):
        raise UserError(
            "an amplifier has an overscan, and the camera has none",
            file=path,
            keyword="overscan",
            value="none",
            remedy="leave out one of the two",
        )
    return Camera(
        name=path.stem,
        path=str(path),
        recognise=tuple(_condition(key, value) for key, value in profile["recognise"].items()),
        cards=tuple(cards.items()),
        types=tuple(_type_rule(rule) for rule in profile.get("types", ())),
        longitude=profile.get("site", {}).get("longitude"),
        size=tuple(profile.get("size", (None, None))),
        amplifiers=amplifiers,
        overscan=profile.get("overscan") != "none",
        layout=profile.get("layout"),
        reduction=tuple(sorted(profile.get("reduction", {}).items())),
        raw=profile.get("raw", False),
        gain=None if profile.get("gain") == MEASURED else profile.get("gain"),
        measures_gain=profile.get("gain") == MEASURED,
        measures_shutter=profile.get("shutter") == MEASURED,
        linear=profile.get("linear"),
        epochs=tuple(sorted(map(str, profile.get("epochs", ())))),
        read_noise=profile.get("read_noise"),
        dark_rate=profile.get("dark_rate"),
        ageing=tuple(sorted(profile.get("ageing", {}).items())),
    )


def identify(headers, cameras, *, file):
    """The camera that a frame is of.

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
        The profile all of whose cards match, that with most cards first; of those with as many
        cards the one whose `size` is the frame's. Else a generic camera.

    Raises
    ------
    FrameError
        If two profiles match equally well: it is about this frame, and costs no other.
    """
    cameras = tuple(cameras)
    found = [c for c in cameras if all(condition.holds(headers) for condition in c.recognise)]
    if not found:
        return generic_camera(headers, taken=frozenset(camera.name for camera in cameras))
    found.sort(key=lambda camera: camera.specificity, reverse=True)
    best = [camera for camera in found if camera.specificity == found[0].specificity]
    if len(best) == 1:
        return best[0]
    sizes = [camera.sizes_met(headers) for camera in best]
    fitting = [c for c, size in zip(best, sizes, strict=True) if size == max(sizes)]
    if len(fitting) == 1:
        return fitting[0]
    raise FrameError(
        "two camera profiles recognise this frame equally well",
        file=file,
        keyword="recognise",
        value=" and ".join(Path(camera.path).name for camera in fitting[:2]),
        remedy="add a card to `recognise` of one of them that the other's frames do not have, or "
        "the `size` that each is for",
    )


def generic_camera(headers, *, taken=frozenset()):
    """A camera that works from the header cards alone, named after the instrument or detector.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    taken : frozenset of str
        Names of profiles, none of which recognises the frame.

    Returns
    -------
    Camera
    """
    specs = [CardSpec(keyword) for keyword in ("INSTRUME", "DETECTOR", "CAMERA", "CCDNAME")]
    found = find_first(headers, specs, range(len(headers)))
    text = None if found is None or not str(found).strip() else str(found)
    name = _name_of(text) if text is not None else "unknown"
    return Camera(
        name=_free(name, taken),
        cards=tuple(facts.default_cards().items()),
    )


def _free(name, taken):
    while name in taken:
        name += "-generic"
    return name


def _name_of(text):
    """Return the name of a camera that has no profile; two texts never share one.

    Capitals do not count. A text of letters, digits and hyphens stays, and one with single blanks
    has underscores in their place. Any other gets eight digits of its own, as does a text that
    looks like one of these or like the name of a camera beside a profile.

    >>> _name_of("GMOS-N"), _name_of("Test Cam"), _name_of("test/cam")
    ('gmos-n', 'test_cam', 'test-cam-cb6dde66')
    """
    text = text.strip().lower()
    plain = text.replace(" ", "_")
    is_taken = text == "unknown" or re.search(r"-([0-9a-f]{8}|generic)$", text)
    if re.fullmatch(r"[a-z0-9-]+( [a-z0-9-]+)*", text) and not is_taken:
        return plain
    own = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return "-".join(filter(None, (re.sub(r"[^a-z0-9]+", "-", text).strip("-"), own)))


def check_profile(profile, *, file):
    """Check a profile against the schema.

    Raises
    ------
    UserError
        For the first violation: file, key, value, what is allowed.
    """
    words = {"region": ("a region must say which notation it is in", FORMS)}
    schemas.check(profile, SCHEMA, file=file, words=words)


def _condition(keyword, value):
    if isinstance(value, dict):
        spec = {"keyword": keyword} | {k: v for k, v in value.items() if k != "value"}
        return Condition(read_card(spec), as_list(value["value"]))
    return Condition(read_card(keyword), as_list(value))


def _type_rule(rule):
    cards = (_condition(key, value) for key, value in rule.get("cards", {}).items())
    exptime = rule.get("exptime", {})
    return TypeRule(
        type=rule["type"],
        imagetyp=as_list(rule["imagetyp"]) if "imagetyp" in rule else (),
        exptime_min=exptime.get("min"),
        exptime_max=exptime.get("max"),
        cards=tuple((condition.card, condition.values) for condition in cards),
        files=as_list(rule["file"]) if "file" in rule else (),
    )


def _amplifier(entry, index, *, file):
    where = f"amplifiers[{index}]"

    def region(key):
        value = entry.get(key)
        return None if value is None else read_region(value, file=file, keyword=f"{where}.{key}")

    def figure(key):
        value = entry.get(key)
        return read_card(value) if isinstance(value, dict) else value

    overscan = entry.get("overscan", "none")
    strips = () if overscan == "none" else as_list(overscan)
    spec = AmplifierSpec(
        name=str(entry.get("name", f"A{index + 1}")),
        hdu=tuple(entry["hdu"]) if isinstance(entry.get("hdu"), list) else entry.get("hdu"),
        data=region("data"),
        overscan=tuple(
            read_region(strip, file=file, keyword=f"{where}.overscan") for strip in strips
        ),
        along=entry.get("along"),
        place=region("place"),
        flip_x="x" in entry.get("flip", ""),
        flip_y="y" in entry.get("flip", ""),
    )
    if spec.place is not None and spec.place.form == "python":
        raise UserError(
            "a place is given as a FITS section of the product image, or by a card's keyword",
            file=file,
            keyword=f"{where}.place",
            value=spec.place.text,
            allowed='{fits: "[x1:x2,y1:y2]"} or {keyword: DETSEC}',
        )
    return replace(
        spec,
        gain=figure("gain"),
        read_noise=figure("read_noise"),
        saturation=figure("saturation"),
    )
