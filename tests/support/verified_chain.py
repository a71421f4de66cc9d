"""The kinds of products that tests verify in a chain, and the first product of one."""

from ccdflow.verify import selection

MADE = ("frame", "bias", "dark", "flat", "science")


def one(results, kind):
    """The first product whose name begins like that."""
    folder, _, begin = kind.partition("/")
    return next(
        name
        for name in selection.files_of(results)
        if name.startswith(f"{folder}/") and name.rpartition("/")[2].startswith(begin)
    )
