"""The combined flat: flats of one filter, minus bias and dark, each over its own level; mean 1."""

from __future__ import annotations

import re

from ccdflow import paths
from ccdflow.camera.image_types import light_named_in
from ccdflow.kinds.masters.exposed_masters import ExposedMasterKind
from ccdflow.kinds.masters.makers.flat_maker import FlatMaker
from ccdflow.kinds.matching.association import first_use, why_missing
from ccdflow.kinds.matching.setups import is_level_subtracted
from ccdflow.kinds.reducing.frame_sources import recipe_and_images

# Matches the keyword of a card; keywords of HIERARCH cards have several words.
_KEYWORD = re.compile(r"ESO (?:[\w-]+ )+?(?:NAME|ID|NO|ST|POS|MODE|WID|LEN|ENC|TYPE) |\S+ ")


class Flat(ExposedMasterKind):
    """Combined flats: of one filter, minus bias and dark, either of the sky or of a lamp."""

    name = "flat"
    rule = "combine_flats"
    plans_some_nights = True
    nouns = ("combined flat", "combined flats")
    counted_nouns = nouns
    progress_nouns = nouns
    is_in_batches = True
    version = 8
    header_version = 7
    type = "flat"
    block = "flat"
    pixel_settings = ("minimum", "method", "clip", "clip_by", "iterations", "count")
    table = paths.FLAT_QUALITY
    why_moved = "its flats no longer form this group"
    applied_kinds = ("bias", "dark")
    maker = FlatMaker()
    always_grouped_by = ("filter", "grism", "optics")

    def name_part(self, name, value):
        """Return the part of a name on a value; cards of the optics give their values alone."""
        if name != "optics":
            return super().name_part(name, value)
        return "_".join(_KEYWORD.sub("", card) for card in value.split(", "))

    def split(self, context, rows):
        """Yield flats of the sky and of a lamp separately, because their shapes differ.

        Flats that name no light are split off only where both lights are named.
        """
        rows_by_light = {}
        for row in rows:
            light = light_named_in(row.facts["imagetyp"], row.facts["object"])
            rows_by_light.setdefault(light, []).append(row)
        if not {"sky", "lamp"} <= set(rows_by_light):
            yield (), rows
            return
        for light, rows_of_light in rows_by_light.items():
            yield ((("light", light),) if light else ()), rows_of_light

    def why_lacking(self, context, group):
        """Return why flats with their bias level in them have no bias; '' for all others."""
        row = context.row(group.files[0])
        recipe, images = recipe_and_images(context, row)
        amplifiers = [amplifier for image in images for amplifier in image.amplifiers]
        if is_level_subtracted(recipe, amplifiers):
            return ""
        return why_missing(context, group.steps[0])

    def group_basis(self, context, group):
        """Return the sources of a combined flat, and the largest factor of a dark."""
        basis = super().group_basis(context, group)
        if self._dark_use(context, group) is not None:
            basis["scale_up"] = context.settings["calibrate"]["scale_up"]
        if len({context.row(file).facts["exptime"] for file in group.files}) > 1:
            # Where flats of several exposures do not agree, those of one exposure are combined.
            basis["exposures"] = "one where all do not agree"
        return basis

    def _dark_use(self, context, group):
        """Return the `Use` of the dark; None without one, and where the flats take no bias."""
        bias, dark = (first_use(context, step) for step in group.steps)
        return None if bias is None else dark


FLAT_KIND = Flat()
"""The kind of combined flats."""
