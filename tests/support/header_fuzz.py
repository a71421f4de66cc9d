"""Raw frames by hand, card by card, and headers with odd values or flipped bits in them."""

from __future__ import annotations

import random
import string
import time
import traceback
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
from small_frames import begin

from ccdflow import kinds as kinds_module
from ccdflow.camera.facts import KEYWORDS
from ccdflow.run import job_records, worker
from ccdflow.run.ending import session_end
from ccdflow.run.raw_frames import row_reader
from ccdflow.run.raw_frames.rows import ARRIVING_STATUS, OK, SET_ASIDE

NY, NX, STRIP = 24, 32, 8

# Texts behind the sign of equality, whether FITS allows them or not.
ODD_VALUES = (
    "", "'        '", "NaN", "'nan'", "'inf'", "1.0E400", "-1", "0", "1.5", "99999999999999999999",
    "0,5", "'0,5'", "T", "[1:2,3:4]", "'[1:2,3:4", "'N/A'", "(1, 2)", "'odd text'",
)  # fmt: skip

# Keywords of the structure, of sections, and of cards of other programs.
_OTHER_KEYWORDS = """
BITPIX NAXIS NAXIS1 NAXIS2 BZERO BSCALE BLANK EXTEND PCOUNT GCOUNT ZIMAGE INHERIT EXTNAME BIASSEC
TRIMSEC DATASEC CCDSEC DETSEC AMPSEC DETSIZE CCDSIZE BSEC1 TSEC1 DSEC1 PRESCAN OVERSCAN PREPIX
POSTPIX COVER ROVER PRELINE NUMAMPS NAMPS CCDSUM BINNING XBINNING CCDBIN1 CCDBIN2 LTV1 LTV2 LTM1_1
LTM2_2 CRPIX1 CRPIX2 CDELT1 CD1_1 CRVAL1 CTYPE1 INSTRUME DETECTOR CCDNAME CHIPID AMPNAME TRIM
ZEROCOR CCDPROC NCOMBINE RLEVEL CALSTAT PROCBIAS HISTORY OBSGEO-X OBSGEO-Y OBSGEO-Z BUNIT CHECKSUM
DATASUM RAWDATE DATE BIASLVL OVERRMS WCSAXES LATITUDE SATURATE GAIN1 RDNOISE1
"""
# The first three keywords of each header value that ccdflow reads.
_KEYWORDS_OF_MEANING = [
    word for text in KEYWORDS.values() for word in text.split("|")[0].split()[:3]
]
# Chosen: 120 of them, because each costs a frame for each odd value.
ODD_KEYWORDS = tuple(dict.fromkeys(_OTHER_KEYWORDS.split() + _KEYWORDS_OF_MEANING))[:120]


def card(keyword, value="", comment=""):
    """Return a card with a text as its value, whether FITS allows it or not."""
    name = f"{keyword:<8}= " if len(keyword) <= 8 else f"HIERARCH {keyword} = "
    text = f"{name}{value:<20}" if value.startswith(("'", "[")) else f"{name}{value:>20}"
    return (text + (f" / {comment}" if comment else "")).ljust(80)[:80]


def quote(text):
    """Return a text in quotes, padded as in FITS."""
    return f"'{text:<8}'"


def header(cards, *, end="END"):
    """Return the bytes of a padded header of cards."""
    text = "".join(one.ljust(80)[:80] for one in (*cards, end)).encode("latin-1")
    return text + b" " * (-len(text) % 2880)


def top(*, bitpix="16", nx=NX + STRIP, ny=NY, is_extension=False):
    """Return the structural cards of an unsigned 16-bit image."""
    first = card("XTENSION", quote("IMAGE")) if is_extension else card("SIMPLE", "T")
    counts = (card("PCOUNT", "0"), card("GCOUNT", "1")) if is_extension else ()
    return [
        first, card("BITPIX", bitpix), card("NAXIS", "2"), card("NAXIS1", str(nx)),
        card("NAXIS2", str(ny)), *counts, card("BZERO", "32768"), card("BSCALE", "1"),
    ]  # fmt: skip


def usual(*, kind="object", when="2024-03-10T04:00:00", exptime="5.0", has_sections=True):
    """Return the cards of a sound frame of the camera PROBE in Arizona."""
    cards = [
        card("INSTRUME", quote("PROBE")), card("IMAGETYP", quote(kind)),
        card("DATE-OBS", quote(when)), card("EXPTIME", exptime), card("LONGITUD", "-111.6"),
    ]  # fmt: skip
    return cards + (SECTIONS if has_sections else [])


SECTIONS = [
    card("BIASSEC", quote(f"[{NX + 1}:{NX + STRIP},1:{NY}]")),
    card("TRIMSEC", quote(f"[1:{NX},1:{NY}]")),
]


def pixels(seed, *, light=300.0):
    """Return a raw frame, uint16 of (NY, NX + STRIP), with the overscan at the right."""
    rng = np.random.default_rng(seed)
    image = 1000 + 3 * np.sin(np.arange(NY) / 7)[:, None] + rng.normal(0, 4, (NY, NX + STRIP))
    image[:, :NX] += light
    return np.rint(image).astype(np.uint16)


def reduce_by_numpy(raw):
    """Return the reduced frame by numpy: minus the median of each row's overscan, trimmed."""
    values = raw.astype(np.float64)
    return (values[:, :NX] - np.median(values[:, NX:], axis=1, keepdims=True)).astype(np.float32)


def body(raw):
    """Return the padded data unit of an unsigned 16-bit image."""
    data = (raw.astype("i4") - 32768).astype(">i2").tobytes()
    return data + b"\0" * (-len(data) % 2880)


def frame(raw, cards, *, structure=None):
    """Return the bytes of a file with one image."""
    return header([*(structure or top()), *cards]) + body(raw)


def three_hdus(seed=7):
    """Return the bytes of a file with three HDUs, and (first byte, length) of each header."""
    primary = header(
        [card("SIMPLE", "T"), card("BITPIX", "8"), card("NAXIS", "0"), card("EXTEND", "T"),
         *usual(kind="bias", exptime="0.0", has_sections=False)]
    )  # fmt: skip
    parts, places = [primary], [(0, len(primary))]
    for number in (0, 1):
        section = quote(f"[{1 + NX * number}:{NX * (number + 1)},1:{NY}]")
        cards = [card("EXTNAME", quote(f"A{number}")), *SECTIONS, card("DETSEC", section)]
        header_of_image = header([*top(is_extension=True), *cards])
        places.append((sum(map(len, parts)), len(header_of_image)))
        parts += [header_of_image, body(pixels(seed + number, light=0))]
    return b"".join(parts), places


@dataclass
class Outcome:
    """The outcome of a folder of frames: status by file, products, and unforeseen errors."""

    status: dict = field(default_factory=dict)
    reasons: dict = field(default_factory=dict)
    raised: dict = field(default_factory=dict)
    lines: list = field(default_factory=list)
    results: Path | None = None


def outcome_of(raw, results):
    """Return the `Outcome` of reading and reducing all frames of a folder, one after the other."""
    outcome = Outcome(results=Path(results))
    running = begin(raw, results, {})
    try:
        for job in running.plan.jobs_of_kind("frame"):
            try:
                record = kinds_module.make(running.context, job, threads=1)
            except Exception:
                outcome.raised[job.product] = traceback.format_exc()
                continue
            job_records.write_record(Path(results), record, job.record_path)
    finally:
        running.lock.close()
    after = begin(raw, results, {})
    after.lock.close()
    for file, row in after.context.store.rows.items():
        outcome.status[file], outcome.reasons[file] = row.status_and_reason
    for text in getattr(after.context.store, "tracebacks", {}).values():
        outcome.raised[text[-200:]] = text
    return outcome


# -- random headers through whole runs -------------------------------------------------------------

KINDS = ("bias", "dark", "flat", "object")
_WORDS = ("bias", "dark", "flat", "object", "light", "zero", "twilight", "focus", "?", "BIAS FRAME")


def random_frame(seed):
    """Return the bytes of a file whose header is sound except for one to six random faults."""
    chance = random.Random(seed)
    kind = chance.choice(KINDS)
    exptime = "0.0" if kind == "bias" else chance.choice(("5.0", "5.0", "60.0"))
    day = chance.choice((9, 10, 10, 10, 11))
    when = f"2024-03-{day:02d}T{chance.randrange(24):02d}:{chance.randrange(60):02d}:00"
    structure = top(bitpix=chance.choice(("16",) * 9 + ("16.0", "-32", "8", "64", "17")))
    cards = usual(kind=kind, when=when, exptime=exptime, has_sections=chance.random() < 0.8)
    for _ in range(chance.randint(1, 6)):
        _spoil(chance, structure if chance.random() < 0.15 else cards)
    content = bytearray(
        frame(pixels(seed, light=0 if kind == "bias" else 300), cards, structure=structure)
    )
    if chance.random() < 0.25:
        for _ in range(chance.choice((1, 1, 8))):
            content[chance.randrange(2880 * 2)] ^= 1 << chance.randrange(8)
    if chance.random() < 0.05:
        del content[chance.randrange(len(content)) :]
    return bytes(content)


def _spoil(chance, cards):
    """Change a list of cards in one random way."""
    place = chance.randrange(1, len(cards)) if len(cards) > 1 else 0
    keyword = chance.choice(ODD_KEYWORDS)
    sort_of_fault = chance.randrange(9)
    if sort_of_fault == 0:
        del cards[place]
    elif sort_of_fault == 1:
        cards.insert(place, cards[chance.randrange(len(cards))])
    elif sort_of_fault == 2:
        cards[place] = card(cards[place][:8].rstrip(), chance.choice(ODD_VALUES))
    elif sort_of_fault == 3:
        cards.append(card(keyword, chance.choice(ODD_VALUES)))
    elif sort_of_fault == 4:
        cards.append(card(keyword, quote(chance.choice(_WORDS)), "odd"))
    elif sort_of_fault == 5:
        number = chance.choice((chance.uniform(-1e3, 1e5), 10.0 ** chance.randint(-320, 308)))
        cards.append(card(keyword, f"{number:.6G}"))
    elif sort_of_fault == 6:
        text = "".join(chance.choices(string.printable[:95], k=chance.randrange(1, 70)))
        cards.append(card(keyword, text))
    elif sort_of_fault == 7:
        cards.append(card(keyword, quote("long text &"[: chance.randrange(1, 12)])))
        cards += [f"CONTINUE  '{'x' * 60}&'"] * chance.choice((1, 5, 40))
    else:
        cards.append("".join(chr(chance.randrange(256)) for _ in range(80)))


@dataclass
class Cost:
    """CPU seconds of each file's header and of each job, by name."""

    headers: dict = field(default_factory=dict)
    jobs: dict = field(default_factory=dict)

    @contextmanager
    def measure(self):
        """Measure headers that are read, and jobs that run, during a block."""
        read, make = row_reader.RawRowReader.read_rows, kinds_module.make

        def read_rows(reader, files):
            """Read the rows of a file, and note the CPU seconds."""
            ((file, *_),) = files
            began = time.thread_time()
            try:
                return read(reader, files)
            finally:
                self.headers[file] = time.thread_time() - began

        def make_one(context, job, *, threads=1):
            """Make a job's product, and note the CPU seconds."""
            began = time.thread_time()
            try:
                return make(context, job, threads=threads)
            finally:
                self.jobs[job.product] = time.thread_time() - began

        with (
            mock.patch.object(row_reader.RawRowReader, "read_rows", read_rows),
            mock.patch.object(kinds_module, "make", make_one),
        ):
            yield


def whole_run(raw, results, cost, **config):
    """Make all products, as the workflow does; return (records by product, last lines, context)."""
    # numpy and astropy warn of absurd numbers and cards, and go on.
    with cost.measure(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        running = begin(raw, results, {}, **config)
        try:
            done = worker.work(
                running.context, running.plan.jobs.values(), threads=1, make=kinds_module.make
            )
            lines, _ = session_end.finish(running)
        finally:
            running.lock.close()
    assert (done.unrecorded, done.full_disk) == ({}, None)
    return done.records, lines, running.context


ALLOWED_STATUSES = {OK, SET_ASIDE, ARRIVING_STATUS}
