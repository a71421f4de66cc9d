"""Camera profiles read from YAML, and checked against ``config/schemas/camera.schema.json``."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from ccdflow import schemas, yaml_reading
from ccdflow.camera import facts
from ccdflow.camera.cameras import Camera, Condition
from ccdflow.camera.geometry import AmplifierSpec
from ccdflow.camera.image_types import TypeRule
from ccdflow.camera.sections import FORMS, read_region
from ccdflow.errors import UserError, action_of
from ccdflow.files.cards import as_tuple, parse_card_spec

CAMERA_SCHEMA = "camera.schema.json"
"""The schema of a camera's profile."""

MEASURED = "measured"
"""The word of a profile for a gain, or a shutter's dead time, that is measured by flats."""


def load_cameras(folder):
    """Read all camera profiles of a folder.

    Parameters
    ----------
    folder : path-like
        Holds ``NAME.yaml`` or ``NAME.yml`` files.

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
        raise UserError(
            "the folder of camera profiles is missing",
            file=folder,
            remedy="make it, or correct `cameras` in the configuration",
        )
    try:
        # `glob` would raise no error for a folder that cannot be read.
        paths = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    except OSError as error:
        raise UserError(
            f"the folder of camera profiles cannot be read ({error.strerror or error})",
            file=folder,
            remedy=action_of(error),
        ) from None
    path_by_name = {}
    for path in paths:
        if path_by_name.setdefault(path.stem, path) != path:
            raise UserError(
                f"two profiles are of one camera: {path_by_name[path.stem].name} is there as well",
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
        If the profile is not YAML or not valid.
    """
    path = Path(path)
    return _camera_of_text(path, yaml_reading.read_text(path))


# A watch reads all profiles in each round. The text is part of the key, so that an edited profile
# gives a new camera. A camera is immutable, and may be shared.
@lru_cache(maxsize=256)
def _camera_of_text(path, text):
    """Return the camera of a profile's text; `path` is named in errors."""
    profile = yaml_reading.parse_yaml(text, file=path)
    if not isinstance(profile, dict):
        raise UserError(
            "the file holds no profile",
            file=path,
            allowed="keys and their values, `recognise:` among them (docs/cameras.md)",
            remedy="write one, or remove the file",
        )
    check_profile(profile, file=path)
    cards = facts.default_cards()
    for name, value in profile.get("keywords", {}).items():
        cards[name] = (
            () if value == "none" else tuple(parse_card_spec(card) for card in as_tuple(value))
        )
    return Camera(
        name=path.stem,
        path=str(path),
        recognise=tuple(
            _condition_of_card(key, value) for key, value in profile["recognise"].items()
        ),
        cards=tuple(cards.items()),
        types=tuple(_type_rule(rule) for rule in profile.get("types", ())),
        longitude=profile.get("site", {}).get("longitude"),
        size=tuple(profile.get("size", (None, None))),
        amplifiers=_amplifiers_of_profile(profile, file=path),
        has_overscan=profile.get("overscan") != "none",
        layout=profile.get("layout"),
        reduction=tuple(sorted(profile.get("reduction", {}).items())),
        is_raw=profile.get("raw", False),
        gain=None if profile.get("gain") == MEASURED else profile.get("gain"),
        measures_gain=profile.get("gain") == MEASURED,
        measures_shutter=profile.get("shutter") == MEASURED,
        linear=profile.get("linear"),
        epochs=tuple(sorted(map(str, profile.get("epochs", ())))),
        read_noise=profile.get("read_noise"),
        dark_rate=profile.get("dark_rate"),
        ageing=tuple(sorted(profile.get("ageing", {}).items())),
        warming=tuple(sorted(profile.get("warming", {}).items())),
    )


def _amplifiers_of_profile(profile, *, file):
    """Return the amplifiers of a profile; raise `UserError` where two have one name."""
    amplifiers = tuple(
        _checked_amplifier(entry, index, file=file)
        for index, entry in enumerate(profile.get("amplifiers", ()))
    )
    names = [amplifier.name for amplifier in amplifiers]
    if len(set(names)) < len(names):
        raise UserError(
            "two amplifiers of one name",
            file=file,
            keyword="amplifiers",
            value=names,
            allowed="each name once",
            remedy="give each amplifier a `name` of its own",
        )
    if profile.get("overscan") == "none" and any(amplifier.overscan for amplifier in amplifiers):
        raise UserError(
            "an amplifier has an overscan, and the camera has none",
            file=file,
            keyword="overscan",
            value="none",
            remedy="leave out one of the two",
        )
    return amplifiers


def check_profile(profile, *, file):
    """Check a profile against the schema.

    Parameters
    ----------
    profile : dict of str to object
        As read from YAML.
    file : path-like
        Named in errors.

    Raises
    ------
    UserError
        For the first violation.
    """
    sentences = {"region": ("a region must name its notation", FORMS)}
    schemas.check_values(profile, CAMERA_SCHEMA, file=file, words=sentences)


def _condition_of_card(keyword, value):
    """Return the `Condition` of a card; its value is one, a list, or a mapping with key `value`."""
    if isinstance(value, dict):
        spec = {"keyword": keyword} | {k: v for k, v in value.items() if k != "value"}
        return Condition(parse_card_spec(spec), as_tuple(value["value"]))
    return Condition(parse_card_spec(keyword), as_tuple(value))


def _type_rule(rule):
    """Return a profile's rule on image types."""
    cards = (_condition_of_card(key, value) for key, value in rule.get("cards", {}).items())
    exptime = rule.get("exptime", {})
    return TypeRule(
        type=rule["type"],
        imagetyp=as_tuple(rule["imagetyp"]) if "imagetyp" in rule else (),
        exptime_min=exptime.get("min"),
        exptime_max=exptime.get("max"),
        cards=tuple((condition.card, condition.values) for condition in cards),
        files=as_tuple(rule["file"]) if "file" in rule else (),
    )


def _checked_amplifier(entry, index, *, file):
    """Return an amplifier of a profile, its regions checked, its figures read."""
    key_of_amplifier = f"amplifiers[{index}]"

    def region(key):
        """Return the region at a key, a `RegionSpec`; None without the key."""
        value = entry.get(key)
        return (
            None
            if value is None
            else read_region(value, file=file, keyword=f"{key_of_amplifier}.{key}")
        )

    def figure(key):
        """Return the number at a key, or the card that has it, a `CardSpec`."""
        value = entry.get(key)
        return parse_card_spec(value) if isinstance(value, dict) else value

    overscan = entry.get("overscan", "none")
    strips = () if overscan == "none" else as_tuple(overscan)
    spec = AmplifierSpec(
        name=str(entry.get("name", f"A{index + 1}")),
        hdu=tuple(entry["hdu"]) if isinstance(entry.get("hdu"), list) else entry.get("hdu"),
        data=region("data"),
        overscan=tuple(
            read_region(strip, file=file, keyword=f"{key_of_amplifier}.overscan")
            for strip in strips
        ),
        along=entry.get("along"),
        place=region("place"),
        is_flipped_x="x" in entry.get("flip", ""),
        is_flipped_y="y" in entry.get("flip", ""),
    )
    if spec.place is not None and spec.place.form == "python":
        raise UserError(
            "a place is given as a FITS section of the product image, or by a card's keyword",
            file=file,
            keyword=f"{key_of_amplifier}.place",
            value=spec.place.text,
            allowed='{fits: "[x1:x2,y1:y2]"} or {keyword: DETSEC}',
            remedy="write {fits: ...} or {keyword: ...}",
        )
    return replace(
        spec,
        gain=figure("gain"),
        read_noise=figure("read_noise"),
        saturation=figure("saturation"),
    )
