"""`make bench`, sixth part: the CCD guide's night, raw to calibrated, beside the guide's notebooks.

Whole commands run on the night that `make demo` simulates: 24 compressed raw frames of LFC size.
The guide's notebooks are one script without their pictures, and make calibrated frames in adu.
ccdflow makes calibrated frames in electrons, with uncertainty and mask, and tables and pages.
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

SCIENCE_FRAMES = ("ccd.037.0.fits", "ccd.043.0.fits")
PAGES = ("report.html", "nights/2016-01-15/report.html")
# The guide clips three darks and flats by their median absolute deviation. This rejects good values
# in a fifth of the pixels; the other pixels differ by the rounding of sums. A larger median
# difference of two calibrations, over the uncertainty of a pixel, ends the benchmark.
MOST_DIFFERENCE = 0.05
# Allowed relative difference of levels: they are means of flats in which other pixels count.
MOST_LEVEL_DIFFERENCE = 0.005


@dataclass(frozen=True, kw_only=True)
class Place:
    """The folders that a run reads and writes."""

    raw: Path
    out: Path


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way of calibrating the night: the command, and the folder of its calibrated frames."""

    name: str
    description: str
    command: Callable[[Place], list[object]]
    calibrated: Callable[[Place], Path]
    is_slow: bool = False


CONTENDERS = (
    Contender(
        name="guide",
        description="the guide's notebooks as one script, no pictures, no uncertainty",
        command=lambda place: [
            sys.executable, PEERS / "guide_notebooks.py", place.raw, place.out
        ],
        calibrated=lambda place: place.out,
        is_slow=True,
    ),
    Contender(
        name="ccdflow",
        description="snakemake, everything: UNCERT, MASK, detector, tables, pages",
        command=lambda place: [
            measure.path_of_program("snakemake"), "--cores", measure.n_cores(),
            "--config", f"raw={place.raw}", f"results={place.out}",
        ],
        calibrated=lambda place: place.out / "calibrated",
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Result:
    """One measured run, and the differences of its calibrated frames from the guide's.

    `difference` is the median of |frame - the guide's| over UNCERT, the largest of all frames.
    `level_difference` is the relative difference of the ratio of levels from the gain. Both are
    None where nothing can be compared.
    """

    contender: str
    measurement: measure.Measurement
    difference: float | None
    level_difference: float | None

    def as_row(self):
        """Return the row of this run in the CSV table."""
        return {
            "contender": self.contender,
            "wall_s": f"{self.measurement.wall:.3f}",
            "user_s": f"{self.measurement.user:.3f}",
            "system_s": f"{self.measurement.system:.3f}",
            "peak_tree_mb": f"{self.measurement.peak_tree / MEGABYTE:.0f}",
            "difference_sigma": "" if self.difference is None else f"{self.difference:.4f}",
            "level_off": "" if self.level_difference is None else f"{self.level_difference:.5f}",
        }


def make_frames(work, *, scale=1.0):
    """Simulate the night, unless the work folder has it; return the folder of its raw frames."""
    raw = work / f"guide-night-{scale:g}"
    command = [sys.executable, ROOT / "scripts" / "simulate.py", f"raw={raw}", "--scale", scale]
    measure.run(command, log=work / "logs" / "guide-night-simulate.log")
    return raw


def read_calibrated(folder):
    """Return the guide's calibrated frames: {name: float64 pixels, adu}."""
    images = {}
    for name in SCIENCE_FRAMES:
        if not (folder / name).is_file():
            raise BenchmarkError(f"no product {folder / name}")
        images[name] = fits.getdata(folder / name).astype(np.float64)
    return images


def compare(folder, reference):
    """Return the largest differences of pixels and levels from the guide's calibrated frames.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of frames with UNCERT and MASK, electrons.
    reference : dict of str to numpy.ndarray
        Pixels of the guide's frames, adu.

    Returns
    -------
    (float, float)
        Median difference over UNCERT; relative difference of the ratio of levels from the gain.
    """
    differences, level_differences = [], []
    for name, guide in reference.items():
        if not (folder / name).is_file():
            raise BenchmarkError(f"no product {folder / name}")
        with fits.open(folder / name) as hdus:
            image, error = (hdus[key].data.astype(np.float64) for key in (0, "UNCERT"))
            is_good = hdus["MASK"].data == 0
            gain = hdus[0].header.get("RAWGAIN", 1.0)
        factor = float(np.median(image[is_good]) / np.median(guide[is_good]))
        level_differences.append(abs(factor / gain - 1))
        differences.append(float(np.median((np.abs(image - factor * guide) / error)[is_good])))
    return max(differences), max(level_differences)


def check_differences(result):
    """Raise if the differences are too large for calibrated frames of this night."""
    if result.difference is not None and not result.difference <= MOST_DIFFERENCE:
        raise BenchmarkError(
            f"{result.contender}: its frames are {result.difference:.3f} sigma off the guide's"
        )
    if result.level_difference is not None and not result.level_difference <= MOST_LEVEL_DIFFERENCE:
        raise BenchmarkError(
            f"{result.contender}: its level is {result.level_difference:.4f} off the guide's"
        )


def run_once(contender, raw, work, *, number, reference):
    """Measure one contender; return its Result, and the guide's frames if they are made."""
    place = Place(raw=raw, out=work / "guide-night" / contender.name)
    measure.make_empty_folder(place.out)
    measure.sync_disk()
    measure.read_into_cache(sorted(raw.rglob("*.fits.gz")))
    measurement = measure.run(
        contender.command(place),
        log=work / "logs" / f"guide-night-{contender.name}-{number}.log",
        cwd=ROOT,
        environment=measure.environment_of_contender(),
    )
    difference, level_difference = None, None
    if contender.name == "guide":
        reference = read_calibrated(contender.calibrated(place))
    else:
        missing = [page for page in PAGES if not (place.out / page).is_file()]
        if missing:
            raise BenchmarkError(f"{contender.name}: no {' and no '.join(missing)}")
        if reference is not None:
            difference, level_difference = compare(contender.calibrated(place), reference)
    result = Result(
        contender=contender.name,
        measurement=measurement,
        difference=difference,
        level_difference=level_difference,
    )
    check_differences(result)
    measure.make_empty_folder(place.out)
    return result, reference


def run_all(work, *, scale, repeats, only):
    """Run all contenders in rounds, the guide in the first round only; return the results."""
    raw = make_frames(work, scale=scale)
    results, reference = [], None
    for number in range(repeats):
        for contender in CONTENDERS:
            if (only and contender.name not in only) or (contender.is_slow and number):
                continue
            result, reference = run_once(contender, raw, work, number=number, reference=reference)
            print(f"{result.contender:16s} {json.dumps(result.as_row())}", flush=True)
            results.append(result)
    measure.make_empty_folder(work / "guide-night")
    return results


def bars(runs):
    """Return the bars, the figures to be reached."""
    ours, guide = runs.get("ccdflow"), runs.get("guide")
    has_both = ours is not None and guide is not None
    ratio = guide.measurement.wall / ours.measurement.wall if has_both else None
    peak = None if ours is None else ours.measurement.peak_tree / MEGABYTE
    return [
        Bar(
            "the guide's night, raw to calibrated, with pages: faster than its notebooks", 5, ratio
        ),
        Bar("peak memory", 1000, peak, is_least=False, unit="MB"),
    ]


def table(results, runs):
    """Return the Markdown table of the contenders."""
    descriptions = {contender.name: contender.description for contender in CONTENDERS}
    head = ["contender", "what", "runs", "wall s", "least", "CPU s", "peak MB", "off, sigma"]
    rows = []
    for name, one_run in runs.items():
        walls = [r.measurement.wall for r in results if r.contender == name]
        row = one_run.as_row()
        rows.append(
            [
                name,
                descriptions[name],
                len(walls),
                f"{one_run.measurement.wall:.2f}",
                f"{min(walls):.2f}",
                f"{one_run.measurement.cpu:.2f}",
                row["peak_tree_mb"],
                row["difference_sigma"],
            ]
        )
    return measure.markdown(head, rows)


def report(results, options, work):
    """Return the page that goes to benchmarks/guide_night.md."""
    runs = measure.median_runs(results)
    head = [
        "# The guide's night",
        "",
        "Written by `make bench` (benchmarks/guide_night.py); every run is in guide_night.csv.",
        "The 24 raw frames that `make demo` simulates, compressed, in the page cache. Times are of",
        "whole commands, the median run where there are several. The last column is the median",
        "difference of calibrated pixels from the guide's, over UNCERT: it clips three darks and",
        "flats by their median absolute deviation, which takes good values from a fifth of the",
        "pixels.",
    ]
    return measure.page(
        head, measure.bars_table(bars(runs)), table(results, runs), work=work, programs=[]
    )


def arguments(words=None):
    """Return the options of the command line."""
    parser = measure.parser(__doc__, CONTENDERS, repeats=3, slow="the guide's runs once")
    parser.add_argument("--scale", type=float, default=1.0, help="of the frames' sides")
    return parser.parse_args(words)


def run(options):
    """Measure the contenders that the options name, print the tables and write them."""
    work = options.work.resolve()
    results = run_all(work, scale=options.scale, repeats=options.repeats, only=options.only)
    measure.write(options.out, "guide_night", report(results, options, work), results)


if __name__ == "__main__":
    measure.main(run, arguments())
