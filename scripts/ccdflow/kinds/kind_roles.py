"""Two roles of a kind of product: in plans of some nights, and on the pages."""

from __future__ import annotations


class PartlyPlanned:
    """The methods of a kind for plans of some nights, while the others are closed.

    A night with nothing to do is closed: it is not loaded. `ccdflow.run.nights.closed_nights` notes
    the values of closed nights; `ccdflow.run.nights.partial_plan` uses these notes.

    Attributes
    ----------
    plans_some_nights : bool
        Whether the kind can be planned while some nights are closed, with the `summary` of each.
    """

    plans_some_nights = False

    def can_close(self, context):
        """Return whether some nights can be planned without the closed ones.

        Parameters
        ----------
        context : ccdflow.run.context.PlanContext

        Returns
        -------
        bool
        """
        return self.plans_some_nights

    def summary(self, context, night, records):
        """Return the values of a closed night that tables, pages and last lines need.

        Parameters
        ----------
        context : ccdflow.run.context.PlanContext
            Context of a plan with nothing to do.
        night : str
        records : list of ccdflow.run.job_records.Record
            Records of all kinds, of this night alone.

        Returns
        -------
        dict of str to object
            Values that JSON can hold; `ccdflow.run.context.Context.summaries` returns them by name.
        """
        return {}

    def facts_to_note(self, context):
        """Return the facts on all nights that a plan of some nights needs.

        Parameters
        ----------
        context : ccdflow.run.context.PlanContext

        Returns
        -------
        object
            Values that JSON can hold; None where a plan needs no facts.
        """
        return None

    def restore(self, context, noted_facts):
        """Put noted facts into a context that has closed nights.

        Parameters
        ----------
        context : ccdflow.run.context.JobContext
            Before the plan is made.
        noted_facts : object
            The result of `facts_to_note` in an earlier run.
        """

    def nights_to_open(self, context, new_groups):
        """Return the closed nights that new masters change.

        Parameters
        ----------
        context : ccdflow.run.context.JobContext
            After the plan was made.
        new_groups : list of ccdflow.run.job.Group
            Masters and measurements of nights that are later than all others.

        Returns
        -------
        set of str

        Raises
        ------
        ccdflow.run.nights.note_lines.NeedsWholePlan
            If all nights have to be planned.
        """
        return set()


class OnPages:
    """The methods of a kind for the page of a night and for the overview of all nights.

    A kind that defines none of `section`, `sections` and `overview` is on no page.

    Attributes
    ----------
    name : str
        Name of the kind.
    """

    name = ""

    def products_on_page(self, context, night):
        """Return the products that a night's page shows or needs.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        night : str
            YYYY-MM-DD, or the folder of undated frames.

        Returns
        -------
        list of str
        """
        return []

    def keys_on_page(self, context, night):
        """Return the keys of the products that a night's page shows.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        night : str

        Returns
        -------
        dict of str to list of str
            Under the name of the kind, '' for a product without a record; {} without products.
        """
        keys = [
            getattr(context.outcome(product), "key", "")
            for product in self.products_on_page(context, night)
        ]
        return {self.name: keys} if keys else {}

    def page_basis(self, context, night):
        """Return the sources of this kind's part of a night's page; {} where it has no part.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        night : str
            YYYY-MM-DD, or the folder of undated frames.

        Returns
        -------
        dict of str to object
        """
        keys = [
            [product, record.key]
            for product in self.products_on_page(context, night)
            if (record := context.outcome(product)) is not None
        ]
        return {self.name: keys} if keys else {}

    def section(self, context, night):
        """Return the section on this kind for the page of a night, or None.

        The page is made again when the result of `page_basis` changes.

        Parameters
        ----------
        context : ccdflow.run.context.PageContext
        night : str
            YYYY-MM-DD, or the folder of undated frames.

        Returns
        -------
        ccdflow.pages.contents.Section or None
        """
        return None

    def sections(self, context, night):
        """Return all sections on this kind for the page of a night.

        Parameters
        ----------
        context : ccdflow.run.context.PageContext
        night : str
            YYYY-MM-DD, or the folder of undated frames.

        Returns
        -------
        list of ccdflow.pages.contents.Section
        """
        section = self.section(context, night)
        return [] if section is None else [section]

    def overview_basis(self, context):
        """Return the sources of this kind's part of the overview: {} where it has no part."""
        return {}

    def overview(self, context):
        """Return the section on this kind for the overview of all nights, or None.

        The overview is made again when the result of `overview_basis` changes.

        Parameters
        ----------
        context : ccdflow.run.context.PageContext

        Returns
        -------
        ccdflow.pages.contents.Section or None
        """
        return None
