"""The roles of a kind of product: its answers while nights are closed, its part of the pages."""

from __future__ import annotations


class PartlyPlanned:
    """The answers of a kind while nights that have nothing to do are closed.

    `ccdflow.run.nights.closed_nights` notes them, `ccdflow.run.nights.partial_plan`
    asks for them.

    Attributes
    ----------
    plans_some_nights : bool
        Whether it can be planned while nights that have nothing to do are not loaded (`summary`).
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
            Context of a plan in which nothing is to be done.
        night : str
        records : list of ccdflow.run.job_records.Record
            Records of all kinds, about this night alone.

        Returns
        -------
        dict of str to object
            Plain values, which `ccdflow.run.context.Context.summaries` gives back by name.
        """
        return {}

    def facts_to_note(self, context):
        """Return the facts on all nights that a partial plan needs: plain values.

        Parameters
        ----------
        context : ccdflow.run.context.PlanContext
        """
        return None

    def restore(self, context, noted_facts):
        """Give a context that has closed nights the result of `facts_to_note`.

        Parameters
        ----------
        context : ccdflow.run.context.JobContext
            Before the plan is made.
        noted_facts : object
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
    """The part of a kind on the page of a night, and on the overview of all nights.

    A kind without `section` and `overview` is shown nowhere.

    Attributes
    ----------
    name : str
        Name of the kind.
    """

    name = ""

    def products_on_page(self, context, night):
        """Return the products that a night's page shows, or needs to have been made before.

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
        """Return the keys of the products that a night's page shows, '' for one without a record.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        night : str

        Returns
        -------
        dict of str to list of str
            By the name of the kind; {} where none is shown.
        """
        keys = [
            getattr(context.outcome(each), "key", "")
            for each in self.products_on_page(context, night)
        ]
        return {self.name: keys} if keys else {}

    def page_basis(self, context, night):
        """Return the sources of this kind's part of a night's page: a dict, {} for nothing.

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
        """Return the `ccdflow.pages.contents.Section` of a night's page for this kind, or None.

        The page is made again when the result of `page_basis` has changed.

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
        """Return all sections of a night's page for this kind, where it has several: a list.

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

    def index_basis(self, context):
        """Return the sources of this kind's part of the overview of all nights: a dict."""
        return {}

    def overview(self, context):
        """Return the `ccdflow.pages.contents.Section` of the overview for this kind, or None.

        The overview is made again when the result of `index_basis` has changed.

        Parameters
        ----------
        context : ccdflow.run.context.PageContext

        Returns
        -------
        ccdflow.pages.contents.Section or None
        """
        return None
