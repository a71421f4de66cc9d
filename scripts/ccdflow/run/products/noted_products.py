"""The records of the FITS products that runs made, for readers of the products alone."""

from __future__ import annotations

from ccdflow import paths
from ccdflow.run import job_records, ledger


def noted_records(results):
    """Return {product: (kind, key, content, basis)} of the FITS products that runs have noted.

    The records are those of the ledger, and those of a run that was killed. All kinds are among
    them, so that a new kind cannot be left unverified unnoticed.

    Parameters
    ----------
    results : path-like

    Returns
    -------
    dict of str to (str, str, str, dict)
    """
    # Before the ledger: a run that ends meanwhile takes them into it, and removes them then.
    unfolded = [record for _, record in job_records.unfolded_records(results) if record is not None]
    return {
        record.product: (record.kind, record.key, record.content, record.basis)
        for record in (*ledger.load_ledger(results).values(), *unfolded)
        if record.status == job_records.MADE and paths.is_fits(record.product)
    }
