"""The base of combined darks and flats: frames with an exposure time, minus other masters."""

from __future__ import annotations

from ccdflow.kinds.masters.master import MasterKind
from ccdflow.kinds.matching import match_sentences
from ccdflow.kinds.matching.association import missing_master
from ccdflow.run import job_records


class ExposedMasterKind(MasterKind):
    """A master of exposed frames: minus other masters, and clipped by the noise model."""

    leaves_out_bad_pixels = True

    def why_without(self, context, group):
        """Return {kind: reason} of the masters that the members are combined without.

        The reasons name other products and change with these. So no record keeps a reason, and a
        product that shows the reasons has them in its basis.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        group : ccdflow.run.job.Group

        Returns
        -------
        dict of str to str
        """
        return {kind: "".join(words) for kind, words in _missing_masters(context, group).items()}

    @property
    def _name_in_summary(self):
        """The name of `why_without` in the summary of a closed night."""
        return f"{self.name} without"

    def summary(self, context, night, records):
        """Return the facts by which a night's masters are chosen, and the reasons for none."""
        groups = self.night_groups(context, night)
        reasons = {group.product: _missing_masters(context, group) for group in groups}
        reasons_by_product = {product: reason for product, reason in reasons.items() if reason}
        return {
            **super().summary(context, night, records),
            self._name_in_summary: reasons_by_product,
        }

    def closing_lines(self, context, records):
        """Return the lines on masters that were not made, or were made without another."""
        lines = super().closing_lines(context, records)
        if not self.configuration(context)["enabled"]:
            return lines
        products = [record.product for record in records if record.status == job_records.MADE]
        reasons_of_masters = self._reasons_of_masters(context, products)
        for kind in self.applied_kinds:
            reasons = [each[kind] for each in reasons_of_masters if kind in each]
            if reasons:
                count_words = f"{len(reasons)} of {len(products)} {self.nouns[1]}"
                reason_words = match_sentences.reasons_words(reasons)
                lines.append(f"{count_words} without {kind}: {reason_words}")
        return lines

    def _reasons_of_masters(self, context, products):
        """Return {kind: reason} of each of some masters, as `_missing_masters` does."""
        reasons_of_closed = {}
        for reasons_of_night in context.summaries(self._name_in_summary).values():
            reasons_of_closed |= reasons_of_night
        return [
            reasons_of_closed.get(product, {})
            if context.is_noted_group(product)
            else _missing_masters(context, context.group(product))
            for product in products
            if context.find_group(product) is not None
        ]


def _missing_masters(context, group):
    """Return {kind: `match_sentences.MissingWords`} of the masters that members lack."""
    missing_masters = {step.kind: missing_master(context, step) for step in group.steps}
    return {
        kind: match_sentences.parts_on_missing(each)
        for kind, each in missing_masters.items()
        if each
    }
