"""A kind of product: its names, the products wanted, their making, its lines and sections."""

from __future__ import annotations

from functools import cached_property

from ccdflow.run.job import ARCHIVE, Size


class Kind:
    """A kind of product; each is a module of this package with one instance of its class.

    A kind without `section` is shown on no page, one without `closing` has no lines at the end of a
    run.

    Attributes
    ----------
    name : str
        As records and the ledger have it.
    rule : str
        The Snakemake rule that makes it.
    words : (str, str)
        One of them, and several, in the first lines of a run.
    counted : (str, str) or None
        One of them, and several, in a run's last line; None: not counted there.
    is_always_counted : bool
        Whether the last line counts it also where there is none, not even a refused one.
    short : str
        Several of them, in the line that says how far a run is.
    todo : str
        What is done to make one. Kinds that are written share a line.
    stage : int
        When a batch of a cluster can make it: after those of a lower stage. 0: never in a batch;
        the main process makes it at the end.
    version : int
        Raised when a change alters the product's pixels or text: all of them are made again.
    header : int
        Raised when a change alters the cards of a product and no pixel: a product that is there
        keeps the header it has until it is asked for with ``-R``.
    place : str
        The folder of its products, with a slash at the end; or its one file.
    why_moved : str
        Why one that no row is about is moved away.
    reach : {FRAMES, MASTERS, NIGHTS, ARCHIVE}
        The reach of one of them: a new frame of the sky changes at once products of frames and of
        its night, no master, and those of all nights later.
    plans_some_nights : bool
        Whether it can be planned while nights that have nothing to do are not loaded (`summary`).
    reports_frames : bool
        Whether a watch reports its products (`frame_reports`).
    type : str
        The image type of the raw frames that are combined to it; '' where it is not combined.
        Statistics are recorded of reduced frames of this type.
    """

    name = ""
    rule = ""
    words = ("", "")
    counted = None
    is_always_counted = False
    short = "pages"
    todo = "write"
    stage = 0
    version = 1
    header = 1
    place = ""
    reach = ARCHIVE
    plans_some_nights = False
    reports_frames = False
    type = ""
    why_moved = "no frame or setting asks for it any longer"

    def __repr__(self):
        return f"<kind {self.name}>"

    @property
    def versions(self):
        """The numbers that a change of code raises: with others, everything is planned anew."""
        return [self.version, self.header]

    # -- planning ----------------------------------------------------------------------------------

    def looks_at(self, settings):
        """Return the paths of files that planning looks at besides raw files, profiles, products.

        As long as they and all else are as they were, a run that found nothing to do is not planned
        again (`ccdflow.run.seal`).

        Parameters
        ----------
        settings : dict
        """
        return ()

    def has_name(self, product):
        """Tell whether a path relative to the results folder is that of a product of this kind."""
        return product == self.place

    def is_stray(self, context, product):
        """Tell whether a file under such a name is moved away when no record of it is left.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        product : str
            Path relative to the results folder.
        """
        return True

    def plan(self, planner):
        """Hand to the planner (`ccdflow.run.plan.Planner`) all products that are to be there."""
        raise NotImplementedError(f"{self.name}: what is to be there?")

    def basis(self, context, job):
        """Return the dict that a product's key is the hash of, by the records of its needs.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        job : ccdflow.run.job.Job

        Returns
        -------
        dict
            Values that JSON can hold.
        """
        raise NotImplementedError(f"{self.name}: what does it depend on?")

    def what_changed(self, before, now):
        """Return in a few words why a product is out of date.

        Parameters
        ----------
        before, now : mapping
            Bases that differ: the recorded one, and the one that holds now.
        """
        return "what it shows changed"

    def try_again(self, context, record):
        """Return why a product that was refused is tried again with the same key, or ''.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        record : ccdflow.run.ledger.Record
            Of the refused product.

        Returns
        -------
        str
        """
        return ""

    def header_of(self, record):
        """Return the version of the header that a product was given, from its record."""
        return record.data.get("header", 1)

    # -- closed nights: `ccdflow.run.nights.closed_nights` -----------------------------------------

    def can_close(self, context):
        """Tell whether some nights can be planned without the closed ones."""
        return self.plans_some_nights

    def summary(self, context, night, records):
        """Return the values of a closed night that tables, pages and last lines need.

        Parameters
        ----------
        context : ccdflow.run.context.Context
            Of a plan in which nothing is to be done.
        night : str
        records : list of ccdflow.run.ledger.Record
            Of all kinds, about this night alone.

        Returns
        -------
        dict of str to object
            Plain values, which `ccdflow.run.context.Context.summaries` gives back by name.
        """
        return {}

    def kept(self, context):
        """Return the facts on all nights that a partial plan needs: plain values."""
        return None

    def restore(self, context, kept):
        """Give a context that has closed nights the result of `kept`.

        Parameters
        ----------
        context : ccdflow.run.context.Context
            Before the plan is made.
        kept : object
        """

    def opens(self, context, new):
        """Return the closed nights that new masters change.

        Parameters
        ----------
        context : ccdflow.run.context.Context
            After the plan was made.
        new : list of ccdflow.run.job.Group
            Masters and measurements of nights that are later than all others.

        Returns
        -------
        set of str

        Raises
        ------
        ccdflow.run.nights.note_lines.NeedsWholePlan
            If they change more than that.
        """
        return set()

    # -- the job -----------------------------------------------------------------------------------

    def make(self, context, job, *, threads):
        """Make a product and return its `ccdflow.run.ledger.Record`.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        job : ccdflow.run.job.Job
        threads : int
            How many the product may use for itself.

        Raises
        ------
        OSError
            If it cannot be written.
        ccdflow.errors.CcdflowError
            If one of its sources cannot be read.
        """
        raise NotImplementedError(f"{self.name}: how is it made?")

    def carries(self, context, job):
        """Return the rows and groups that a batch must carry along for a job.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        job : ccdflow.run.job.Job

        Returns
        -------
        (list of ccdflow.run.rawframes.rows.Row, list of ccdflow.run.job.Group)
        """
        return [], []

    def size(self, context, job):
        """Return the `ccdflow.run.job.Size` of a job.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        job : ccdflow.run.job.Job
        """
        return Size()

    # -- lines, sections, flags --------------------------------------------------------------------

    def flags(self, context, records):
        """Yield (reduced frame, text) of the inventory's flags on frames beside their status.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        records : list of ccdflow.run.ledger.Record
            All of this kind.
        """
        return ()

    def frame_reports(self, context, record):
        """Return the findings of a new product on frames, for an observer who watches.

        Only a kind that `reports_frames` is asked.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        record : ccdflow.run.ledger.Record
            Of the product that was made.

        Returns
        -------
        list of (str, str, list of str)
            Raw file, figures, and warnings.
        """
        return []

    def closing(self, context, records):
        """Return a run's last lines on this kind; the records are all of this kind.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        records : list of ccdflow.run.ledger.Record
            All of this kind.

        Returns
        -------
        list of str
        """
        return []

    def dry_run_lines(self, context):
        """Return the lines of a dry run on the plan's effects for this kind, below the counts.

        Parameters
        ----------
        context : ccdflow.run.context.Planning
            After the plan was made.
        """
        return []

    def shown(self, context, night):
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

    def keys_of_shown(self, context, night):
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
        keys = [getattr(context.outcome(each), "key", "") for each in self.shown(context, night)]
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
        dict
        """
        keys = [
            [product, record.key]
            for product in self.shown(context, night)
            if (record := context.outcome(product)) is not None
        ]
        return {self.name: keys} if keys else {}

    def section(self, context, night):
        """Return the `ccdflow.pages.contents.Section` of a night's page for this kind, or None.

        The page is made again when the result of `page_basis` has changed.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        night : str
            YYYY-MM-DD, or the folder of undated frames.
        """
        return None

    def sections(self, context, night):
        """Return all sections of a night's page for this kind, where it has several: a list.

        Parameters
        ----------
        context : ccdflow.run.context.Context
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
        """
        return None


class Chain(tuple):
    """Kinds of products in the order in which they are made: each after its sources."""

    @cached_property
    def _by_name(self):
        return {kind.name: kind for kind in self}

    @cached_property
    def _by_rule(self):
        return {kind.rule: kind for kind in self}

    def by_name(self, name):
        """Return the kind of a name."""
        return self._by_name[name]

    def by_rule(self, rule):
        """Return the kind that a Snakemake rule makes, or None."""
        return self._by_rule.get(rule)

    @property
    def first(self):
        """The kind that is made of raw frames, one each, which a run counts."""
        return self[0]

    def kind_of(self, product):
        """Return the kind whose name a path has, or None."""
        return next((kind for kind in self if kind.has_name(product)), None)

    @cached_property
    def combined_types(self):
        """The image types of frames that are combined."""
        return frozenset(kind.type for kind in self if kind.type)

    @property
    def folders(self):
        """The folders of products, relative to the results folder, without a slash."""
        places = dict.fromkeys(kind.place for kind in self)
        return [place.rstrip("/") for place in places if place.endswith("/")]

    def make(self, context, job, *, threads=1):
        """Make a job's product and return its record; see `Kind.make`.

        Parameters
        ----------
        context : ccdflow.run.context.Context
        job : ccdflow.run.job.Job
        threads : int, optional
            Threads that the product may use for itself.

        Returns
        -------
        ccdflow.run.ledger.Record
        """
        return self.by_name(job.kind).make(context, job, threads=threads)
