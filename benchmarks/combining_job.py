"""`make bench`, a part: a combined bias by the workflow, beside scripts/combine.py.

Both combine the same reduced frames of LFC size into equal pixels; nothing is subtracted. Times are
those of whole commands. The workflow with nothing to do shows the time of its start.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

import measure
import numpy as np
from astropy.io import fits
from measure import MEGABYTE, ROOT, Bar, BenchmarkError

from ccdflow.simulate import simulate_biases

N_FRAMES = 120
# The bar: the workflow may take at most this many times as long as combine.py.
MOST_RATIO = 1.2
SETTINGS_OF_FEW_PRODUCTS = ("pictures={per_type: 0}", "detector={enabled: false}")
DESCRIPTIONS = {
    "combine.py": "scripts/combine.py on the reduced frames",
    "workflow": "snakemake, the frames reduced: their combined bias, its tables and pages",
    "start": "the same command, nothing left to do",
    "rebuilt": "snakemake, the combined bias alone, by name",
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """One measured run, and the largest difference of its pixels from those of combine.py, adu."""

    contender: str
    measurement: measure.Measurement
    difference: float | None

    def as_row(self):
        """Return the row of this run in the CSV table."""
        return {
            "contender": self.contender,
            "wall_s": f"{self.measurement.wall:.3f}",
            "user_s": f"{self.measurement.user:.3f}",
            "system_s": f"{self.measurement.system:.3f}",
            "peak_tree_mb": f"{self.measurement.peak_tree / MEGABYTE:.0f}",
            "largest_difference_adu": "" if self.difference is None else f"{self.difference:.3g}",
        }


def workflow_command(raw, results, *targets, more=()):
    """Return the command of a run of ccdflow; `more` are further settings."""
    return [
        *(measure.path_of_program("snakemake"), *targets, "--cores", measure.n_cores()),
        *("--config", f"raw={raw}", f"results={results}", *SETTINGS_OF_FEW_PRODUCTS, *more),
    ]


class Bench:
    """The frames of a benchmark, and the runs over them.

    Parameters
    ----------
    work : pathlib.Path
    count : int
        Number of biases.
    scale : float
        Fraction of the camera's rows and columns.
    """

    def __init__(self, work, count, scale):
        self.work, self.count = work, count
        name = f"biases-{count}" + (f"-{scale:g}" if scale != 1 else "")
        self.raw = work / name
        self.results = work / "combining_job"
        self.file_by_script = work / "combining_job.fits"
        simulate_biases(self.raw, count, scale=scale)

    def reduce(self):
        """Reduce the frames, and combine none."""
        measure.make_empty_folder(self.results)
        self._run(
            "reduce", workflow_command(self.raw, self.results, more=["bias={enabled: false}"])
        )
        if len(self.reduced_files) != self.count:
            raise BenchmarkError(f"{len(self.reduced_files)} of {self.count} frames were reduced")

    @property
    def reduced_files(self):
        """The paths of the reduced frames, sorted."""
        return sorted((self.results / "reduced").glob("*.fits"))

    @property
    def combined_file(self):
        """The path of the workflow's combined bias; None if it is not made."""
        return next(iter((self.results / "combined").glob("*/bias_*.fits")), None)

    def _run(self, name, command):
        """Return the Measurement of a command."""
        return measure.run(
            command,
            log=self.work / "logs" / f"combining_job-{name}.log",
            cwd=ROOT,
            environment=measure.environment_of_contender(),
        )

    def measure(self, contender, number):
        """Return the Result of one run; an old combined bias is deleted before."""
        if contender == "combine.py":
            self.file_by_script.unlink(missing_ok=True)
            script = ROOT / "scripts" / "combine.py"
            command = [sys.executable, script, f"out={self.file_by_script}", *self.reduced_files]
        else:
            targets = []
            if contender in ("workflow", "rebuilt") and self.combined_file is not None:
                targets = [self.combined_file] if contender == "rebuilt" else []
                self.combined_file.unlink()
            command = workflow_command(self.raw, self.results, *targets)
        measure.sync_disk()
        measure.read_into_cache(self.reduced_files)
        measurement = self._run(f"{contender}-{number}", command)
        return Result(
            contender=contender, measurement=measurement, difference=self._check(contender)
        )

    def _check(self, contender):
        """Return the largest difference from combine.py's pixels, adu; raise if it is not 0."""
        if contender == "start":
            return None
        product = self.file_by_script if contender == "combine.py" else self.combined_file
        if product is None or not product.exists():
            raise BenchmarkError(f"{contender}: no combined bias")
        difference = float(np.abs(fits.getdata(product) - fits.getdata(self.file_by_script)).max())
        # NaN is not 0 either.
        if difference != 0:
            raise BenchmarkError(f"{contender}: its pixels are up to {difference} adu off")
        return difference


def run_all(bench, repeats):
    """Run all contenders in rounds, combine.py first, and return the results."""
    bench.reduce()
    results = []
    for number in range(repeats):
        for contender in DESCRIPTIONS:
            result = bench.measure(contender, number)
            print(f"{contender:12s} {json.dumps(result.as_row())}", flush=True)
            results.append(result)
    measure.make_empty_folder(bench.results)
    return results


def runs_of(results, contender):
    """Return the measurements of a contender."""
    return [result.measurement for result in results if result.contender == contender]


def bars(results):
    """Return the bars, the figures to be reached: by wall time, and by CPU time."""
    rows = []
    for name, value in (("wall time", "wall"), ("CPU time", "cpu")):
        medians = {
            each: measure.median([getattr(one_run, value) for one_run in runs_of(results, each)])
            for each in DESCRIPTIONS
        }
        ratio = medians["workflow"] / medians["combine.py"]
        rows.append(Bar(f"workflow against combine.py, {name}", MOST_RATIO, ratio, is_least=False))
    return rows


def table(results):
    """Return the Markdown table of the runs."""
    rows = []
    for name, description in DESCRIPTIONS.items():
        runs = runs_of(results, name)
        walls, cpus = [one_run.wall for one_run in runs], [one_run.cpu for one_run in runs]
        rows.append(
            [
                *(name, description, len(runs), f"{measure.median(walls):.2f}"),
                *(f"{min(walls):.2f} to {max(walls):.2f}", f"{measure.median(cpus):.2f}"),
                f"{max(one_run.peak_tree for one_run in runs) / MEGABYTE:.0f}",
            ]
        )
    head = ["run", "what", "runs", "wall s", "from, to", "CPU s", "peak MB"]
    return measure.markdown(head, rows)


def report(results, options, work):
    """Return the page that goes to benchmarks/combining_job.md."""
    head = [
        "# A combined bias in the workflow",
        "",
        "Written by benchmarks/combining_job.py; every run is in combining_job.csv.",
        f"{options.count} reduced biases of LFC size, float32, in the page cache before each run.",
        "Whole commands, nothing subtracted, the median of the rounds; the pixels are the same.",
    ]
    return measure.page(
        head, measure.bars_table(bars(results)), table(results), work=work, programs=[]
    )


def arguments(words=None):
    """Return the options of the command line."""
    contenders = [type("Named", (), {"name": name}) for name in DESCRIPTIONS]
    parser = measure.parser(__doc__, contenders, repeats=3, slow="all run in each")
    parser.add_argument("--count", type=int, default=N_FRAMES, help="biases")
    parser.add_argument("--scale", type=float, default=1.0, help="of the camera's rows, columns")
    return parser.parse_args(words)


def run(options):
    """Measure all contenders, print the tables and write them."""
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    results = run_all(Bench(work, options.count, options.scale), options.repeats)
    measure.write(options.out, "combining_job", report(results, options, work), results)


if __name__ == "__main__":
    measure.main(run, arguments())
