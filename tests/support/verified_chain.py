"""A chain of products that tests verify: its kinds, a night, and the first product of a kind."""

import shutil

import small_chain
from small_frames import run_jobs

from ccdflow.verify import selection, verdicts

MADE_KINDS = ("frame", "bias", "dark", "flat", "science")


def make_chain(top, settings=None, *, kinds=MADE_KINDS, **options):
    """Expose a small night below a folder and make its products; return (raw, results) folders.

    ``options`` are arguments of `small_chain.make`.
    """
    chain = small_chain.make(top / "raw", **options)
    results = top / "results"
    run_jobs(chain.raw, results, {"simcam": chain.profile}, kinds=kinds, **(settings or {}))
    return chain.raw, results


def copy_folders(folders, top):
    """Copy raw frames and results below a folder; return (raw folder, results folder)."""
    copies = top / "raw", top / "results"
    for folder, target in zip(folders, copies, strict=True):
        shutil.copytree(folder, target)
    return copies


def verify_all_rows(product, folders):
    """Verify a product of (raw folder, results folder) in all its rows; return the verdict."""
    return verdicts.verify(product, raw=folders[0], results=folders[1], compares_all_rows=True)


def first_product(results, kind):
    """Return the first product of a folder and beginning of a name, such as 'combined/dark'."""
    folder, _, begin = kind.partition("/")
    return next(
        name
        for name in selection.files_of(results)
        if name.startswith(f"{folder}/") and name.rpartition("/")[2].startswith(begin)
    )
