"""A camera profile proposed from the pixels of a frame, and the findings in words."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace

import numpy as np

from ccdflow.camera.cameras import generic_camera
from ccdflow.camera.image_hdus import array_shape, required_image_hdus
from ccdflow.camera.proposing.findings import merged_findings
from ccdflow.camera.proposing.image_examination import ImageFindings, examine_image
from ccdflow.camera.proposing.lit_columns import fill_with_medians
from ccdflow.camera.proposing.proposal_yaml import profile_text
from ccdflow.camera.sections import Region
from ccdflow.errors import FrameError, UserError

NEEDLESS_PROFILE_NOTE = (
    "The header alone gives the same: this camera needs no amplifiers in a profile."
)
"""The note where no profile is needed."""


@dataclass(frozen=True)
class Proposal:
    """A proposed camera profile.

    Attributes
    ----------
    name : str
        Name of the camera, for the profile's file.
    yaml : str
        Text of the profile.
    findings : tuple of str
        The findings, a sentence each.
    images_seen : tuple of ImageFindings
        One for each image HDU.
    """

    name: str
    yaml: str
    findings: tuple[str, ...]
    images_seen: tuple[ImageFindings, ...]


def propose(headers, arrays, *, other_arrays=None, file):
    """Propose a camera profile from one frame, or from a bias and a flat.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        One for each HDU of the first frame.
    arrays : list of numpy.ndarray of shape (ny, nx), any type, or None
        The pixels of each HDU, adu; not changed.
    other_arrays : list of numpy.ndarray of shape (ny, nx), any type, optional
        The pixels of a second frame of the same camera. The brighter of the two counts as the flat.
    file : str
        Named in the profile and in errors.

    Returns
    -------
    Proposal

    Raises
    ------
    FrameError
        If the file has no two-dimensional image.
    UserError
        If the two frames are not of the same size.
    """
    images = required_image_hdus(headers, file=file)
    camera = generic_camera(headers)
    frame_type = "flat" if other_arrays is not None else camera.describe(headers, file=file).type
    geometry, refusal = _header_geometry(camera, headers, file)
    images_seen = []
    for index in images:
        shape = array_shape(headers[index], file=file)
        first_image, second_image = (
            _pixels_of_hdu(arrays_of_frame and arrays_of_frame[index], shape, file)
            for arrays_of_frame in (arrays, other_arrays)
        )
        bias, flat = _sorted_by_light(first_image, second_image)
        header_amplifiers = [a for a in geometry.amplifiers if a.hdu == index] if geometry else []
        images_seen.append(
            examine_image(
                headers,
                index,
                flat,
                bias=bias,
                frame_type=frame_type,
                header_amplifiers=tuple(header_amplifiers),
            )
        )
    is_needless = geometry is not None and _is_geometry_seen(geometry, images_seen)
    against_header = NEEDLESS_PROFILE_NOTE if is_needless else _finding_on_header(geometry, refusal)
    findings = [*merged_findings(images_seen), against_header]
    text = profile_text(
        headers,
        camera,
        images_seen if is_needless else _share_regions(images_seen),
        findings,
        file,
        is_needless=is_needless,
    )
    return Proposal(camera.name.replace("-", "_"), text, tuple(findings), tuple(images_seen))


def _header_geometry(camera, headers, file):
    """Return (geometry by the header alone, None), or (None, the error)."""
    try:
        return camera.geometry(headers, file=file, layout="extensions"), None
    except FrameError as error:
        return None, error


def _pixels_of_hdu(image, shape, file):
    """Return the pixels of an HDU without axes of length 1; None where there are none."""
    if image is None:
        return None
    if np.size(image) != shape[0] * shape[1]:
        raise UserError(
            "the two frames are not of the same size",
            file=file,
            keyword="(ny, nx)",
            value=np.shape(image),
            allowed=f"{shape}",
            remedy="give a bias and a flat of one window and binning",
        )
    return np.reshape(image, shape)


# Regions of equal amplifiers may end at most this many pixels apart. With more, images of unlike
# windows lose the pixels that they do not share; with fewer, an edge that noise shifts in one image
# gives each image regions of its own. Chosen, not measured.
_SLACK_PIXELS = 3


def _share_regions(images_seen):
    """Return the images with common regions for images whose regions differ by a few pixels.

    The common region is the part that the regions of all these images share.
    """
    groups = defaultdict(list)
    for image in images_seen:
        groups[image.shape, tuple(len(strips[:1]) for *_, strips in image.amplifiers)].append(image)
    image_by_hdu = {}
    for images_alike in groups.values():
        regions = _common_regions(images_alike) if len(images_alike) > 1 else None
        for image_alike in images_alike if regions is not None else ():
            amplifiers = zip(image_alike.amplifiers, regions, strict=True)
            image_by_hdu[image_alike.hdu] = replace(
                image_alike,
                amplifiers=tuple(
                    (name, *regions_of_amplifier) for (name, *_), regions_of_amplifier in amplifiers
                ),
            )
    return [image_by_hdu.get(image.hdu, image) for image in images_seen]


def _common_regions(images_alike):
    """Return [(data, strips)] of the amplifiers that images have in common; None if they differ."""
    regions = []
    for number, (_, _, strips) in enumerate(images_alike[0].amplifiers):
        data = _common_region([image_alike.amplifiers[number][1] for image_alike in images_alike])
        strip = _common_region(
            [s for image_alike in images_alike for s in image_alike.amplifiers[number][2][:1]]
        )
        if data is None or (strip is None and strips):
            return None
        regions.append((data, () if strip is None else (strip,)))
    return regions


def _common_region(regions):
    """Return the part that regions share; None for none, or for regions that differ by much."""
    if not regions:
        return None
    ends = np.array([[r.y0, r.y1, r.x0, r.x1] for r in regions])
    if (np.ptp(ends, axis=0) > _SLACK_PIXELS).any():
        return None
    low, high = ends.max(axis=0).tolist(), ends.min(axis=0).tolist()
    region = Region(low[0], high[1], low[2], high[3])
    return region if min(region.shape) > 0 else None


def _is_geometry_seen(geometry, images_seen):
    """Return whether the amplifiers by the header alone are those that the pixels show."""
    amplifiers_by_light = {
        (image.hdu, data, strips) for image in images_seen for _, data, strips in image.amplifiers
    }
    header_amplifiers = {(a.hdu, a.data, a.overscan) for a in geometry.amplifiers}
    return amplifiers_by_light == header_amplifiers


def _finding_on_header(geometry, refusal):
    """Return the finding on a frame that needs a profile.

    Parameters
    ----------
    geometry : ccdflow.camera.geometry.Geometry or None
        The geometry by the header alone.
    refusal : ccdflow.errors.FrameError or None
        The error in place of the geometry.

    Returns
    -------
    str
    """
    if refusal is not None:
        return f"Without a profile the frame is set aside: {refusal.reason}."
    counts = Counter(
        f"data {a.data.to_fits()}, overscan "
        + (" ".join(strip.to_fits() for strip in a.overscan) or "none")
        for a in geometry.amplifiers
    )
    amplifiers_in_words = "; ".join(
        text + (f" ({count} amplifiers)" if count > 1 else "") for text, count in counts.items()
    )
    return f"Without a profile the header would give {amplifiers_in_words}."


def _sorted_by_light(first, second):
    """Return two frames as (the darker, the brighter); a single one as (None, the frame)."""
    if second is None:
        return None, first
    # The 99th percentile: cosmic rays hit fewer pixels than a hundredth.
    brightness = [np.percentile(fill_with_medians(image), 99) for image in (first, second)]
    return (first, second) if brightness[0] <= brightness[1] else (second, first)
