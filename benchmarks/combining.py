"""`make bench`, second part: the combined bias, beside ccdproc, IRAF and Siril.

Whole commands run on the same LFC-size reduced biases (float32). The frames are made once, and read
once before each command. Each product is compared with that of ccdproc.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import measure
import numpy as np
from astropy.io import fits
from measure import MEGABYTE, PEERS, ROOT, Bar, BenchmarkError

from ccdflow.simulate import simulate_biases

FRAME_COUNTS = (12, 50)
N_FRAMES_FOR_MEMORY = 100
# Siril reads pixels as fractions of full scale, and cuts values outside 0 to 1.
SIRIL_OFFSET, SIRIL_SCALE = 1000, 65535
# Contenders whose pixels must all agree with ccdproc's. IRAF and Siril clip by the standard
# deviation: some of their pixels differ, and the median pixel agrees.
EXACT_CONTENDERS = ("ccdflow", "ccdproc")
# A larger median difference from ccdproc's pixels, adu, ends the benchmark.
MOST_MEDIAN_DIFFERENCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way of combining: the command for a folder of frames, and the file of its product."""

    name: str
    description: str
    command: Callable[[Path], list[object]]
    product: str
    is_slow: bool = False
    is_available: Callable[[], bool] = lambda: True


def ccdflow_command(folder):
    """Return the command of scripts/combine.py."""
    return [
        sys.executable,
        ROOT / "scripts" / "combine.py",
        f"out={folder / 'ccdflow.fits'}",
        *sorted(folder.glob("red*.fits")),
    ]


def ccdproc_command(folder):
    """Return the command of ccdproc.combine, called as in the guide."""
    return [sys.executable, PEERS / "ccdproc_combine.py", folder, folder / "ccdproc.fits"]


def iraf_command(folder):
    """Return the command of IRAF's combine."""
    return ["irafcl", "-f", PEERS / "iraf_combine.cl"]


def siril_command(folder):
    """Return the command of Siril's stack."""
    return ["siril-cli", "-d", folder, "-s", PEERS / "siril_stack.ssf"]


CONTENDERS = (
    Contender(
        name="ccdproc",
        description="ccdproc.combine with the guide's arguments",
        command=ccdproc_command,
        product="ccdproc.fits",
        is_slow=True,
    ),
    Contender(
        name="iraf",
        description="IRAF combine, sigclip",
        command=iraf_command,
        product="mbias.fits",
        is_available=lambda: measure.path_of_program("irafcl") is not None,
    ),
    Contender(
        name="siril",
        description="Siril stack, 5 sigma, 2 threads; frames scaled to 0..1 beforehand",
        command=siril_command,
        product="master.fit",
        is_available=lambda: measure.path_of_program("siril-cli") is not None,
    ),
    Contender(
        name="ccdflow",
        description="scripts/combine.py",
        command=ccdflow_command,
        product="ccdflow.fits",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The differences of a product from that of ccdproc.

    `largest` and `median` are in adu. `largest_eps` is the largest difference in units of the
    float32 rounding: epsilon times the largest absolute value among the members of the pixel.
    `identical` is the fraction of pixels that are equal after the cast to float32.
    """

    largest: float
    median: float
    largest_eps: float
    identical: float


@dataclass(frozen=True, kw_only=True)
class Result:
    """One measured combination of `frames` frames."""

    contender: str
    frames: int
    measurement: measure.Measurement
    agreement: Agreement | None

    def as_row(self):
        """Return the row of this run in the CSV table."""
        row = {
            "contender": self.contender,
            "frames": self.frames,
            "wall_s": f"{self.measurement.wall:.3f}",
            "user_s": f"{self.measurement.user:.3f}",
            "system_s": f"{self.measurement.system:.3f}",
            "peak_tree_mb": f"{self.measurement.peak_tree / MEGABYTE:.0f}",
            "largest_difference_adu": "",
            "median_difference_adu": "",
            "largest_difference_eps": "",
            "identical_share": "",
        }
        if self.agreement is not None:
            row["largest_difference_adu"] = f"{self.agreement.largest:.3g}"
            row["median_difference_adu"] = f"{self.agreement.median:.3g}"
            row["largest_difference_eps"] = f"{self.agreement.largest_eps:.3g}"
            row["identical_share"] = f"{self.agreement.identical:.6f}"
        return row


def make_members(work, count):
    """Simulate LFC biases and reduce them; return the paths of the reduced frames, in order."""
    raw = work / f"biases-{count}"
    simulate_biases(raw, count)
    reduced = work / f"biases-{count}-reduced"
    files = sorted(reduced.glob("*.fits"))
    if len(files) != count:
        measure.make_empty_folder(reduced)
        command = [sys.executable, PEERS / "floor.py", raw, reduced, measure.n_cores()]
        measure.run(command, log=work / "logs" / "members.log")
        files = sorted(reduced.glob("*.fits"))
    return files


def link_members(members, folder, *, has_siril):
    """Make a folder with the members under the names that each contender needs, and return it."""
    measure.make_empty_folder(folder)
    (folder / "home").mkdir()
    for number, path in enumerate(members, start=1):
        (folder / f"red{number:04d}.fits").hardlink_to(path)
        if has_siril:
            data = (fits.getdata(path) + np.float32(SIRIL_OFFSET)) / np.float32(SIRIL_SCALE)
            fits.writeto(folder / f"b_{number:05d}.fit", data.astype(np.float32))
    return folder


def pixels(path, contender):
    """Return the pixels of a contender's product: adu, float64, shape (ny, nx)."""
    data = fits.getdata(path).astype(np.float64)
    return data * SIRIL_SCALE - SIRIL_OFFSET if contender == "siril" else data


def largest_values(members):
    """Return the largest absolute value among the members of each pixel, adu."""
    largest = np.zeros(fits.getdata(members[0]).shape, dtype=np.float32)
    for path in members:
        np.maximum(largest, np.abs(fits.getdata(path)), out=largest)
    return largest


def compare(values, reference, largest):
    """Return the `Agreement` of values with ccdproc's, all of shape (ny, nx)."""
    difference = np.abs(values - reference)
    unit = np.finfo(np.float32).eps * np.maximum(largest, np.finfo(np.float32).tiny)
    return Agreement(
        largest=float(difference.max()),
        median=float(np.median(difference)),
        largest_eps=float((difference / unit).max()),
        identical=float(np.mean(values.astype(np.float32) == reference.astype(np.float32))),
    )


def check_agreement(result):
    """Raise if the differences of a contender are too large for these frames, or no numbers."""
    agreement = result.agreement
    limit = 1.0 if result.contender in EXACT_CONTENDERS else np.inf
    if not (agreement.median <= MOST_MEDIAN_DIFFERENCE and agreement.largest_eps <= limit):
        raise BenchmarkError(f"{result.contender} of {result.frames} frames: {agreement}")


def measure_contender(contender, members, folder, work, *, number, reference):
    """Run one contender in a folder of members, and return its Result.

    `reference` is None, or the pixels of ccdproc and the `largest_values` of the members.
    """
    product = folder / contender.product
    for old_file in (product, *folder.glob("*.seq")):
        old_file.unlink(missing_ok=True)
    measure.sync_disk()
    measure.read_into_cache([*folder.glob("red*.fits"), *folder.glob("b_*.fit")])
    measurement = measure.run(
        contender.command(folder),
        log=work / "logs" / f"combining-{contender.name}-{len(members)}-{number}.log",
        cwd=folder,
        # IRAF keeps its parameter files, and Siril its settings, in a home.
        environment={**measure.environment_of_contender(), "HOME": str(folder / "home")},
    )
    agreement = None
    if reference is not None:
        agreement = compare(pixels(product, contender.name), *reference)
    result = Result(
        contender=contender.name, frames=len(members), measurement=measurement, agreement=agreement
    )
    if agreement is not None:
        check_agreement(result)
    return result


def run_count(members, work, *, repeats, contenders):
    """Run contenders in rounds on the same members; slow ones run in the first round only."""
    has_siril = any(contender.name == "siril" for contender in contenders)
    folder = link_members(members, work / "combining", has_siril=has_siril)
    results, reference = [], None
    for number in range(repeats):
        for contender in contenders:
            if contender.is_slow and number:
                continue
            result = measure_contender(
                contender, members, folder, work, number=number, reference=reference
            )
            if contender.name == "ccdproc":
                reference = (
                    pixels(folder / contender.product, contender.name),
                    largest_values(members),
                )
            print(f"{result.contender:10s} {json.dumps(result.as_row())}", flush=True)
            results.append(result)
    measure.make_empty_folder(folder)
    return results


def run_all(work, *, counts, memory_count, repeats, only):
    """Run all contenders for each number of frames, and ccdflow on many frames for its memory."""
    contenders = []
    for contender in CONTENDERS:
        if only and contender.name not in only:
            continue
        if contender.is_available():
            contenders.append(contender)
        else:
            print(f"{contender.name}: not installed, left out")
    members = make_members(work, max([*counts, memory_count]))
    results = []
    for count in counts:
        results += run_count(members[:count], work, repeats=repeats, contenders=contenders)
    ours = [contender for contender in contenders if contender.name == "ccdflow"]
    if memory_count and ours:
        results += run_count(members[:memory_count], work, repeats=1, contenders=ours)
    return results


def bars(runs, counts, memory_count):
    """Return the bars, the figures to be reached."""
    rows = []
    for count in counts:
        ours = runs.get((count, "ccdflow"))
        for name, text, limit in (
            ("ccdproc", "faster than ccdproc.combine", 6),
            ("iraf", "faster than IRAF combine", 2),
            ("siril", "ahead of Siril", 1),
        ):
            other = runs.get((count, name))
            ratio = None
            if ours is not None and other is not None:
                ratio = other.measurement.wall / ours.measurement.wall
            rows.append(Bar(f"{count} frames: {text}", limit, ratio))
        eps = None if ours is None or ours.agreement is None else ours.agreement.largest_eps
        text = f"{count} frames: largest difference from ccdproc"
        rows.append(Bar(text, 1, eps, is_least=False, unit="float32 eps of the largest member"))
    many_run = runs.get((memory_count, "ccdflow"))
    peak = None if many_run is None else many_run.measurement.peak_tree / MEGABYTE
    rows.append(Bar(f"peak memory, {memory_count} frames", 1000, peak, is_least=False, unit="MB"))
    return rows


def table(results, runs):
    """Return the Markdown table of the contenders."""
    descriptions = {contender.name: contender.description for contender in CONTENDERS}
    head = ["frames", "contender", "what", "runs", "wall s", "of ccdflow's", "user s", "system s"]
    head += ["peak MB", "identical to ccdproc's", "largest difference, adu", "in eps"]
    rows = []
    for (count, name), one_run in runs.items():
        walls = [r.measurement.wall for r in results if (r.frames, r.contender) == (count, name)]
        spread = f" ({min(walls):.2f} to {max(walls):.2f})" if len(walls) > 1 else ""
        ours = runs.get((count, "ccdflow"))
        relative = "" if ours is None else f"{one_run.measurement.wall / ours.measurement.wall:.2f}"
        agreement = ["", "", ""]
        if one_run.agreement is not None:
            agreement = [
                f"{100 * one_run.agreement.identical:.2f} %",
                f"{one_run.agreement.largest:.2g}",
                f"{one_run.agreement.largest_eps:.2g}",
            ]
        rows.append(
            [
                count,
                name,
                descriptions[name],
                len(walls),
                f"{one_run.measurement.wall:.2f}{spread}",
                relative,
                f"{one_run.measurement.user:.2f}",
                f"{one_run.measurement.system:.2f}",
                f"{one_run.measurement.peak_tree / MEGABYTE:.0f}",
                *agreement,
            ]
        )
    return measure.markdown(head, rows)


EXPLANATION = """\
eps: the largest difference from ccdproc's value, in units of the float32 epsilon times the largest
member of the pixel. IRAF and Siril clip by the standard deviation, which the outlier itself makes
larger: with few frames nothing can lie 5 sigma off, so they keep values that the MAD rejects, and
differ there. Siril gives a different number format (fractions of 65535), hence no identical pixel.
Siril's and IRAF's medians over all pixels agree with ccdproc's to 0.001 adu, or the run stops."""


def report(results, options, work):
    """Return the page that goes to benchmarks/combining.md."""
    runs = measure.median_runs(results, key=lambda one_run: (one_run.frames, one_run.contender))
    programs = [
        ("iraf", measure.iraf_version()),
        ("siril", ["siril-cli", "--version"]),
    ]
    head = [
        "# Combining LFC-size biases",
        "",
        "Written by `make bench` (benchmarks/combining.py); every run is in combining.csv.",
        "2048 x 4128, float32, in the page cache before each run. Times are wall times of",
        "whole commands, the median run where there are several.",
    ]
    return measure.page(
        head,
        measure.bars_table(bars(runs, options.counts, options.memory_count)),
        table(results, runs),
        EXPLANATION,
        work=work,
        programs=programs,
    )


def arguments():
    """Return the options of the command line."""
    parser = measure.parser(__doc__, CONTENDERS, repeats=3, slow="ccdproc runs once")
    parser.add_argument("--counts", type=int, nargs="+", default=FRAME_COUNTS)
    parser.add_argument("--memory-count", type=int, default=N_FRAMES_FOR_MEMORY, help="0: left out")
    return parser.parse_args()


def run(options):
    """Measure the contenders that the options name, print the tables and write them."""
    work = options.work.resolve()
    results = run_all(
        work,
        counts=options.counts,
        memory_count=options.memory_count,
        repeats=options.repeats,
        only=options.only,
    )
    text = report(results, options, work)
    measure.write(options.out, "combining", text, results)


if __name__ == "__main__":
    measure.main(run, arguments())
