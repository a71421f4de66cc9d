"""The making of a combined dark or flat: other masters subtracted, the noise model applied."""

from __future__ import annotations

import numpy as np

from ccdflow.combine import combined_header
from ccdflow.detector import member_selection
from ccdflow.files.fits_products.hdus import array_hdu
from ccdflow.files.header_text import CardList, printable_text
from ccdflow.kinds.masters.makers.master_maker import MasterMaker
from ccdflow.kinds.matching.association import why_missing


class ExposedMasterMaker(MasterMaker):
    """The making of a master of exposed frames: minus other masters, clipped by the noise model."""

    def unlike_members(self, work, combined, image):
        """Return the members that are copies; `select` has compared the others already."""
        names = [printable_text(file) for file in work.files]
        return member_selection.find_copies(combined.sample, names)

    def warnings_of(self, work, figures):
        """Return the warnings that `measure_image` put among an amplifier's figures."""
        return figures["warnings"]

    def write_group_cards(self, work, cards):
        """Write members and recipe, and the masters that were subtracted."""
        super().write_group_cards(work, cards)
        work.members.write_master_cards(cards)
        for step in work.group.steps:
            if why_missing(work.context, step):
                cards.add_history(f"ccdflow: combined without {step.kind}: there was none")

    def write_image_cards(self, cards, combined, figures, texts, unit):
        """Write the figures of one image, and the noise from which its uncertainty is computed."""
        combined_header.write_combined_cards(cards, combined, (), texts, unit)
        combined_header.write_noise_cards(cards, combined, unit)

    def extensions(self, work, combined, suffix, unit):
        """Return the HDUs with uncertainty and mask, and with counts of frames if asked for."""
        cards = CardList()
        cards.set("BUNIT", unit, "standard error of the pixels")
        hdus = [*array_hdu(cards, combined.uncertainty, name=f"UNCERT{suffix}")]
        cards = CardList()
        cards.add_comment("Bits as in the mask of a calibrated frame; 0 is a good pixel")
        hdus += array_hdu(cards, combined.mask.astype(np.int16), name=f"MASK{suffix}")
        if work.settings["count"]:
            cards = CardList()
            cards.add_comment("Number of frames behind each pixel")
            hdus += array_hdu(cards, combined.count.astype(np.int16), name=f"COUNT{suffix}")
        return hdus
