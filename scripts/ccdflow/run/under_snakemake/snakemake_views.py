"""A plan of all products, also of current ones, for Snakemake's drawings and lists (views)."""

from __future__ import annotations

from ccdflow.run import job_records, session
from ccdflow.run.run_start import DRY_RUN, RunRequest

CHANGED_FILE = "/proc/self/status"
"""A file that is newer than any product: a product with this input is out of date for
`snakemake --summary`."""

# Characters that have a meaning for Snakemake in the name of a file.
_SPECIAL_CHARACTERS = set("{}<>")


class View:
    """A plan of all products, and the products among them that Snakemake can show.

    Parameters
    ----------
    settings : dict of str to object
        Settings, as `ccdflow.settings.load_settings` returns them.
    chain : ccdflow.kinds.kind.Chain
        The kinds of products.

    Attributes
    ----------
    session : ccdflow.run.session.Session
        The session of a dry run that plans all products.
    drawn_products : set of str
        The products that are shown: all but those whose names have special characters, and those
        that stay refused.
    """

    def __init__(self, settings, chain):
        self._stale_products = set(session.start(settings, chain=chain, request=DRY_RUN).plan.jobs)
        all_kinds = frozenset(kind.name for kind in chain)
        self.session = session.start(
            settings, chain=chain, request=RunRequest(is_dry=True, forced=all_kinds)
        )
        refused_products = {
            product
            for product, record in self.session.context.ledger.items()
            if record.status == job_records.REFUSED
        }
        self.drawn_products = {
            product
            for product in self.session.plan.jobs
            if not _SPECIAL_CHARACTERS & set(product)
            and product not in refused_products - self._stale_products
        }

    def older_files(self, job, raw):
        """Return the sources of a job's product: other products, and its raw file if it has one.

        Parameters
        ----------
        job : ccdflow.run.job.Job
        raw : str or None
            The raw file of a frame.

        Returns
        -------
        products : list of str
            Paths relative to the results folder.
        raw_files : list of str
            The raw file; [] without one.
        """
        raw_files = [raw] if raw is not None and not _SPECIAL_CHARACTERS & set(raw) else []
        return [need for need in job.needs if need in self.drawn_products], raw_files

    def newer_files(self, job):
        """Return [a file newer than any product] if the product of a job is not current; or []."""
        return [CHANGED_FILE] if job.product in self._stale_products else []
