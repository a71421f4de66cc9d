"""`make bench`: ccdflow beside four other ways of making reduced frames, in one run.

Each contender reduces the same simulated LFC biases by a whole command in a process of its own.
Before each run, old products are deleted, the disk is synced, and all raw frames are read once. A
run counts only if all pixels of three frames are those of a plain reduction by numpy.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import counted_sheet
import measure
import numpy as np
from astropy.io import fits
from measure import MEGABYTE, PEERS, ROOT, Bar, BenchmarkError

from ccdflow.simulate import simulate_biases

# The first overscan column of the LFC without leaked light, from 0.
FIRST_OVERSCAN = 2055
SCIENCE_COLUMNS = 2048


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way of reducing the frames.

    Attributes
    ----------
    name, description : str
        Short name and description for the table.
    command : callable
        Called with the folders of raw frames and of results; returns the command as a list.
    products : str
        Glob pattern of the reduced frames below the results.
    is_slow : bool
        Whether it runs once, and on fewer frames if an option asks for that.
    runs_twice : bool
        Whether it is run a second time, with nothing to do.
    cwd : pathlib.Path or None
        The folder in which the command runs; None for the work folder.
    is_available : callable
        Returns whether the program is installed.
    """

    name: str
    description: str
    command: Callable[[Path, Path], list[object]]
    products: str = "*.fits"
    is_slow: bool = False
    runs_twice: bool = False
    cwd: Path | None = None
    is_available: Callable[[], bool] = lambda: True


def ccdflow_command(raw, results):
    """Return the command of the project itself, as a user types it in a checkout."""
    return [
        measure.path_of_program("snakemake"),
        "--cores",
        measure.n_cores(),
        "--config",
        f"raw={raw}",
        f"results={results}",
    ]


def frames_command(raw, results):
    """Return the command for reduced frames alone, which are all that the peers make."""
    nothing_more = ["bias={enabled: false}", "pictures={per_type: 0}"]
    return [*ccdflow_command(raw, results), *nothing_more]


def sheet_command(raw, results):
    """Return the command for all products in a process that counts the contact sheet's time."""
    _, *words = ccdflow_command(raw, results)
    return [sys.executable, counted_sheet.__file__, *words]


def guide_command(raw, results):
    """Return the command of the guide's loop."""
    return [sys.executable, PEERS / "guide_loop.py", raw, results]


def one_process_command(raw, results):
    """Return the command of a Snakefile with a process for each frame."""
    return [
        measure.path_of_program("snakemake"),
        "--cores",
        measure.n_cores(),
        "--snakefile",
        PEERS / "one_process" / "Snakefile",
        "--directory",
        results,
        "--config",
        f"raw={raw}",
    ]


def iraf_command(raw, results):
    """Make the folder of the products, and return the command of IRAF."""
    out = results / "reduced"
    out.mkdir()
    scratch = results / "scratch"
    return [sys.executable, PEERS / "iraf_ccdproc.py", raw, out, scratch, measure.n_cores()]


def floor_command(raw, results):
    """Return the command of the floor."""
    return [sys.executable, PEERS / "floor.py", raw, results, measure.n_cores()]


CONTENDERS = (
    Contender(
        name="ccdflow",
        description="reduced frames, as its peers; first run",
        command=frames_command,
        products="reduced/**/*.fits",
        runs_twice=True,
        cwd=ROOT,
    ),
    Contender(
        name="ccdflow, all",
        description="also one combined bias of all, pictures, pages",
        command=ccdflow_command,
        products="reduced/**/*.fits",
        cwd=ROOT,
    ),
    Contender(
        name="ccdflow, sheet",
        description="the same as all, the contact sheet's part counted",
        command=sheet_command,
        products="reduced/**/*.fits",
        is_slow=True,
        cwd=ROOT,
    ),
    Contender(
        name="guide",
        description="the notebook's loop, 1 process",
        command=guide_command,
        is_slow=True,
    ),
    Contender(
        name="one-process",
        description="Snakemake with script:, 1 process a frame",
        command=one_process_command,
        products="reduced/*.fits",
        is_slow=True,
    ),
    Contender(
        name="iraf",
        description="pigz and IRAF ccdproc, a process a core",
        command=iraf_command,
        products="reduced/*.fits",
        is_available=lambda: measure.path_of_program("irafcl") is not None,
    ),
    Contender(
        name="floor",
        description="bytes and arithmetic alone, a thread a core",
        command=floor_command,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Result:
    """One measured run of one contender on `frames` frames.

    `sync_seconds` is the time of a sync after it, `n_bytes` the size of its reduced frames.
    """

    contender: str
    frames: int
    measurement: measure.Measurement
    sync_seconds: float
    n_bytes: int

    @property
    def wall_per_frame(self):
        """Wall time of a frame, seconds."""
        return self.measurement.wall / self.frames

    def as_row(self):
        """Return the row of this run in the CSV table."""
        return {
            "contender": self.contender,
            "frames": self.frames,
            "wall_s": f"{self.measurement.wall:.3f}",
            "wall_s_per_frame": f"{self.wall_per_frame:.5f}",
            "user_s": f"{self.measurement.user:.3f}",
            "system_s": f"{self.measurement.system:.3f}",
            "peak_tree_mb": f"{self.measurement.peak_tree / MEGABYTE:.0f}",
            "peak_main_mb": f"{self.measurement.peak_main / MEGABYTE:.0f}",
            "sync_after_s": f"{self.sync_seconds:.3f}",
            "written_mb": f"{self.n_bytes / MEGABYTE:.0f}",
        }


def numpy_reduction(path):
    """Return the reduced frame of a raw file, float32, by the guide's arithmetic in plain numpy."""
    raw = fits.getdata(path).astype(np.float64)
    level = np.median(raw[:, FIRST_OVERSCAN:], axis=1)
    return (raw - level[:, np.newaxis])[:, :SCIENCE_COLUMNS].astype(np.float32)


def check_products(frames, products):
    """Raise unless each frame has a product, and all pixels of three products are right."""
    products_by_name = {path.name: path for path in products}
    names = [path.name.removesuffix(".gz") for path in frames]
    if sorted(products_by_name) != sorted(names):
        raise BenchmarkError(
            f"{len(names)} frames, but {len(products_by_name)} products: "
            f"{sorted(products_by_name)[:3]}"
        )
    for i in sorted({0, len(names) // 2, len(names) - 1}):
        with fits.open(products_by_name[names[i]]) as hdus:
            data = next(hdu.data for hdu in hdus if hdu.data is not None)
            if not np.array_equal(data.astype(np.float32), numpy_reduction(frames[i])):
                raise BenchmarkError(
                    f"{products_by_name[names[i]]} differs from the frame that numpy reduces"
                )


def measure_contender(contender, frames, work, *, number):
    """Run one contender on a list of frames and check its products.

    Returns
    -------
    list of Result
        The run, and a second one with nothing to do if the contender runs twice.
    """
    raw = link_frames(frames, work / "raw")
    results = measure.make_empty_folder(work / "results")
    command = contender.command(raw, results)
    measure.sync_disk()
    measure.read_into_cache(frames)
    log = work / "logs" / f"{contender.name}-{number}.log"
    options = {"cwd": contender.cwd or work, "environment": measure.environment_of_contender()}
    first = measure.run(command, log=log, **options)
    sync_seconds = measure.sync_disk()
    products = sorted(results.glob(contender.products))
    check_products(frames, products)
    n_bytes = sum(path.stat().st_size for path in products)
    runs = [
        Result(
            contender=contender.name,
            frames=len(frames),
            measurement=first,
            sync_seconds=sync_seconds,
            n_bytes=n_bytes,
        )
    ]
    if contender.runs_twice:
        before = {path: path.stat().st_mtime_ns for path in products}
        second = measure.run(command, log=log.with_suffix(".again.log"), **options)
        if {path: path.stat().st_mtime_ns for path in products} != before:
            raise BenchmarkError(f"{contender.name} made frames again that were there")
        runs.append(
            Result(
                contender=f"{contender.name}, again",
                frames=len(frames),
                measurement=second,
                sync_seconds=0.0,
                n_bytes=0,
            )
        )
    measure.make_empty_folder(results)
    measure.make_empty_folder(raw)
    return runs


def link_frames(frames, folder):
    """Make and return a raw folder of links to some frames.

    Links are symbolic: a hard link would renew the time of the file's change. ccdflow reads a file
    with a time of the last two minutes once more, as it may be incomplete, which would cost time.
    """
    folder = measure.make_empty_folder(folder)
    for path in frames:
        (folder / path.name).symlink_to(path)
    return folder


def run_all(frames, work, *, repeats, slow_frames, only):
    """Run all contenders in rounds, so that a change of the machine's speed affects all of them.

    Slow ones run in the first round only.
    """
    results = []
    for number in range(repeats):
        for contender in CONTENDERS:
            if only and contender.name not in only:
                continue
            if not contender.is_available():
                print(f"{contender.name}: not installed, left out")
                continue
            if contender.is_slow and number:
                continue
            frames_to_reduce = frames[:slow_frames] if contender.is_slow and slow_frames else frames
            for result in measure_contender(contender, frames_to_reduce, work, number=number):
                print(f"{result.contender:15s} {json.dumps(result.as_row())}", flush=True)
                results.append(result)
    return results


def sheet_percent(one_run, frames_alone):
    """Return the contact sheet's CPU time per frame, in percent of that of a reduced frame."""
    seconds = (
        None if one_run is None else counted_sheet.seconds_in(one_run.measurement.log.read_text())
    )
    if seconds is None:
        return None
    return 100 * (seconds / one_run.frames) / (frames_alone.measurement.cpu / frames_alone.frames)


def bars(runs):
    """Return the bars, the figures to be reached, by the wall time per frame."""
    ours = runs.get("ccdflow")

    def ratio(name):
        """Return a contender's wall time per frame over ccdflow's; None without both runs."""
        if ours is None or name not in runs:
            return None
        return runs[name].wall_per_frame / ours.wall_per_frame

    floor = ratio("floor")
    sheet = None if ours is None else sheet_percent(runs.get("ccdflow, sheet"), ours)
    memory = None if ours is None else ours.measurement.peak_tree / MEGABYTE
    return [
        Bar("faster than the guide's loop", 5, ratio("guide")),
        Bar("faster than one process a frame", 10, ratio("one-process")),
        Bar("faster than IRAF with pigz", 2, ratio("iraf")),
        Bar("time of the floor", 1.9, None if floor is None else 1 / floor, is_least=False),
        Bar("everything beside the frames alone", 1.5, ratio("ccdflow, all"), is_least=False),
        Bar("contact sheet, of the frames' CPU time", 3, sheet, is_least=False, unit="%"),
        Bar("peak memory", 1000, memory, is_least=False, unit="MB"),
    ]


def table(results, runs):
    """Return the Markdown table of the contenders; wall times have their range over the runs."""
    ours = runs.get("ccdflow")
    descriptions = {contender.name: contender.description for contender in CONTENDERS}
    head = ["contender", "what", "frames", "runs", "wall s", "s a frame", "of ccdflow's"]
    head += ["user s", "system s", "peak MB, tree", "peak MB, main", "sync after s"]
    rows = []
    for name, one_run in runs.items():
        walls = [result.measurement.wall for result in results if result.contender == name]
        spread = f" ({min(walls):.1f} to {max(walls):.1f})" if len(walls) > 1 else ""
        relative = "" if ours is None else f"{one_run.wall_per_frame / ours.wall_per_frame:.2f}"
        rows.append(
            [
                name,
                descriptions.get(name, "a second run, nothing to do"),
                one_run.frames,
                len(walls),
                f"{one_run.measurement.wall:.1f}{spread}",
                f"{one_run.wall_per_frame:.4f}",
                relative,
                f"{one_run.measurement.user:.1f}",
                f"{one_run.measurement.system:.1f}",
                f"{one_run.measurement.peak_tree / MEGABYTE:.0f}",
                f"{one_run.measurement.peak_main / MEGABYTE:.0f}",
                f"{one_run.sync_seconds:.1f}",
            ]
        )
    return measure.markdown(head, rows)


def report(results, frames, work):
    """Return the page that goes to benchmarks/frames.md."""
    runs = measure.median_runs(results)
    programs = [("pigz", ["pigz", "--version"]), ("iraf", measure.iraf_version())]
    size = frames[0].stat().st_size / MEGABYTE
    partial_runs = [one_run for one_run in runs.values() if one_run.frames != len(frames)]
    note = "".join(
        f"{one_run.contender} was run on {one_run.frames} of the {len(frames)} frames: its ratios"
        " are by the time a frame, start-up included.\n"
        for one_run in partial_runs
    )
    head = [
        f"# {len(frames)} LFC-size frames",
        "",
        "Written by `make bench` (benchmarks/frames.py); every run is in frames.csv.",
        f"2080 x 4128, uint16, gzip, {size:.1f} MB each; in the page cache before each run. "
        "Times are wall times of whole commands, the median run where there are several.",
        note,
    ]
    return measure.page(
        head,
        measure.bars_table(bars(runs)),
        table(results, runs),
        work=work,
        programs=programs,
    )


def arguments():
    """Return the options of the command line."""
    parser = measure.parser(__doc__, CONTENDERS, repeats=3, slow="slow contenders run once")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument(
        "--slow-frames", type=int, help="give the guide's loop and one-process only so many"
    )
    return parser.parse_args()


def run(options):
    """Measure the contenders that the options name, print the tables and write them."""
    work = options.work.resolve()
    folder = work / f"frames-{options.frames}"
    simulate_biases(folder, options.frames)
    frames = sorted(folder.glob("*.fits.gz"))
    results = run_all(
        frames,
        work,
        repeats=options.repeats,
        slow_frames=options.slow_frames,
        only=options.only,
    )
    text = report(results, frames, work)
    measure.write(options.out, "frames", text, results)


if __name__ == "__main__":
    measure.main(run, arguments())
