"""The settings on which the reading of headers depends, and their hashes, kept in each row."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

from ccdflow.camera import cameras as cameras_module
from ccdflow.camera.geometry import Cards
from ccdflow.camera.reduction_recipe import AUTO
from ccdflow.files.remembered_results import Remembered
from ccdflow.run.raw_frames.header_store import READING_VERSION
from ccdflow.run.raw_frames.rows import digest


@dataclass(frozen=True)
class ReadingSettings:
    """The part of the configuration that the reading of headers depends on.

    Attributes
    ----------
    raw : Path
    cameras : tuple of ccdflow.camera.cameras.Camera
    reduction : dict of str to object
        Defaults of the recipe.
    frame_memory : int
        Bytes that a frame may ask for.
    settle : float
        Seconds during which an incomplete file counts as still being written.
    is_case_insensitive : bool
        Whether the file system of the results does not distinguish capitals.
    results : pathlib.Path, optional
        Products are no raw frames, wherever a link leads.
    """

    raw: Path
    cameras: tuple[cameras_module.Camera, ...]
    reduction: dict[str, object]
    frame_memory: int
    settle: float
    is_case_insensitive: bool = False
    results: Path | None = None


class ReadingHashes:
    """The hash of the settings and the profile with which the rows of each camera are read.

    An edited profile changes the hash of its own camera alone: only its frames are read again.
    """

    def __init__(self, settings):
        recognition = [repr((camera.recognise, camera.size)) for camera in settings.cameras]
        general = [READING_VERSION, settings.reduction, settings.frame_memory, recognition]
        self._reduction = settings.reduction
        # The place of the profile's file does not matter.
        self._hashes_by_camera = {
            camera.name: _join_hashes(
                digest([*general, camera.text_without_path]), self._hash_of_pixels(camera)
            )
            for camera in settings.cameras
        }
        generic = cameras_module.generic_camera([], used_names=frozenset())
        self._generic_hash = _join_hashes(digest(general), self._hash_of_pixels(generic))
        self._remembered_cameras, self._remembered_values = Remembered(), {}

    def identify(self, headers, cameras, file):
        """Return the camera of a frame, see `ccdflow.camera.cameras.identify`.

        Parameters
        ----------
        headers : sequence of ccdflow.files.raw_headers.RawHeader
            Headers of all HDUs.
        cameras : tuple of ccdflow.camera.cameras.Camera
        file : str
            Named in errors.

        Returns
        -------
        ccdflow.camera.cameras.Camera
        """
        return self._remembered_cameras(
            "camera",
            lambda headers: cameras_module.identify(headers, cameras, file=file),
            headers,
        )

    def remembered_of(self, camera):
        """Return the remembered results on the headers of a camera, by its name."""
        return self._remembered_values.setdefault(camera, Remembered())

    def _hash_of_pixels(self, camera):
        """Return the hash of the settings by which a camera's pixels are read and reduced."""
        sections = {field.name for field in fields(Cards)}
        cards = [(name, repr(specs)) for name, specs in camera.cards if name in sections]
        pixel_settings = [camera.amplifiers, camera.has_overscan, camera.layout, camera.size]
        pixel_settings += [each for each in (camera.gain, camera.read_noise) if each is not None]
        recipe = camera.recipe(self._reduction)
        # The width of the overscan strip decides this model: `outdated_files` compares it for each
        # row.
        recipe = replace(recipe, model=None) if recipe.model == AUTO else recipe
        return digest([repr(pixel_settings), cards, recipe.canonical()])

    def hash_of(self, camera):
        """Return the hash of the settings and the profile with which a camera's frames are read."""
        return self._hashes_by_camera.get(camera, self._generic_hash)

    def has_same_pixels(self, basis, camera):
        """Return whether a row was read with the present settings for the pixels of a camera.

        Parameters
        ----------
        basis : str
            The hash in the row, as `hash_of` returned it then.
        camera : str
            The name of the camera.

        Returns
        -------
        bool
        """
        return _hash_for_pixels(basis) == _hash_for_pixels(self.hash_of(camera))


def _join_hashes(hash_of_reading, hash_of_pixels):
    """Return the hash of a row: the hash for its reading, a hyphen, and the hash for its pixels."""
    return f"{hash_of_reading}-{hash_of_pixels}"


def _hash_for_pixels(basis):
    """Return the hash for the pixels in the hash of a row; '' if an earlier version noted none."""
    return basis.partition("-")[2]
