"""The common part of combined darks and flats, beyond that of all masters."""

from __future__ import annotations

import numpy as np

from ccdflow.combine import combined_header, stack
from ccdflow.detector import choosing
from ccdflow.files.hdus import array_hdu
from ccdflow.files.headertext import CardList, printable
from ccdflow.frame.products import product_images
from ccdflow.kinds.masters.master import MasterKind
from ccdflow.kinds.masters.member_masters import Members
from ccdflow.kinds.matching import match_words
from ccdflow.kinds.matching.association import why_missing
from ccdflow.run import ledger


class LightMasterKind(MasterKind):
    """A master of frames that hold charge: combined with the noise model, less other masters."""

    def of(self, work):
        """Return the `Members` of a `CombineWork`."""
        return Members(work.context, work.group, work.kept)

    def reduced_as(self, context, row):
        """Return (recipe, images) of a reduced frame.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        row : ccdflow.run.rawframes.rows.Row
            Of the raw frame.

        Returns
        -------
        ccdflow.camera.reduction_recipe.ReductionRecipe
        tuple of ccdflow.frame.products.ProductImage
        """
        geometry, recipe = context.store.geometry(row.geometry), context.store.recipe(row.recipe)
        return recipe, product_images(geometry, recipe)

    def recipe(self, work):
        """Return the recipe by which the values of a pixel become one."""
        own = work.settings
        return stack.CombineRecipe(
            own["method"], own["clip"], own["iterations"], clip_by=own["clip_by"]
        )

    def strangers(self, work, combined, image):
        """Return the members that have another's pixels; their light may differ."""
        names = [printable(file) for file in work.files]
        return choosing.same_pixels(combined.sample, names)

    def shown(self, context, night):
        """Return the masters of a night."""
        return [group.product for group in self.night_groups(context, night)]

    def without(self, context, group):
        """Return {kind: why} of the masters that the members are combined without.

        The reasons name other products and change with them, so no record may keep them: who shows
        them asks for them and has them in its own basis.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        group : ccdflow.run.job.Group

        Returns
        -------
        dict of str to str
        """
        reasons = {step.kind: why_missing(context, step) for step in group.steps}
        return {kind: why for kind, why in reasons.items() if why}

    def warnings_of(self, work, figures):
        """Return the warnings of the measurement."""
        return figures["said"]

    def write_group_cards(self, work, cards):
        """Write members and recipe, and the masters that were subtracted."""
        super().write_group_cards(work, cards)
        self.of(work).write_master_cards(cards)
        for step in work.group.steps:
            if why_missing(work.context, step):
                cards.add_history(f"ccdflow: combined without {step.kind}: there was none")

    def write_image_cards(self, cards, combined, figures, texts, unit):
        """Write how one image came out, and the noise that its uncertainty is made with."""
        combined_header.write_image_cards(cards, combined, (), texts, unit)
        combined_header.write_noise_cards(cards, combined, unit)

    def extensions(self, work, combined, suffix, unit):
        """Return the HDUs with uncertainty and mask, and the number of frames where asked for."""
        cards = CardList()
        cards.set("BUNIT", unit, "standard error of the pixels")
        parts = [*array_hdu(cards, combined.uncertainty, name=f"UNCERT{suffix}")]
        cards = CardList()
        cards.add_comment("Bits as in the mask of a calibrated frame; 0 is a good pixel")
        parts += array_hdu(cards, combined.mask.astype(np.int16), name=f"MASK{suffix}")
        if work.settings["count"]:
            cards = CardList()
            cards.add_comment("Number of frames behind each pixel")
            parts += array_hdu(cards, combined.count.astype(np.int16), name=f"COUNT{suffix}")
        return parts

    @property
    def _without(self):
        """The name under which it is noted what the masters of a closed night are made without."""
        return f"{self.name} without"

    def summary(self, context, night, records):
        """Return the facts by which masters are chosen, and what some are made without."""
        groups = self.night_groups(context, night)
        reasons = {group.product: self.without(context, group) for group in groups}
        without = {product: why for product, why in reasons.items() if why}
        return {**super().summary(context, night, records), self._without: without}

    def closing(self, context, records):
        """Return the lines on masters that were not made, or were made without another."""
        lines = super().closing(context, records)
        if not self.configuration(context)["enabled"]:
            return lines
        made = [record for record in records if record.status == ledger.MADE]
        told = {}
        for of_night in context.summaries(self._without).values():
            told |= of_night
        without = [
            told.get(product, {})
            if context.is_settled(product)
            else self.without(context, context.groups[product])
            for product in (record.product for record in made)
            if product in context.groups
        ]
        for kind in self.before:
            reasons = [each[kind] for each in without if kind in each]
            if reasons:
                what = f"{len(reasons)} of {len(made)} {self.words[1]}"
                lines.append(f"{what} without {kind}: {match_words.reasons_words(reasons)}")
        return lines
