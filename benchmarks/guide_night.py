"""`make bench`, sixth part: the CCD guide's night, raw to calibrated, beside the guide's notebooks.

Whole commands on the night that `make demo` simulates: 24 raw frames of LFC size, compressed. The
guide's notebooks are one script without their pictures, and make the calibrated frames in adu;
ccdflow makes them in electrons with uncertainty and mask, tables and the pages.
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

SCIENCE = ("ccd.037.0.fits", "ccd.043.0.fits")
PAGES = ("report.html", "nights/2016-01-15/report.html")
# The guide clips three darks and flats by their median absolute deviation, and so loses good values
# in a fifth of the pixels; in the others the two differ by the rounding of their sums.
MOST_DIFFERENCE = 0.05  # of the uncertainty of a pixel: the median difference of two calibrations
# The levels may differ by this part: they are means of flats of which other pixels count.
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
            measure.tool("snakemake"), "--cores", measure.threads(),
            "--config", f"raw={place.raw}", f"results={place.out}",
        ],
        calibrated=lambda place: place.out / "calibrated",
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Result:
    """One measured run, and its calibrated frames beside the guide's.

    `difference` is the median of |frame - the guide's| over UNCERT, the worst frame's; `level` the
    part by which their ratio differs from the gain. None where there is nothing to compare.
    """

    contender: str
    measurement: measure.Measurement
    difference: float | None
    level: float | None

    def as_row(self):
        return {
            "contender": self.contender,
            "wall_s": f"{self.measurement.wall:.3f}",
            "user_s": f"{self.measurement.user:.3f}",
            "system_s": f"{self.measurement.system:.3f}",
            "peak_tree_mb": f"{self.measurement.peak_tree / MEGABYTE:.0f}",
            "difference_sigma": "" if self.difference is None else f"{self.difference:.4f}",
            "level_off": "" if self.level is None else f"{self.level:.5f}",
        }


def make_frames(work, *, scale=1.0):
    """Simulate the night, once for a work folder; returns the folder of its raw frames."""
    raw = work / f"guide-night-{scale:g}"
    command = [sys.executable, ROOT / "scripts" / "simulate.py", f"raw={raw}", "--scale", scale]
    measure.run(command, log=work / "logs" / "guide-night-simulate.log")
    return raw


def read(folder):
    """Return the guide's calibrated frames: {name: float64 pixels, adu}."""
    images = {}
    for name in SCIENCE:
        if not (folder / name).is_file():
            raise BenchmarkError(f"no product {folder / name}")
        images[name] = fits.getdata(folder / name).astype(np.float64)
    return images


def compare(folder, reference):
    """Return the largest difference of calibrated frames from the guide's, and of their levels.

    Parameters
    ----------
    folder : pathlib.Path
        Frames with UNCERT and MASK, in electrons.
    reference : dict of str to numpy.ndarray
        The guide's, in adu.

    Returns
    -------
    (float, float)
        Median difference over UNCERT; part by which the ratio of the levels is not the gain.
    """
    differences, levels = [], []
    for name, guide in reference.items():
        if not (folder / name).is_file():
            raise BenchmarkError(f"no product {folder / name}")
        with fits.open(folder / name) as hdus:
            image, error = (hdus[key].data.astype(np.float64) for key in (0, "UNCERT"))
            is_good = hdus["MASK"].data == 0
            gain = hdus[0].header.get("RAWGAIN", 1.0)
        factor = float(np.median(image[is_good]) / np.median(guide[is_good]))
        levels.append(abs(factor / gain - 1))
        differences.append(float(np.median((np.abs(image - factor * guide) / error)[is_good])))
    return max(differences), max(levels)


def check(result):
    """Raise where the calibrated frames are not those of this night."""
    if result.difference is not None and not result.difference <= MOST_DIFFERENCE:
        raise BenchmarkError(
            f"{result.contender}: its frames are {result.difference:.3f} sigma off the guide's"
        )
    if result.level is not None and not result.level <= MOST_LEVEL_DIFFERENCE:
        raise BenchmarkError(f"{result.contender}: its level is {result.level:.4f} off the guide's")


def run_once(contender, raw, work, *, number, reference):
    """Measure one contender; returns its Result and the guide's frames, if it made them."""
    place = Place(raw=raw, out=work / "guide-night" / contender.name)
    measure.empty(place.out)
    measure.settle()
    measure.warm(sorted(raw.rglob("*.fits.gz")))
    measurement = measure.run(
        contender.command(place),
        log=work / "logs" / f"guide-night-{contender.name}-{number}.log",
        cwd=ROOT,
        environment=measure.with_environment(),
    )
    difference, level = None, None
    if contender.name == "guide":
        reference = read(contender.calibrated(place))
    else:
        missing = [page for page in PAGES if not (place.out / page).is_file()]
        if missing:
            raise BenchmarkError(f"{contender.name}: no {' and no '.join(missing)}")
        if reference is not None:
            difference, level = compare(contender.calibrated(place), reference)
    result = Result(
        contender=contender.name, measurement=measurement, difference=difference, level=level
    )
    check(result)
    measure.empty(place.out)
    return result, reference


def run_all(work, *, scale, repeats, only):
    """Run all contenders, the guide in the first round only."""
    raw = make_frames(work, scale=scale)
    results, reference = [], None
    for number in range(repeats):
        for contender in CONTENDERS:
            if (only and contender.name not in only) or (contender.is_slow and number):
                continue
            result, reference = run_once(contender, raw, work, number=number, reference=reference)
            print(f"{result.contender:16s} {json.dumps(result.as_row())}", flush=True)
            results.append(result)
    measure.empty(work / "guide-night")
    return results


def bars(runs):
    """Return the bars: the figures to be reached."""
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
    runs = measure.typical(results)
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


def arguments(given=None):
    parser = measure.parser(__doc__, CONTENDERS, repeats=3, slow="the guide's runs once")
    parser.add_argument("--scale", type=float, default=1.0, help="of the frames' sides")
    return parser.parse_args(given)


def run(options):
    """Measure all that was asked for, print the tables and write them."""
    work = options.work.resolve()
    results = run_all(work, scale=options.scale, repeats=options.repeats, only=options.only)
    measure.write(options.out, "guide_night", report(results, options, work), results)


if __name__ == "__main__":
    measure.main(run, arguments())
