"""Which products are verified, and the table of verdicts: ``results/verification.csv``."""

from __future__ import annotations

import csv
import hashlib
import io
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import ccdproc
from astropy.io import fits

from ccdflow import paths
from ccdflow.errors import UserError
from ccdflow.files import whole as whole_files
from ccdflow.verify.accounts import CannotRemake, product_of, raw_file, read_headers
from ccdflow.verify.verdicts import CANNOT, DIFFERS, VERIFIED, Verdict, verify

NAME = paths.VERIFICATION


@dataclass(frozen=True)
class Entry:
    """A line of the table.

    Attributes
    ----------
    verdict : Verdict
    content : str
        CRC-32 of the product and the sizes and times of the files that it names: a product with the
        same content is not verified again.
    key : str
        CCDFKEY of the product.
    ccdproc : str
        Version that it was compared with.
    """

    verdict: Verdict
    content: str
    key: str
    ccdproc: str


_MASTERS = ("BIASIM", "DARKIM", "FLATIM")
_COLUMNS = [field.name for field in fields(Verdict)] + ["content", "key", "ccdproc"]


def products_of(results):
    """Return the names of all FITS files in a results folder, sorted: in whatever folder they are.

    A product in a folder that nothing verifies has a verdict as well, which says so.
    """
    results = Path(results)
    return sorted(
        path.relative_to(results).as_posix()
        for folder in results.iterdir()
        if folder.is_dir() and not folder.name.startswith(".")
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".") and _is_fits(path)
    )


def _is_fits(path):
    """Tell whether a file is FITS by its name; pages and pictures are not."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    return any(suffix in (".fits", ".fit", ".fts") for suffix in suffixes)


def sample_of(results):
    """Return one reduced, calibrated and combined frame of each camera, type and night.

    Of what is known of a detector one of each sort.

    Which one it is depends on the hash of its name alone, so that the same archive gives the same
    sample on every machine.
    """
    results = Path(results)
    table = results / "inventory.csv"
    if not table.is_file():
        raise UserError(
            "there is no inventory here",
            file=table,
            remedy="run `snakemake` first, or name the results folder: results=FOLDER",
        )
    chosen = {}
    with table.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        for row in csv.DictReader(file):
            product = product_of(row["file"])
            if row["status"] != "ok" or not (results / product).is_file():
                continue
            kind = row["camera"], row["type"], row["night"]
            chosen[kind] = min(chosen.get(kind, product), product, key=_draw)
            calibrated = "calibrated/" + product.removeprefix("reduced/")
            if (results / calibrated).is_file():
                kind = "calibrated", *kind
                chosen[kind] = min(chosen.get(kind, calibrated), calibrated, key=_draw)
    for product in products_of(results):
        if product.startswith("combined/"):
            _, night, name = product.split("/", 2)
            kind = "combined", _camera_of(results / product), name.partition("_")[0], night
        elif product.split("/")[0] not in ("reduced", "calibrated"):
            *folders, name = product.split("/")
            kind = *folders, name.partition("_")[0]
        else:
            kind = None
        if kind:
            chosen[kind] = min(chosen.get(kind, product), product, key=_draw)
    return sorted(chosen.values())


def _camera_of(path):
    try:
        return fits.getval(path, "CCDFCAM")
    except (OSError, KeyError):
        # Its verdict says what is wrong with it.
        return ""


def _draw(product):
    return hashlib.sha256(product.encode("utf-8", "surrogateescape")).hexdigest()


def content_of(product, raw, results):
    """Return what a verdict on a product holds for: its bytes, and the files that it names."""
    content = (Path(results) / product).read_bytes()
    sources = repr(_sources(product, content, raw, results))
    return f"{zlib.crc32(content):08x}-{zlib.crc32(sources.encode()):08x}"


def _sources(product, content, raw, results):
    """Return name, size and time of the files that a product was made of."""
    try:
        first = read_headers(content)[0]
    except CannotRemake:
        return []
    named = [Path(results) / first[keyword] for keyword in _MASTERS if keyword in first]
    if product.startswith("detector/"):
        measured = [first[keyword] for keyword in first if keyword.startswith("IMCOM")]
        named += [Path(results) / str(name) for name in measured]
    elif product.startswith("combined/"):
        members = [first[keyword] for keyword in first if keyword.startswith("IMC")]
        named += [Path(results) / product_of(str(member)) for member in members]
    elif "RAWFILE" in first:
        source = raw_file(first)
        is_reduced = product.startswith("reduced/")
        named.append(Path(raw) / source if is_reduced else Path(results) / product_of(source))
    return [(p.name, *_stamp(p)) for p in named]


def _key_of(path):
    """Return a product's CCDFKEY; '' where it has none that can be read."""
    try:
        return str(read_headers(path.read_bytes())[0].get("CCDFKEY", ""))
    except CannotRemake:
        return ""


def _stamp(path):
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_size, status.st_mtime_ns


def read_table(results):
    """Return {product: Entry} of the verdicts that are known; an unreadable table has none."""
    path = Path(results) / NAME
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        return {row["product"]: _entry(row) for row in csv.DictReader(io.StringIO(text))}
    except (OSError, KeyError, ValueError, TypeError):
        return {}


def _entry(row):
    numbers = {"pixels": int(row["pixels"]), "seconds": float(row["seconds"])}
    largest = float(row["largest"] or "nan")
    texts = {name: row[name] for name in ("product", "kind", "compared", "verdict", "reason")}
    return Entry(
        Verdict(**texts, **numbers, largest=largest), row["content"], row["key"], row["ccdproc"]
    )


def write_table(results, entries):
    """Write the table, sorted by product, in one piece."""
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for product in sorted(entries):
        entry = entries[product]
        writer.writerow(
            {
                **asdict(entry.verdict),
                "content": entry.content,
                "key": entry.key,
                "ccdproc": entry.ccdproc,
            }
        )
    text = out.getvalue().encode("utf-8", "surrogateescape")
    whole_files.write_hdus(Path(results) / NAME, [text])


def verify_products(products, *, raw, results, whole=False, threads=2):
    """Verify products, but for those whose verdict is known, and write the table.

    Parameters
    ----------
    products : list of str
        Relative to the results folder.
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
        How many of them were made again now.
    """
    known = read_table(results)

    def work(product):
        content = content_of(product, raw, results)
        before = known.get(product)
        if before is not None and _still_holds(before, content, whole):
            return product, before, False
        verdict = verify(product, raw=raw, results=results, whole=whole)
        key = _key_of(Path(results) / product)
        return product, Entry(verdict, content, key, ccdproc.__version__), True

    with ThreadPoolExecutor(threads) as pool:
        done = list(pool.map(work, products))
    there = set(products_of(results))
    entries = {product: entry for product, entry in known.items() if product in there}
    entries |= {product: entry for product, entry, _ in done}
    if entries != known:
        write_table(results, entries)
    return [entry.verdict for _, entry, _ in done], sum(fresh for *_, fresh in done)


def _still_holds(entry, content, whole):
    return (
        entry.content == content
        and entry.verdict.verdict == VERIFIED
        and entry.ccdproc == ccdproc.__version__
        and not (whole and "bands" in entry.verdict.compared)
    )


def lines_of(verdicts, fresh):
    """Return the lines that say how a verification came out."""
    lines = [f"{v.verdict}: {v.product}: {v.reason}" for v in verdicts if v.verdict != VERIFIED]
    counts = {word: sum(v.verdict == word for v in verdicts) for word in (DIFFERS, CANNOT)}
    text = f"{len(verdicts) - sum(counts.values())} of {len(verdicts)} products verified"
    text += f" with ccdproc {ccdproc.__version__}"
    if fresh < len(verdicts):
        text += f" ({fresh} now, the others before)"
    text += "".join(f", {count} {word}" for word, count in counts.items() if count)
    return [*lines, text]
