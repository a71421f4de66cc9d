"""`make bench-scale`: the time and memory of runs in archives of many nights with tiny frames.

In archives of 10 and 100 nights of 100 frames, these runs are measured: the first run, a run with
nothing to do, one late frame, one new night, and this night alone in another archive. Frames are
96 x 48, so that the bookkeeping takes nearly all the time.

Two runs have nothing to do: one plans, and one uses the seal of the first. The floor calls
`scandir` and `stat` for all files in Python.

In an archive of 1,000 nights only `snakemake -n` is measured: inventory and plan of 100,000 new
frames. `grown.py` measures 100,000 and a million reduced frames. In 10,000 nights only the run with
nothing to do is measured here (`million`).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import measure
import million
from measure import MEGABYTE, ROOT, Bar, BenchmarkError

from ccdflow.simulate import simulate_archive

FRAMES_PER_NIGHT = 100
# The name of a step, and the words that such a run prints.
IDLE = "nothing to do"
DRY_RUN = "dry run"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One measured run on `frames` frames, of which it reduced `n_made`.

    `nights` is the number of nights in the archive at first.
    """

    name: str
    nights: int
    frames: int
    n_made: int
    measurement: measure.Measurement

    def as_row(self):
        """Return the row of this run in the CSV table."""
        return {
            "nights": self.nights,
            "step": self.name,
            "frames": self.frames,
            "made": self.n_made,
            "wall_s": f"{self.measurement.wall:.3f}",
            "wall_ms_per_frame_made": f"{1e3 * self.measurement.wall / self.n_made:.3f}"
            if self.n_made
            else "",
            "user_s": f"{self.measurement.user:.3f}",
            "system_s": f"{self.measurement.system:.3f}",
            "peak_main_mb": f"{self.measurement.peak_main / MEGABYTE:.0f}",
            "peak_tree_mb": f"{self.measurement.peak_tree / MEGABYTE:.0f}",
        }


class Archive:
    """A raw folder of hard links to simulated frames, and the results of its runs."""

    def __init__(self, source, folder, *, nights):
        self.nights = nights
        self.source = source
        self.raw = measure.make_empty_folder(folder / "raw")
        self.results = measure.make_empty_folder(folder / "results")
        self.logs = folder.parent / "logs"
        self.reduced_before = {}
        self.steps = []

    def add_night(self, night, *, without=()):
        """Link the frames of a night of the source into the raw folder, without some names."""
        (self.raw / night).mkdir(exist_ok=True)
        for path in sorted((self.source / night).glob("*.fits.gz")):
            if path.name not in without:
                self.add_frame(night, path.name)

    def add_frame(self, night, name):
        """Link a frame of the source into the raw folder."""
        (self.raw / night / name).hardlink_to(self.source / night / name)

    def n_frames(self):
        """Return the number of raw frames."""
        return sum(1 for _ in self.raw.glob("*/*.fits.gz"))

    def reduced_times(self):
        """Return {path: time of modification, ns} of all reduced frames."""
        return {path: path.stat().st_mtime_ns for path in self.results.glob("reduced/*/*.fits")}

    def run(self, name, *, n_made):
        """Run ccdflow on the archive, and raise unless it reduced the expected number of frames.

        Parameters
        ----------
        name : str
            Name of the step.
        n_made : int
            Number of frames to be reduced in this run.

        Returns
        -------
        Step
        """
        measure.sync_disk()
        log = self.logs / f"scale-{self.n_frames()}-{name}.log"
        measurement = run_ccdflow(self.raw, self.results, log=log)
        # A run may make pages and pictures without reduced frames.
        if name.startswith(IDLE) and f"ccdflow: {IDLE}" not in log.read_text():
            raise BenchmarkError(f"{name}: the run made products: {log}")
        reduced = self.reduced_times()
        reduced_now = [
            path for path, time in reduced.items() if self.reduced_before.get(path) != time
        ]
        if len(reduced_now) != n_made or len(reduced) != self.n_frames():
            raise BenchmarkError(
                f"{name}: {len(reduced_now)} frames reduced instead of {n_made}, "
                f"{len(reduced)} there of {self.n_frames()}"
            )
        self.reduced_before = reduced
        step = Step(
            name=name,
            nights=self.nights,
            frames=self.n_frames(),
            n_made=n_made,
            measurement=measurement,
        )
        print(f"{self.n_frames():7d} {name:17s} {json.dumps(step.as_row())}", flush=True)
        self.steps.append(step)
        return step

    def add_floor(self):
        """Add the step that reads only names and times of all files."""
        measurement = million.floor(self.raw, self.results, log=self.logs / "scale-floor.log")
        step = Step(
            name="floor: scandir, stat", nights=self.nights, frames=self.n_frames(), n_made=0,
            measurement=measurement,
        )  # fmt: skip
        print(f"{step.frames:7d} {step.name:17s} {json.dumps(step.as_row())}", flush=True)
        self.steps.append(step)


def steps_of_simulated_notes(work, nights):
    """Return the steps of an archive with simulated bookkeeping: `million.sealed_archive`."""
    frames = nights * FRAMES_PER_NIGHT
    measurements = million.sealed_archive(work / "scale", nights, run_ccdflow, work / "logs")
    names = (IDLE, "floor: scandir, stat")
    steps = [
        Step(name=name, nights=nights, frames=frames, n_made=0, measurement=measurement)
        for name, measurement in zip(names, measurements, strict=True)
    ]
    for step in steps:
        print(f"{frames:7d} {step.name:17s} {json.dumps(step.as_row())}", flush=True)
    return steps


def run_ccdflow(raw, results, *, log, options=()):
    """Run Snakemake on a folder, and return the Measurement."""
    command = [
        measure.path_of_program("snakemake"),
        "--cores",
        measure.n_cores(),
        *options,
        "--config",
        f"raw={raw}",
        f"results={results}",
        # No file counts as young, although each archive is made just before.
        "limits={settle: 0}",
    ]
    return measure.run(command, log=log, cwd=ROOT, environment=measure.environment_of_contender())


def simulated_archive(work, nights):
    """Return the folder of a simulated archive, and the names of its nights in order."""
    source = work / "archive"
    simulate_archive(source, nights=nights, frames_per_night=FRAMES_PER_NIGHT)
    names = sorted(path.name for path in source.iterdir() if path.is_dir())
    return source, names[:nights]


def archive_steps(work, nights):
    """Return the steps of the events in an archive with this number of nights."""
    source, names = simulated_archive(work, nights + 1)
    *old_nights, new_night = names
    archive_of_night = Archive(source, work / "scale-alone", nights=nights)
    archive_of_night.add_night(new_night)
    archive_of_night.run("that night alone", n_made=FRAMES_PER_NIGHT)
    archive = Archive(source, work / "scale", nights=nights)
    late_night = old_nights[len(old_nights) // 2]
    late_frame = sorted((source / late_night).glob("*.fits.gz"))[-1].name
    for night in old_nights:
        archive.add_night(night, without=(late_frame,) if night == late_night else ())
    archive.run("first run", n_made=nights * FRAMES_PER_NIGHT - 1)
    archive.run(f"{IDLE}, planned", n_made=0)
    archive.run(IDLE, n_made=0)
    archive.add_floor()
    archive.add_frame(late_night, late_frame)
    archive.run("one late frame", n_made=1)
    archive.add_night(new_night)
    archive.run("one new night", n_made=FRAMES_PER_NIGHT)
    measure.make_empty_folder(work / "scale")
    measure.make_empty_folder(work / "scale-alone")
    return archive.steps + archive_of_night.steps


def dry_run_steps(work, nights):
    """Return the steps of a new archive: `snakemake -n`, which reads no pixel, and the floor."""
    source, names = simulated_archive(work, nights)
    archive = Archive(source, work / "scale", nights=nights)
    for night in names:
        archive.add_night(night)
    log = archive.logs / f"scale-{archive.n_frames()}-dry run.log"
    measurement = run_ccdflow(
        archive.raw, archive.results, log=log, options=("--dry-run", "--quiet")
    )
    if archive.reduced_times():
        raise BenchmarkError("the dry run reduced frames")
    step = Step(
        name=DRY_RUN,
        nights=archive.nights,
        frames=archive.n_frames(),
        n_made=0,
        measurement=measurement,
    )
    print(f"{step.frames:7d} {step.name:17s} {json.dumps(step.as_row())}", flush=True)
    archive.steps.append(step)
    archive.add_floor()
    measure.make_empty_folder(work / "scale")
    return archive.steps


def find_step(steps, name, nights):
    """Return the step with this name and number of nights, or None."""
    return next((step for step in steps if (step.name, step.nights) == (name, nights)), None)


def ratio(numerator, denominator):
    """Return the ratio of two numbers; None if one is None."""
    return None if numerator is None or denominator is None else numerator / denominator


def seconds_per_frame(step):
    """Return the wall time of a step per reduced frame, seconds; None without a step."""
    return None if step is None else step.measurement.wall / step.n_made


def wall_seconds(step):
    """Return the wall time of a step, seconds; None without a step."""
    return None if step is None else step.measurement.wall


def sealed_bars(steps):
    """Return the bars of runs with nothing to do: seconds, memory, and seconds over the floor's."""
    rows = []
    for frames, seconds, memory in ((100_000, 3, 250), (1_000_000, 18, 1000)):
        nights = frames // FRAMES_PER_NIGHT
        step = find_step(steps, IDLE, nights)
        floor_step = find_step(steps, "floor: scandir, stat", nights)
        name, peak = f"nothing to do, {frames:,}", step and step.measurement.peak_main / MEGABYTE
        rows += [
            Bar(name, seconds, wall_seconds(step), is_least=False, unit="s"),
            Bar(f"{name}, memory", memory, peak, is_least=False, unit="MB"),
            Bar(
                f"{name}, over the floor",
                3,
                ratio(wall_seconds(step), wall_seconds(floor_step)),
                is_least=False,
            ),
        ]
    return rows


def bars(steps, *, nights, few_nights, many_nights):
    """Return the bars, the figures to be reached, for archives of three numbers of nights."""
    large, small, huge = (count * FRAMES_PER_NIGHT for count in (nights, few_nights, many_nights))
    night_alone = find_step(steps, "that night alone", nights)
    allowed_seconds = 3 + 1.2 * wall_seconds(night_alone) if night_alone else 3
    peaks = [step.measurement.peak_main for step in steps if step.nights == many_nights]
    return [
        Bar(
            f"cost a frame at {large:,} over that at {small:,}",
            1.2,
            ratio(
                seconds_per_frame(find_step(steps, "first run", nights)),
                seconds_per_frame(find_step(steps, "first run", few_nights)),
            ),
            is_least=False,
        ),
        Bar(
            f"nothing to do over {large:,}",
            4,
            wall_seconds(find_step(steps, IDLE, nights)),
            is_least=False,
            unit="s",
        ),
        Bar(
            f"dry run of {huge:,} new frames",
            20,
            wall_seconds(find_step(steps, DRY_RUN, many_nights)),
            is_least=False,
            unit="s",
        ),
        Bar(
            f"one new night in {large:,} (1.2 times that night alone, plus 3 s)",
            round(allowed_seconds, 2),
            wall_seconds(find_step(steps, "one new night", nights)),
            is_least=False,
            unit="s",
        ),
        Bar(
            f"memory of the main process, {huge:,} frames",
            600,
            max(peaks) / MEGABYTE if peaks else None,
            is_least=False,
            unit="MB",
        ),
    ]


def table(steps):
    """Return the Markdown table of all steps."""
    head = ["archive, frames", "step", "frames reduced", "wall s", "ms a frame reduced"]
    head += ["user s", "system s", "peak MB, main", "peak MB, tree"]
    rows = []
    for step in steps:
        row = step.as_row()
        rows.append(
            [
                f"{step.frames:,}",
                step.name,
                f"{step.n_made:,}",
                f"{step.measurement.wall:.2f}",
                row["wall_ms_per_frame_made"],
                *(row[key] for key in ("user_s", "system_s", "peak_main_mb", "peak_tree_mb")),
            ]
        )
    return measure.markdown(head, rows)


def report(steps, options, work):
    """Return the page that goes to benchmarks/scale.md."""
    rows = bars(steps, nights=options.nights, few_nights=options.few, many_nights=options.many)
    rows += sealed_bars(steps)
    return "\n".join(
        [
            "# An archive of nights, tiny frames",
            "",
            "Written by `make bench-scale` (benchmarks/scale.py); the figures are in scale.csv.",
            f"96 x 48, uint16, gzip, {FRAMES_PER_NIGHT} frames a night, ten of them biases.",
            "Wall times of the whole command, with the combined bias and the page of each night.",
            "",
            measure.bars_table(rows),
            "",
            table(steps),
            "",
            measure.markdown(["machine", ""], measure.describe_machine(work)),
            "",
            measure.markdown(["version", ""], measure.versions()),
            "",
        ]
    )


def arguments():
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nights", type=int, default=100)
    parser.add_argument(
        "--few", type=int, default=10, help="nights of the smaller archive; 0: none"
    )
    parser.add_argument(
        "--many", type=int, default=1000, help="nights of the archive that is planned only; 0: none"
    )
    parser.add_argument(
        "--huge",
        type=int,
        default=10000,
        help="nights of the archive whose bookkeeping is simulated; 0: none",
    )
    parser.add_argument("--work", type=Path, default=ROOT / "bench-data")
    measure.add_output_option(parser)
    return parser.parse_args()


def run(options):
    """Measure the contenders that the options name, print the tables and write them."""
    work = options.work.resolve()
    steps = []
    for nights in filter(None, (options.few, options.nights)):
        steps += archive_steps(work, nights)
    if options.many:
        steps += dry_run_steps(work, options.many)
    if options.huge:
        steps += steps_of_simulated_notes(work, options.huge)
    text = report(steps, options, work)
    (options.out / "scale.md").write_text(text)
    measure.write_csv(options.out / "scale.csv", [step.as_row() for step in steps])
    print(text)


if __name__ == "__main__":
    measure.main(run, arguments())
