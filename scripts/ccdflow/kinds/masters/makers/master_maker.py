"""The making of a master from its members: the differences between image types, in one place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ccdflow.combine import combine_recipe, combined_header, stack
from ccdflow.detector import member_selection
from ccdflow.files.fits_products.hdus import array_hdu
from ccdflow.files.header_text import CardList, printable_text
from ccdflow.kinds.masters import selecting
from ccdflow.wording import amplifier_prefix


class MasterMaker:
    """The choice, combination, measurement and header of a master of one image type.

    `ccdflow.kinds.masters.combining` calls its methods, one for each step. The maker of an image
    type overrides the steps in which the type differs.

    Attributes
    ----------
    figures_of_masters_only : tuple of str
        Figures that only a master has: NaN for a group that was measured without a master.
    """

    figures_of_masters_only = ()

    # -- the choice of members ---------------------------------------------------------------------

    def select(self, context, group, members):
        """Return the `ccdflow.detector.member_selection.Selection` of the frames of a group.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        group : ccdflow.run.job.Group
        members : list of (str, ccdflow.run.job_records.Record)
            As `ccdflow.kinds.masters.group_queries.reduced_members` returns them.

        Returns
        -------
        ccdflow.detector.member_selection.Selection
        """
        return selecting.select_frames(context, members, member_selection.select_members)

    def unlike_members(self, work, combined, image):
        """Return the members with another structure than the others, and the copies.

        Parameters
        ----------
        work : ccdflow.kinds.masters.combining.CombineWork
        combined : ccdflow.combine.stack.Combined
            Result of one image; it has the sample of the members.
        image : ccdflow.frame.products.ProductImage
            The image and its amplifiers.

        Returns
        -------
        list of ccdflow.detector.member_selection.LeftOut
        """
        left_out_by_index = {}
        for amplifier in image.amplifiers:
            if amplifier.name in work.flags:
                continue
            frames = work.sampled_rows_of(combined, amplifier)
            frames_along_rows = frames.swapaxes(1, 2) if amplifier.along == "columns" else frames
            prefix = amplifier_prefix(amplifier.name, has_others=len(image.amplifiers) > 1)
            frames_left_out = [
                *member_selection.find_copies(
                    frames, [printable_text(file) for file in work.files]
                ),
                *member_selection.find_unlike_frames(frames_along_rows, threads=work.threads),
            ]
            for each in frames_left_out:
                left_out_by_index.setdefault(each.index, replace(each, text=prefix + each.text))
        return [left_out_by_index[index] for index in sorted(left_out_by_index)]

    # -- the combination ---------------------------------------------------------------------------

    def recipe(self, work):
        """Return the recipe by which the members' values of a pixel are clipped and averaged."""
        settings = work.settings
        return combine_recipe.CombineRecipe(
            settings["method"],
            settings["clip"],
            settings["iterations"],
            clip_by=settings["clip_by"],
        )

    def noise(self, work, image, members):
        """Return the noise model by which the members' values are clipped; None without one.

        Parameters
        ----------
        work : ccdflow.kinds.masters.combining.CombineWork
            Members and settings of the master.
        image : ccdflow.frame.products.ProductImage
            Image that is combined.
        members : list of ccdflow.combine.member_reader.Member
            This image of each member.

        Returns
        -------
        ccdflow.combine.noise.NoiseModel or None
        """
        return None

    def combine(self, work, image, members):
        """Combine one image of the members.

        Parameters
        ----------
        work : ccdflow.kinds.masters.combining.CombineWork
            Members and settings of the master.
        image : ccdflow.frame.products.ProductImage
            Image that is combined.
        members : list of ccdflow.combine.member_reader.Member
            This image of each member.

        Returns
        -------
        ccdflow.combine.stack.Combined
        """
        return stack.combine(
            members,
            self.recipe(work),
            noise=self.noise(work, image, members),
            options=work.combine_options(has_uncertainty=work.settings["uncertainty"]),
            allows_empty=True,
        )

    def combined_images(self, work, hdus_of_members):
        """Yield (image, HDUs of the members, their combination) of each image.

        Parameters
        ----------
        work : ccdflow.kinds.masters.combining.CombineWork
        hdus_of_members : list of list of ccdflow.combine.members.ProductHdu
            HDUs of each member.

        Yields
        ------
        (ccdflow.frame.products.ProductImage, list, ccdflow.combine.stack.Combined)
        """
        for image in work.images:
            hdus = [hdus_of_member[image.hdu] for hdus_of_member in hdus_of_members]
            yield image, hdus, self.combine(work, image, [hdu.member for hdu in hdus])

    # -- figures and warnings ----------------------------------------------------------------------

    def measure_image(self, work, combined, image, unit):
        """Return the figures of each amplifier of an image, as `measure` returns those of one.

        Parameters
        ----------
        work : ccdflow.kinds.masters.combining.CombineWork
        combined : ccdflow.combine.stack.Combined
            Result of this image.
        image : ccdflow.frame.products.ProductImage
            The image and its amplifiers.
        unit : {'adu', 'electron'}
            Unit of the combined pixels.

        Returns
        -------
        list of dict
        """
        return [self.measure(work, combined, each, unit) for each in image.amplifiers]

    def measure(self, work, combined, amplifier, unit):
        """Return the figures of one amplifier by the members: its name, numbers, and lists.

        Parameters
        ----------
        work : ccdflow.kinds.masters.combining.CombineWork
        combined : ccdflow.combine.stack.Combined
            Result of its image.
        amplifier : ccdflow.camera.geometry.Amplifier
        unit : {'adu', 'electron'}
            Unit of the combined pixels.

        Returns
        -------
        dict of str to object
        """
        raise NotImplementedError(f"{type(self).__name__} must define measure()")

    def warnings_of(self, work, figures):
        """Return a sentence for each warning on an amplifier.

        Parameters
        ----------
        work : ccdflow.kinds.masters.combining.CombineWork
        figures : dict of str to object
            Figures of the amplifier, as `measure` returns them.

        Returns
        -------
        list of str
        """
        return []

    def remarks(self, work, figures, *, has_several_amplifiers):
        """Return (amplifier, sentence) of each warning on an image.

        Parameters
        ----------
        work : ccdflow.kinds.masters.combining.CombineWork
        figures : list of dict
            Figures of each of its amplifiers, as `measure` returns them.
        has_several_amplifiers : bool
            Whether the master has more than one amplifier.

        Returns
        -------
        list of (str, str)
            The amplifier is '' where the master has only one.
        """
        remarks = []
        for figures_of_one in figures:
            name = figures_of_one["amplifier"]
            if name in work.flags:
                remarks.append((name, f"amplifier {name} is {work.flags[name]} throughout"))
                continue
            prefix = amplifier_prefix(name, has_others=has_several_amplifiers)
            warnings = self.warnings_of(work, figures_of_one)
            remarks += [
                (name if has_several_amplifiers else "", prefix + text) for text in warnings
            ]
        return remarks

    def more_data(self, work):
        """Return the entries of a master's record beside members and figures: a dict."""
        return {}

    # -- the file ----------------------------------------------------------------------------------

    def write_group_cards(self, work, cards):
        """Write members and recipe into the first header of a master.

        Parameters
        ----------
        work : ccdflow.kinds.masters.combining.CombineWork
        cards : ccdflow.files.header_text.CardList
            Changed in place.
        """
        combined_header.write_group_cards(
            cards,
            key=work.record.key,
            recipe=self.recipe(work),
            members=work.files,
            dates=work.dates,
            left_out=work.left_out,
        )
        cards.set("CCDFNAME", printable_text(work.record.product), "name of this product")

    def write_image_cards(self, cards, combined, figures, texts, unit):
        """Write the figures of one image into its header.

        Parameters
        ----------
        cards : ccdflow.files.header_text.CardList
            Changed in place.
        combined : ccdflow.combine.stack.Combined
            Result of this image.
        figures : list of dict
            Figures of its amplifiers, as `measure` returns them.
        texts : list of str
            Warnings on the image.
        unit : {'adu', 'electron'}
            Unit of the combined pixels.
        """
        combined_header.write_combined_cards(cards, combined, figures, texts, unit)

    def extensions(self, work, combined, suffix, unit):
        """Return the HDUs with uncertainty and with counts of frames, where they are asked for.

        Parameters
        ----------
        work : ccdflow.kinds.masters.combining.CombineWork
            Members and settings of the master.
        combined : ccdflow.combine.stack.Combined
            Result of one image.
        suffix : str
            Appended to the names of its extensions.
        unit : {'adu', 'electron'}
            Unit of the combined pixels.

        Returns
        -------
        list of bytes-like
        """
        hdus = []
        if work.settings["uncertainty"]:
            cards = CardList()
            cards.set("BUNIT", unit, "standard error of the pixels")
            hdus += array_hdu(cards, combined.uncertainty, name=f"UNCERT{suffix}")
        if work.settings["count"]:
            cards = CardList()
            cards.add_comment("Number of frames behind each pixel")
            hdus += array_hdu(cards, combined.count.astype(np.int16), name=f"COUNT{suffix}")
        return hdus
