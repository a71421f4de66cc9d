"""A kind of product: its names, the products wanted, their making, its lines and sections."""

from __future__ import annotations

from functools import cached_property

from ccdflow.kinds.kind_roles import OnPages, PartlyPlanned
from ccdflow.run import job_records
from ccdflow.run.context import PageContext
from ccdflow.run.job import OF_A_NIGHT, OF_ALL_NIGHTS, Size
from ccdflow.run.products import kept_products


class Kind(PartlyPlanned, OnPages):
    """The base class of the kinds of products: `ccdflow.kinds.CHAIN` has one instance of each.

    A kind that does not define `closing_lines` has no lines at the end of a run. The methods on
    closed nights and on pages are in `ccdflow.kinds.kind_roles`.

    Attributes
    ----------
    name : str
        The name of the kind in records and in the ledger.
    rule : str
        The Snakemake rule that makes the products.
    nouns : (str, str)
        Singular and plural, for the first lines of a run.
    counted_nouns : (str, str) or None
        Singular and plural, for a run's last line; None where the last line has no such count.
    is_always_counted : bool
        Whether the last line has the count even where none was made and none was refused.
    progress_nouns : (str, str)
        Singular and plural, in the progress line and where several kinds are counted together.
    verb : str
        The verb for the making of the products, in the first lines.
    is_report : bool
        Whether the products show other products: texts, tables, pictures. Such kinds share a line.
    takes_all_cores : bool
        Whether the making of a product takes all cores, so that no other job runs beside it.
        `cores_of` may return fewer.
    is_in_batches : bool
        Whether the products are made in batches; the main process makes those of other kinds.
    version : int
        Raised when a change alters pixels or text of the products: all of them are made again.
    header_version : int
        Raised when a change alters cards of the products and no pixel. An existing product keeps
        its header until it is asked for with ``-R``.
    path_prefix : str
        The folder of the products, with a slash at the end; or the one file.
    why_moved : str
        The reason, in words, for which a product without a row is moved to `set_aside/`.
    reach : {OF_A_FRAME, OF_A_MASTER, OF_A_NIGHT, OF_ALL_NIGHTS}
        The frames on which a product depends. While science frames arrive, a watch makes products
        of a frame or a night at once, and those of all nights later. It makes no master then.
    reports_frames : bool
        Whether a watch reports the products (`frame_reports`).
    type : str
        The image type of the raw frames that are combined into a product; '' for other kinds. The
        records of reduced frames of this type have their statistics.
    """

    name = ""
    rule = ""
    nouns = ("", "")
    counted_nouns = None
    is_always_counted = False
    progress_nouns = ("page", "pages")
    verb = "write"
    is_report = True
    takes_all_cores = False
    is_in_batches = False
    version = 1
    header_version = 1
    path_prefix = ""
    reach = OF_ALL_NIGHTS
    reports_frames = False
    type = ""
    why_moved = "no frame or setting asks for it any longer"

    def __repr__(self):
        return f"<kind {self.name}>"

    @property
    def versions(self):
        """The version numbers that a change of code raises: the next run then plans all nights."""
        return [self.version, self.header_version]

    # -- planning ----------------------------------------------------------------------------------

    def further_files(self, settings):
        """Return the paths of further files on which the plan depends.

        The seal compares them, besides raw files, profiles and products. If nothing has changed
        since a run that found nothing to do, the next run makes no plan
        (`ccdflow.run.sealing.seal`).

        Parameters
        ----------
        settings : dict of str to object
            The result of `ccdflow.settings.load_settings`.

        Returns
        -------
        sequence of path-like
        """
        return ()

    def has_name(self, product):
        """Return whether a path below the results folder is that of a product of this kind."""
        return product == self.path_prefix

    def is_stray(self, context, product):
        """Return whether a file that has a name of this kind and no record is moved away.

        Parameters
        ----------
        context : ccdflow.run.context.PlanContext
        product : str
            Path relative to the results folder.

        Returns
        -------
        bool
        """
        return True

    def plan(self, planner):
        """Give the planner (`ccdflow.run.plan.Planner`) all products that should exist."""
        raise NotImplementedError(f"kind {self.name} must define plan()")

    def basis(self, context, job):
        """Return the sources of a product, by the records of its needs: its key is their hash.

        Parameters
        ----------
        context : ccdflow.run.context.Context
            A PlanContext during planning; the context of `make` in a job.
        job : ccdflow.run.job.Job

        Returns
        -------
        dict of str to object
            Values that JSON can hold.
        """
        raise NotImplementedError(f"kind {self.name} must define basis()")

    def what_changed(self, earlier_basis, current_basis):
        """Return why a product is out of date, in a few words.

        Parameters
        ----------
        earlier_basis, current_basis : mapping of str to object
            Bases that differ: the recorded one, and the one that holds now.

        Returns
        -------
        str
        """
        return "its content changed"

    def may_stand(self, earlier_basis, current_basis):
        """Return whether a product may keep its earlier version in a run that cannot make it.

        Parameters
        ----------
        earlier_basis, current_basis : mapping of str to object
            Bases that differ: the recorded one, and the one that holds now.

        Returns
        -------
        bool
        """
        return False

    def why_tried_again(self, context, record):
        """Return why a refused product is tried again with an unchanged key; '' if it is not.

        Parameters
        ----------
        context : ccdflow.run.context.PlanContext
        record : ccdflow.run.job_records.Record
            Record of the refused product.

        Returns
        -------
        str
        """
        return ""

    def header_version_of(self, record):
        """Return the version of a product's header, by its record."""
        return record.data.get("header", 1)

    def has_older_header(self, context, record):
        """Return whether a product has a header of an older version than a new one would have.

        Parameters
        ----------
        context : ccdflow.run.context.PlanContext
        record : ccdflow.run.job_records.Record
            Record of a product that was made.

        Returns
        -------
        bool
        """
        return self.header_version_of(record) < self.header_version

    # -- the job -----------------------------------------------------------------------------------

    def make(self, context, job, *, threads):
        """Make a product and return its record.

        Parameters
        ----------
        context : ccdflow.run.context.JobContext or ccdflow.run.context.PageContext
            PageContext for products of a night or of all nights.
        job : ccdflow.run.job.Job
        threads : int
            Threads that the making of the product may use.

        Returns
        -------
        ccdflow.run.job_records.Record

        Raises
        ------
        OSError
            If the product cannot be written.
        ccdflow.errors.CcdflowError
            If one of the product's sources cannot be read.
        """
        raise NotImplementedError(f"kind {self.name} must define make()")

    def free_memory(self, *, is_done=False):
        """Free the memory that jobs share, where no job has used it lately.

        Parameters
        ----------
        is_done : bool, optional
            Whether the last job of this kind is done, so that all of the memory is freed.
        """

    def rows_and_groups(self, context, job):
        """Return the rows and groups that the file of a batch must contain for a job.

        Parameters
        ----------
        context : ccdflow.run.context.JobContext
        job : ccdflow.run.job.Job

        Returns
        -------
        (list of ccdflow.run.raw_frames.rows.Row, list of ccdflow.run.job.Group)
        """
        return [], []

    def size(self, context, job):
        """Return the amount of work of a job: frames, pictures and so on.

        Parameters
        ----------
        context : ccdflow.run.context.JobContext
        job : ccdflow.run.job.Job

        Returns
        -------
        ccdflow.run.job.Size
        """
        return Size()

    def cores_of(self, context, job, *, cores, has_others):
        """Return the number of cores of a run that a job takes.

        Parameters
        ----------
        context : ccdflow.run.context.JobContext
        job : ccdflow.run.job.Job
        cores : int
            Cores of the run.
        has_others : bool
            Whether the run has other jobs of this kind.

        Returns
        -------
        int
        """
        return cores if self.takes_all_cores else 1

    # -- lines and flags ---------------------------------------------------------------------------

    def flags(self, context, records):
        """Yield the flags on frames that the inventory shows beside their status.

        Parameters
        ----------
        context : ccdflow.run.context.JobContext
        records : list of ccdflow.run.job_records.Record
            All of this kind.

        Yields
        ------
        (str, str)
            Reduced frame, and text of the flag.
        """
        return ()

    def frame_reports(self, context, record):
        """Return the report of a watch on the frames of a new product.

        A watch calls this only for a kind that `reports_frames`.

        Parameters
        ----------
        context : ccdflow.run.context.JobContext
        record : ccdflow.run.job_records.Record
            Record of the product that was made.

        Returns
        -------
        list of (str, str, list of str)
            Raw file, figures, and warnings.
        """
        return []

    def closing_lines(self, context, records):
        """Return the lines on this kind at the end of a run.

        Parameters
        ----------
        context : ccdflow.run.context.PageContext
        records : list of ccdflow.run.job_records.Record
            All of this kind.

        Returns
        -------
        list of str
        """
        return []

    def closing_lines_of_one(self, context, record):
        """Return the lines at the end of a run on a product that was asked for by its name.

        Parameters
        ----------
        context : ccdflow.run.context.PageContext
        record : ccdflow.run.job_records.Record

        Returns
        -------
        list of str
            Lines that name a product that was not made; [] for others.
        """
        if record.status == job_records.MADE:
            return []
        return [f"not made: {record.product}: {record.reason}"]

    def dry_run_lines(self, context):
        """Return the lines of a dry run on this kind, below the counts of all kinds.

        Parameters
        ----------
        context : ccdflow.run.context.PlanContext
            After the plan was made.

        Returns
        -------
        list of str
        """
        return []


class Chain(tuple):
    """Kinds of products in the order in which they are made: each after its sources."""

    @cached_property
    def _by_name(self):
        """The kinds by their names."""
        return {kind.name: kind for kind in self}

    @cached_property
    def _by_rule(self):
        """The kinds by the names of their rules."""
        return {kind.rule: kind for kind in self}

    def by_name(self, name):
        """Return the kind with a name."""
        return self._by_name[name]

    def by_rule(self, rule):
        """Return the kind whose products a Snakemake rule makes, or None."""
        return self._by_rule.get(rule)

    @property
    def first(self):
        """The kind with one product for each raw frame: a run counts these as its frames."""
        return self[0]

    def kind_of(self, product):
        """Return the kind of product that a path names, or None."""
        return next((kind for kind in self if kind.has_name(product)), None)

    @cached_property
    def combined_types(self):
        """The image types of the raw frames that are combined into masters."""
        return frozenset(kind.type for kind in self if kind.type)

    @property
    def folders(self):
        """The folders of products, relative to the results folder, without a slash."""
        prefixes = dict.fromkeys(kind.path_prefix for kind in self)
        return [prefix.rstrip("/") for prefix in prefixes if prefix.endswith("/")]

    def is_wide(self, job):
        """Return whether a job takes all cores, so that no other job runs beside it."""
        return self.by_name(job.kind).takes_all_cores

    def make(self, context, job, *, threads=1):
        """Make the product of a job by `Kind.make` and return its record.

        Where a source of the product could not be made, the earlier version of the product stays,
        if there is one. A report is made in any case.

        Parameters
        ----------
        context : ccdflow.run.context.JobContext
        job : ccdflow.run.job.Job
        threads : int, optional
            Threads that the making of the product may use.

        Returns
        -------
        ccdflow.run.job_records.Record
        """
        kind = self.by_name(job.kind)
        missing_source = "" if kind.is_report else kept_products.missing_source(context, job)
        earlier_record = context.earlier_record(job.product) if missing_source else None
        if kept_products.has_earlier_version(context, job, earlier_record):
            return kept_products.waiting_record(job, missing_source)
        if kind.reach in (OF_A_NIGHT, OF_ALL_NIGHTS):
            context = PageContext.of(context)
        return kept_products.record_with_missing_source(
            kind.make(context, job, threads=threads), missing_source
        )
