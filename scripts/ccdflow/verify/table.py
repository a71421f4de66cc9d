"""The table of verdicts, ``results/verification.csv``: a verdict that still holds is kept."""

from __future__ import annotations

import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path

from ccdflow import paths
from ccdflow.files import atomic_write
from ccdflow.files.text_files import line_checksums
from ccdflow.verify.reading.accounts import read_headers
from ccdflow.verify.reading.source_files import named_files, read_product, size_and_times
from ccdflow.verify.reading.verdict import (
    CANNOT,
    DIFFERS,
    FAILED,
    MISSING,
    VERIFIED,
    CannotRemake,
    Verdict,
)

TABLE_FILE = paths.VERIFICATION
"""The table of verdicts."""

CCDPROC_VERSION = version("ccdproc")
"""The version of ccdproc that makes the products again."""


@dataclass(frozen=True)
class Entry:
    """A line of the table.

    Attributes
    ----------
    verdict : Verdict
    content : str
        CRC-32 of the product, and of the notes, sizes and times of its sources: without a change
        of these the product is not verified again.
    key : str
        CCDFKEY of the product by the notes of the run, otherwise by its header.
    modified : int
        Time of the product's file, ns since 1970; 0 without a file.
    ccdproc : str
        Version of ccdproc that made the comparison.
    """

    verdict: Verdict
    content: str
    key: str
    modified: int
    ccdproc: str


# Part of the remark on a table that cannot be written.
_UNWRITTEN_REMARK = (
    "the verdicts stand here alone, and the next verification makes all of them again"
)
# Verdicts that the last line counts.
_COUNTED_VERDICTS = (DIFFERS, CANNOT, f"{CANNOT}, as expected", FAILED)
# Columns of an `Entry` beside those of its verdict, and all columns of the table.
_OWN_COLUMNS = ("content", "key", "modified", "ccdproc")
_COLUMNS = [*(field.name for field in fields(Verdict)), *_OWN_COLUMNS]


def hash_and_key(product, content, raw, results, product_notes):
    """Return the hash of a product and its sources, and its CCDFKEY.

    A verdict holds while the hash does not change.

    Parameters
    ----------
    product : str
    content : bytes
        Content of the product's file.
    raw, results : pathlib.Path
    product_notes : ccdflow.verify.reading.verdict.NotedProduct

    Returns
    -------
    (str, str)
        The columns `content` and `key` of the table.
    """
    try:
        first_header = read_headers(content)[0]
    except CannotRemake:
        first_header = {}
    notes = product_notes.kind, product_notes.key, product_notes.content
    paths_named = named_files(product, first_header, raw, results)
    sources = repr([*notes, *((path.name, *size_and_times(path)) for path in paths_named)])
    content_hash = f"{zlib.crc32(content):08x}-{zlib.crc32(sources.encode()):08x}"
    return content_hash, product_notes.key or str(first_header.get("CCDFKEY", ""))


def read_verdicts(results):
    """Return {product: Entry} of the table, and the number of lines that somebody edited."""
    rows, n_edited = line_checksums.unedited_lines(Path(results) / TABLE_FILE)
    try:
        return {row["product"]: _entry_of_row(row) for row in rows}, n_edited
    except (KeyError, ValueError, TypeError):
        # Another version wrote a table with other columns.
        return {}, n_edited


def _entry_of_row(row):
    """Return the `Entry` of a row of texts of the table."""
    numbers = {"pixels": int(row["pixels"]), "seconds": float(row["seconds"])}
    largest = float(row["largest"] or "nan")
    names = ("product", "kind", "compared", "unit", "verdict", "reason", "cause")
    texts = {name: row[name] for name in names}
    own_values = {name: row[name] for name in _OWN_COLUMNS} | {"modified": int(row["modified"])}
    return Entry(Verdict(**texts, **numbers, largest=largest), **own_values)


def write_verdicts(results, entries):
    """Write the table of verdicts, sorted by product; a reader sees the old or the new table.

    Parameters
    ----------
    results : path-like
        The results folder.
    entries : dict of str to Entry
        Lines of the table by product.
    """
    rows = [
        asdict(entry.verdict) | {name: getattr(entry, name) for name in _OWN_COLUMNS}
        for _, entry in sorted(entries.items())
    ]
    atomic_write.write_whole(Path(results) / TABLE_FILE, [line_checksums.table_of(_COLUMNS, rows)])


def verify_products(products, *, noted_products, raw, results, compares_all_rows=False, threads=2):
    """Verify products without a valid verdict in the table, and write the table.

    Parameters
    ----------
    products : list of str
        Relative to the results folder.
    noted_products : dict of str to ccdflow.verify.reading.verdict.NotedProduct
        The notes on all products: those of other products are removed from the table.
    raw, results : path-like
        Folders of raw frames and of results.
    compares_all_rows : bool, optional
        Whether all rows of combined frames are compared.
    threads : int, optional
        Number of threads; the default is for a small machine.

    Returns
    -------
    verdicts : list of Verdict
        Verdicts on the products, in their order.
    n_fresh : int
        Number of verified products whose verdict is new, and not that of the table.
    remarks : list of str
        Sentences on edited lines of the table, or on its failed writing.
    """
    raw, results = Path(raw), Path(results)
    known_entries, n_edited = read_verdicts(results)

    def entry_of(product):
        """Return the `Entry` of a product."""
        return _entry_of_product(
            product,
            known_entries.get(product),
            noted_products[product],
            raw=raw,
            results=results,
            compares_all_rows=compares_all_rows,
        )

    with ThreadPoolExecutor(threads) as pool:
        verified_entries = dict(zip(products, pool.map(entry_of, products), strict=True))
    entries = {
        product: entry for product, entry in known_entries.items() if product in noted_products
    }
    entries |= verified_entries
    remarks = []
    if n_edited:
        remarks.append(f"{TABLE_FILE}: edited lines, whose verdicts do not count: {n_edited}")
    try:
        if n_edited or entries != known_entries:
            write_verdicts(results, entries)
    except OSError as error:
        remarks.append(f"{TABLE_FILE} cannot be written ({error.strerror}): {_UNWRITTEN_REMARK}")
    verdicts = [verified_entries[product].verdict for product in products]
    n_fresh = sum(
        verdict.verdict == VERIFIED and verified_entries[product] is not known_entries.get(product)
        for product, verdict in zip(products, verdicts, strict=True)
    )
    return verdicts, n_fresh, remarks


def _entry_of_product(product, known_entry, product_notes, *, raw, results, compares_all_rows):
    """Return the `Entry` of a product: the known one while it holds, otherwise a new one.

    Parameters
    ----------
    product : str
    known_entry : Entry or None
        The product's line in the table.
    product_notes : ccdflow.verify.reading.verdict.NotedProduct
    raw, results : pathlib.Path
        Folders.
    compares_all_rows : bool
    """
    try:
        content = read_product(results / product)
    except OSError as error:
        verdict = Verdict(
            product,
            product_notes.kind,
            verdict=CANNOT,
            cause=MISSING,
            reason=f"its file cannot be read: {error.strerror}; the next run makes it again",
        )
        return Entry(verdict, "", "", 0, CCDPROC_VERSION)
    content_hash, key = hash_and_key(product, content, raw, results, product_notes)
    if known_entry is not None and _still_holds(known_entry, content_hash, compares_all_rows):
        return known_entry
    (modified,) = size_and_times(results / product)[1:2] or (0,)
    # Imported here because ccdproc takes 0.25 s of CPU to import.
    from ccdflow.verify.verdicts import verify

    verdict = verify(
        product,
        raw=raw,
        results=results,
        compares_all_rows=compares_all_rows,
        product_notes=product_notes,
        content=content,
    )
    return Entry(verdict, content_hash, key, modified, CCDPROC_VERSION)


def _still_holds(entry, content_hash, compares_all_rows):
    """Return whether a verdict still holds: product, sources, ccdproc and extent are the same."""
    return (
        entry.content == content_hash
        and entry.verdict.verdict == VERIFIED
        and entry.ccdproc == CCDPROC_VERSION
        and not (compares_all_rows and "bands" in entry.verdict.compared)
    )


def lines_on_verdicts(verdicts, n_fresh, expected=()):
    """Return the lines on the verdicts other than `VERIFIED`, and a last line with the numbers.

    Parameters
    ----------
    verdicts : list of Verdict
    n_fresh : int
        Number of verified products whose verdict is new, and not that of the table.
    expected : collection of str, optional
        Causes that are expected where a product cannot be made again.

    Returns
    -------
    list of str
    """
    lines, counts = [], Counter()
    for verdict in verdicts:
        word = label = verdict.verdict
        if word == VERIFIED:
            continue
        if word == CANNOT:
            suffix = ", as expected" if verdict.cause in expected else ""
            word, label = f"{CANNOT}{suffix}", f"{CANNOT} ({verdict.cause}{suffix})"
        counts[word] += 1
        lines.append(f"{label}: {verdict.product}: {verdict.reason}")
    n_verified = len(verdicts) - counts.total()
    words = [
        f"{n_verified} of {len(verdicts)} products verified with ccdproc {CCDPROC_VERSION}",
        f" ({n_fresh} now, the others before)" if n_fresh < n_verified else "",
        *(_count_words(counts[word], word) for word in _COUNTED_VERDICTS if counts[word]),
    ]
    return [*lines, "".join(words)]


def _count_words(count, word):
    """Return the part of the last line on the number of verdicts of one sort."""
    if word == FAILED:
        return f", {count} without a verdict, as the verification failed"
    return f", {count} {'differ' if word == DIFFERS and count > 1 else word}"
