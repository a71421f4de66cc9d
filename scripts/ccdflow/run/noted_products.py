"""The notes of runs on the FITS products that they made, for whoever looks at products alone."""

from __future__ import annotations

from ccdflow import paths
from ccdflow.run import ledger


def noted_records(results):
    """Return {product: (kind, key, content, basis)} of the FITS products that runs have noted.

    That is the ledger, and records that a run which was ended left. A kind that nothing verifies is
    among them, so that a new one cannot be forgotten.

    Parameters
    ----------
    results : path-like

    Returns
    -------
    dict of str to (str, str, str, dict)
    """
    left = (record for _, record in ledger.unfolded_records(results) if record is not None)
    return {
        record.product: (record.kind, record.key, record.content, record.basis)
        for record in (*ledger.load_ledger(results).values(), *left)
        if record.status == ledger.MADE and paths.is_fits(record.product)
    }
