"""The chain for Snakemake's drawings and lists: every product, current ones as well."""

from __future__ import annotations

from ccdflow.run import job_records, session
from ccdflow.run.run_start import DRY_RUN, RunRequest

CHANGED_FILE = "/proc/self/status"
"""A file that is newer than any product: it makes `snakemake --summary` show a product as out of
date."""

# Characters with a meaning of their own for Snakemake.
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
        In which all products are to be made; nothing is written.
    drawn_products : set of str
        The products that are shown: not those that were refused.
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
        """Return the sources of a job's product: other products, and a raw file or None.

        Parameters
        ----------
        job : ccdflow.run.job.Job
        raw : str or None
            The raw file of a frame.

        Returns
        -------
        (list of str, list of str)
        """
        raw_files = [raw] if raw is not None and not _SPECIAL_CHARACTERS & set(raw) else []
        return [need for need in job.needs if need in self.drawn_products], raw_files

    def newer_files(self, job):
        """Return the files that are newer than a job's product where it is not current."""
        return [CHANGED_FILE] if job.product in self._stale_products else []
