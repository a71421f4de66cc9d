"""`make bench`, a part: a combined bias by the workflow, beside scripts/combine.py.

Both combine the same reduced frames of LFC size into the same pixels. Whole commands, nothing
subtracted; the same workflow with nothing to do shows what its start takes.
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

COUNT = 120
MOST_RATIO = 1.2
FEWEST_PRODUCTS = ("pictures={per_type: 0}", "detector={enabled: false}")
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
        *(measure.tool("snakemake"), *targets, "--cores", measure.threads()),
        *("--config", f"raw={raw}", f"results={results}", *FEWEST_PRODUCTS, *more),
    ]


class Bench:
    """The frames of a benchmark, and the runs over them.

    Parameters
    ----------
    work : pathlib.Path
    count : int
        Biases.
    scale : float
        Their rows and columns as a fraction of the camera's.
    """

    def __init__(self, work, count, scale):
        self.work, self.count = work, count
        name = f"biases-{count}" + (f"-{scale:g}" if scale != 1 else "")
        self.raw = work / name
        self.results = work / "combining_job"
        self.by_hand = work / "combining_job.fits"
        simulate_biases(self.raw, count, scale=scale)

    def reduce(self):
        """Reduce the frames, and combine none."""
        measure.empty(self.results)
        self._run(
            "reduce", workflow_command(self.raw, self.results, more=["bias={enabled: false}"])
        )
        if len(self.reduced_files) != self.count:
            raise BenchmarkError(f"{len(self.reduced_files)} of {self.count} frames were reduced")

    @property
    def reduced_files(self):
        return sorted((self.results / "reduced").glob("*.fits"))

    @property
    def combined_file(self):
        """The combined bias of the workflow: one file, or none yet."""
        return next(iter((self.results / "combined").glob("*/bias_*.fits")), None)

    def _run(self, name, command):
        return measure.run(
            command,
            log=self.work / "logs" / f"combining_job-{name}.log",
            cwd=ROOT,
            environment=measure.with_environment(),
        )

    def measure(self, contender, number):
        """Measure one run; the workflow's combined bias is deleted before it is to be made."""
        if contender == "combine.py":
            self.by_hand.unlink(missing_ok=True)
            script = ROOT / "scripts" / "combine.py"
            command = [sys.executable, script, f"out={self.by_hand}", *self.reduced_files]
        else:
            targets = []
            if contender in ("workflow", "rebuilt") and self.combined_file is not None:
                targets = [self.combined_file] if contender == "rebuilt" else []
                self.combined_file.unlink()
            command = workflow_command(self.raw, self.results, *targets)
        measure.settle()
        measure.warm(self.reduced_files)
        measurement = self._run(f"{contender}-{number}", command)
        return Result(
            contender=contender, measurement=measurement, difference=self._check(contender)
        )

    def _check(self, contender):
        """Return the largest difference from the pixels of combine.py."""
        if contender == "start":
            return None
        made = self.by_hand if contender == "combine.py" else self.combined_file
        if made is None or not made.exists():
            raise BenchmarkError(f"{contender}: no combined bias")
        difference = float(np.abs(fits.getdata(made) - fits.getdata(self.by_hand)).max())
        if difference > 0:
            raise BenchmarkError(f"{contender}: its pixels are up to {difference} adu off")
        return difference


def run_all(bench, repeats):
    """Run all in rounds, combine.py first."""
    bench.reduce()
    results = []
    for number in range(repeats):
        for contender in DESCRIPTIONS:
            result = bench.measure(contender, number)
            print(f"{contender:12s} {json.dumps(result.as_row())}", flush=True)
            results.append(result)
    measure.empty(bench.results)
    return results


def runs_of(results, contender):
    """Return the runs of a contender."""
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


def arguments(given=None):
    contenders = [type("Named", (), {"name": name}) for name in DESCRIPTIONS]
    parser = measure.parser(__doc__, contenders, repeats=3, slow="all run in each")
    parser.add_argument("--count", type=int, default=COUNT, help="biases")
    parser.add_argument("--scale", type=float, default=1.0, help="of the camera's rows, columns")
    return parser.parse_args(given)


def run(options):
    """Measure all, print the tables and write them."""
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    results = run_all(Bench(work, options.count, options.scale), options.repeats)
    measure.write(options.out, "combining_job", report(results, options, work), results)


if __name__ == "__main__":
    measure.main(run, arguments())
