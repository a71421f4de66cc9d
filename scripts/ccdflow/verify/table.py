"""The known verdicts, ``results/verification.csv``: valid ones are not made again."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote

from ccdflow import paths
from ccdflow.files import sealed
from ccdflow.files import whole as whole_files
from ccdflow.verify.accounts import CannotRemake, product_of, raw_file, read_headers
from ccdflow.verify.outcome import CANNOT, DIFFERS, MISSING, VERIFIED, Verdict
from ccdflow.verify.stored_rows import stored

NAME = paths.VERIFICATION
CCDPROC = version("ccdproc")


@dataclass(frozen=True)
class Entry:
    """A line of the table.

    Attributes
    ----------
    verdict : Verdict
    content : str
        CRC-32 of the product, and of sizes and times of the files that it names: a product with
        the same content is not verified again.
    key : str
        CCDFKEY of the product.
    ccdproc : str
        Version that it was compared with.
    """

    verdict: Verdict
    content: str
    key: str
    ccdproc: str


_WORDS = (DIFFERS, CANNOT, f"{CANNOT}, as expected")
_MASTERS = re.compile(r"(BIAS|DARK|FLAT)IM(\d\d)?|BPMIM(\d\d)?|SHUTCOR")
_COLUMNS = [field.name for field in fields(Verdict)] + ["content", "key", "ccdproc"]


def content_of(product, content, raw, results, made):
    """Return the hash of a product and its sources, and its CCDFKEY: a verdict holds for both.

    Parameters
    ----------
    product : str
    content : bytes
        Of its file.
    raw, results : pathlib.Path
    made : ccdflow.verify.outcome.NotedProduct
    """
    try:
        first = read_headers(content)[0]
    except CannotRemake:
        first = {}
    own = made.kind, made.key, made.content
    sources = repr([*own, *_sources(product, first, raw, results)])
    return f"{zlib.crc32(content):08x}-{zlib.crc32(sources.encode()):08x}", str(
        first.get("CCDFKEY", "")
    )


def _sources(product, first, raw, results):
    """Return name, size and times of the files that a product was made of."""
    named = [_named(results, first[word]) for word in first if _MASTERS.fullmatch(word)]
    if product.startswith("detector/"):
        named += [_named(results, first[word]) for word in first if word.startswith("IMCOM")]
        if "HOTRATE" in first:
            named += [path for master in named for path in _members_of(master, results)]
    elif product.startswith("combined/"):
        members = [str(first[word]) for word in first if word.startswith("IMC")]
        named += [_named(results, product_of(member)) for member in members]
    elif "RAWFILE" in first:
        source = raw_file(first)
        is_reduced = product.startswith("reduced/")
        named.append(raw / source if is_reduced else results / product_of(source))
    return [(path.name, *_stamp(path)) for path in named]


def _members_of(master, results):
    """Return the reduced frames that a master names; none of one that cannot be read."""
    try:
        first = stored(master).first
    except (OSError, LookupError, ValueError, TypeError, CannotRemake):
        # The verdict on the product reports the cause.
        return []
    names = [str(first[word]) for word in first if word.startswith("IMC")]
    return [_named(results, product_of(name)) for name in names]


def _named(results, text):
    """Return the path of a product that a card names: in cards, odd letters are written as %XX."""
    return results / unquote(str(text), errors="surrogateescape")


def _stamp(path):
    """Return size and times of a file; nobody can set the time of the last change, ctime."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read_table(results):
    """Return {product: Entry} of the verdicts that are known, and how many lines were edited."""
    rows, edited = sealed.read_rows(Path(results) / NAME)
    try:
        return {row["product"]: _entry(row) for row in rows}, edited
    except (KeyError, ValueError, TypeError):
        # A table with other columns is that of another version.
        return {}, edited


def _entry(row):
    numbers = {"pixels": int(row["pixels"]), "seconds": float(row["seconds"])}
    largest = float(row["largest"] or "nan")
    names = ("product", "kind", "compared", "verdict", "reason", "cause")
    texts = {name: row[name] for name in names}
    return Entry(
        Verdict(**texts, **numbers, largest=largest), row["content"], row["key"], row["ccdproc"]
    )


def write_table(results, entries):
    """Write the table, sorted by product, in one piece.

    Parameters
    ----------
    results : path-like
        The results folder.
    entries : dict of str to Entry
        By product.
    """
    rows = [
        {**asdict(entry.verdict), "content": entry.content, "key": entry.key,
         "ccdproc": entry.ccdproc}
        for _, entry in sorted(entries.items())
    ]  # fmt: skip
    whole_files.write_hdus(Path(results) / NAME, [sealed.table_of(_COLUMNS, rows)])


def verify_products(products, *, made, raw, results, whole=False, threads=2):
    """Verify products, but for those whose verdict is known, and write the table.

    Parameters
    ----------
    products : list of str
        Relative to the results folder.
    made : dict of str to ccdflow.verify.outcome.NotedProduct
        Of all products that may be in the table.
    raw, results : path-like
        Folders.
    whole : bool
        Whether all rows of combined frames are compared.
    threads : int

    Returns
    -------
    verdicts : list of Verdict
        Of these products, in their order.
    fresh : int
        How many of those that are verified were made again now.
    edited : int
        How many lines of the table were not as they were written.
    """
    raw, results = Path(raw), Path(results)
    known, edited = read_table(results)

    def work(product):
        try:
            content = (results / product).read_bytes()
        except OSError as error:
            verdict = Verdict(
                product,
                made[product].kind,
                verdict=CANNOT,
                cause=MISSING,
                reason=f"its file cannot be read: {error.strerror}; the next run makes it again",
            )
            return product, Entry(verdict, "", "", CCDPROC), True
        stamp, key = content_of(product, content, raw, results, made[product])
        before = known.get(product)
        if before is not None and _still_holds(before, stamp, whole):
            return product, before, False
        # Only here: ccdproc costs 0.25 s of CPU.
        from ccdflow.verify.verdicts import verify

        verdict = verify(
            product, raw=raw, results=results, whole=whole, made=made[product], content=content
        )
        return product, Entry(verdict, stamp, key, CCDPROC), True

    with ThreadPoolExecutor(threads) as pool:
        done = list(pool.map(work, products))
    entries = {product: entry for product, entry in known.items() if product in made}
    entries |= {product: entry for product, entry, _ in done}
    if edited or entries != known:
        write_table(results, entries)
    fresh = sum(is_fresh and entry.verdict.verdict == VERIFIED for _, entry, is_fresh in done)
    return [entry.verdict for _, entry, _ in done], fresh, edited


def _still_holds(entry, content, whole):
    return (
        entry.content == content
        and entry.verdict.verdict == VERIFIED
        and entry.ccdproc == CCDPROC
        and not (whole and "bands" in entry.verdict.compared)
    )


def lines_of(verdicts, fresh, expected=()):
    """Return the lines that say how a verification came out.

    Parameters
    ----------
    verdicts : list of Verdict
    fresh : int
        How many of those that are verified were made again now.
    expected : collection of str
        Causes for which a product may be one that cannot be made again.
    """
    lines, counts = [], Counter()
    for each in verdicts:
        word = each.verdict
        if word == CANNOT:
            is_expected = each.cause in expected
            counts[f"{CANNOT}, as expected" if is_expected else CANNOT] += 1
            word += f" ({each.cause}, as expected)" if is_expected else f" ({each.cause})"
        elif word == DIFFERS:
            counts[DIFFERS] += 1
        if each.verdict != VERIFIED:
            lines.append(f"{word}: {each.product}: {each.reason}")
    verified = len(verdicts) - sum(counts.values())
    text = f"{verified} of {len(verdicts)} products verified"
    text += f" with ccdproc {CCDPROC}"
    if fresh < verified:
        text += f" ({fresh} now, the others before)"
    return [*lines, text + "".join(_counted(counts[word], word) for word in _WORDS if counts[word])]


def _counted(count, word):
    return f", {count} {'differ' if word == DIFFERS and count > 1 else word}"
