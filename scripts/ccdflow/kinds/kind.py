"""A kind of product: its names, the products wanted, their making, its lines and sections."""

from __future__ import annotations

from functools import cached_property

from ccdflow.kinds.kind_roles import OnPages, PartlyPlanned
from ccdflow.run import job_records
from ccdflow.run.context import PageContext
from ccdflow.run.job import OF_A_NIGHT, OF_ALL_NIGHTS, Size
from ccdflow.run.products import kept_products


class Kind(PartlyPlanned, OnPages):
    """A kind of product; each is a module of this package with one instance of its class.

    A kind without `closing` has no lines at the end of a run. Its answers on closed nights and on
    pages are in `ccdflow.kinds.kind_roles`.

    Attributes
    ----------
    name : str
        As records and the ledger have it.
    rule : str
        The Snakemake rule that makes it.
    nouns : (str, str)
        Singular and plural, for the first lines of a run.
    counted_nouns : (str, str) or None
        Singular and plural, for a run's last line; None where that does not count the products.
    is_always_counted : bool
        Whether the last line has its count even if that is 0 and none was refused.
    progress_nouns : (str, str)
        Singular and plural, in the progress line and where several kinds are counted together.
    verb : str
        The verb for its making, in the first lines.
    is_report : bool
        Whether its products show others: text, tables, pictures. Such kinds share a line.
    takes_all_cores : bool
        Whether the making of a product spreads over all cores: no other job runs beside it then,
        unless `cores_of` says less.
    is_in_batches : bool
        Whether batches hold its products; the main process makes those of other kinds.
    version : int
        Raised when a change alters the product's pixels or text: all of them are made again.
    header_version : int
        Raised when a change alters the cards of a product and no pixel: a product that is there
        keeps the header it has until it is asked for with ``-R``.
    path_prefix : str
        The folder of its products, with a slash at the end; or its one file.
    why_moved : str
        The reason in words when a product without a row is moved to `set_aside/`.
    reach : {OF_A_FRAME, OF_A_MASTER, OF_A_NIGHT, OF_ALL_NIGHTS}
        The frames on which a product depends. While frames of the sky arrive, products of frames
        and of the night are made at once, those of the archive later; no master is made then.
    reports_frames : bool
        Whether a watch reports its products (`frame_reports`).
    type : str
        The image type of the raw frames that are combined to it; '' where it is not combined.
        Statistics are recorded of reduced frames of this type.
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
        """Return the paths of further files on which the plan depends, for the seal.

        Raw files, profiles and products are looked at anyway. If nothing has changed since a run
        that found nothing to do, the next run makes no plan (`ccdflow.run.sealing.seal`).

        Parameters
        ----------
        settings : dict of str to object
            As `ccdflow.settings.load_settings` returns them.

        Returns
        -------
        sequence of path-like
        """
        return ()

    def has_name(self, product):
        """Return whether a path below the results folder is that of a product of this kind."""
        return product == self.path_prefix

    def is_stray(self, context, product):
        """Return whether a file with a name of this kind and without a record is moved away.

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
        """Hand to the planner (`ccdflow.run.plan.Planner`) all products that are to be there."""
        raise NotImplementedError(f"kind {self.name} must define plan()")

    def basis(self, context, job):
        """Return the dict that a product's key is the hash of, by the records of its needs.

        Parameters
        ----------
        context : ccdflow.run.context.Context
            PlanContext while planning; in the job that of `make`.
        job : ccdflow.run.job.Job

        Returns
        -------
        dict of str to object
            Values that JSON can hold.
        """
        raise NotImplementedError(f"kind {self.name} must define basis()")

    def what_changed(self, earlier_basis, current_basis):
        """Return in a few words why a product is out of date.

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
        """Return whether the earlier version of a product counts in a run that cannot make it.

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
        """Return why a product that was refused is tried again with the same key, or ''.

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
        """Return the version of the header that a product was given, from its record."""
        return record.data.get("header", 1)

    def has_older_header(self, context, record):
        """Return whether a product made again would have a header of a newer version.

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
        """Make a product and return its `ccdflow.run.job_records.Record`.

        Parameters
        ----------
        context : ccdflow.run.context.JobContext or ccdflow.run.context.PageContext
            PageContext for products of a night or of all nights.
        job : ccdflow.run.job.Job
        threads : int
            Threads that the product may use for itself.

        Raises
        ------
        OSError
            If it cannot be written.
        ccdflow.errors.CcdflowError
            If one of its sources cannot be read.
        """
        raise NotImplementedError(f"kind {self.name} must define make()")

    def free_memory(self, *, is_done=False):
        """Free memory that jobs share and that none has used lately.

        Parameters
        ----------
        is_done : bool
            Whether the last job of this kind was done, so that all of it is freed.
        """

    def rows_and_groups(self, context, job):
        """Return the rows and groups that a batch must carry along for a job.

        Parameters
        ----------
        context : ccdflow.run.context.JobContext
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
        """Yield (reduced frame, text) of the inventory's flags on frames beside their status.

        Parameters
        ----------
        context : ccdflow.run.context.JobContext
        records : list of ccdflow.run.job_records.Record
            All of this kind.

        Yields
        ------
        (str, str)
        """
        return ()

    def frame_reports(self, context, record):
        """Return the findings of a new product on frames, for an observer who watches.

        Only a kind that `reports_frames` is asked.

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

    def closing(self, context, records):
        """Return a run's last lines on this kind; the records are all of this kind.

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

    def closing_of_one(self, context, record):
        """Return a run's last lines on a product that was asked for by its name.

        Parameters
        ----------
        context : ccdflow.run.context.PageContext
        record : ccdflow.run.job_records.Record

        Returns
        -------
        list of str
            Lines that name the product where it was not made.
        """
        if record.status == job_records.MADE:
            return []
        return [f"not made: {record.product}: {record.reason}"]

    def dry_run_lines(self, context):
        """Return the lines of a dry run on the plan's effects for this kind, below the counts.

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
        prefixes = dict.fromkeys(kind.path_prefix for kind in self)
        return [prefix.rstrip("/") for prefix in prefixes if prefix.endswith("/")]

    def is_wide(self, job):
        """Return whether a job takes all cores, so that no other one runs beside it."""
        return self.by_name(job.kind).takes_all_cores

    def make(self, context, job, *, threads=1):
        """Make a job's product and return its record; see `Kind.make`.

        A product that is there stays as it is where one that it is made of could not be made.

        Parameters
        ----------
        context : ccdflow.run.context.JobContext
        job : ccdflow.run.job.Job
        threads : int, optional
            Threads that the product may use for itself.

        Returns
        -------
        ccdflow.run.job_records.Record
        """
        kind = self.by_name(job.kind)
        # A report shows other products as they are.
        source = "" if kind.is_report else kept_products.missing_source(context, job)
        earlier = context.earlier_record(job.product) if source else None
        if kept_products.has_earlier_version(context, job, earlier):
            return kept_products.waiting_record(job, source)
        if kind.reach in (OF_A_NIGHT, OF_ALL_NIGHTS):
            context = PageContext.of(context)
        return kept_products.with_missing_source(kind.make(context, job, threads=threads), source)
