"""`make bench`, last part: science frames calibrated, beside ccdproc, IRAF and Siril.

Whole commands on the same reduced science frames of LFC size (float32, in the page cache), each
with the masters that it made itself; ccdflow takes the floor's. Frames, floor and peers are those
of ../shared/peers/calibration. Many frames are links to few, which costs each contender little
reading. The disk has the products of one contender at a time: 30 GB with ccdproc's uncertainties.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import measure
import numpy as np
from astropy.io import fits
from measure import MEGABYTE, ROOT, Bar, BenchmarkError

PEERS_FOLDER = ROOT.parent / "shared" / "peers" / "calibration"
SHAPE = (4128, 2048)
# Biases, darks and flats of the masters.
MEMBER_COUNTS = (12, 9, 9)
# Science frames that are simulated; all others are links to these.
DISTINCT_FRAMES = 20
N_FRAMES = 200
# The number, from 1, of the frame whose pixels are compared.
CHECKED_FRAME = 3
# A larger median difference from the floor's pixels, in sigma of their noise, ends the benchmark.
# Only ccdproc, which clips its masters in another way, may differ more.
MOST_DIFFERENCE = 0.02


@dataclass(frozen=True, kw_only=True)
class Place:
    """The folders that a run reads and writes: frames, products, and the scripts of the peers."""

    frames: Path
    out: Path
    peers: Path

    @property
    def siril(self):
        """The folder of Siril's frames and products."""
        return self.out / "siril"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way of calibrating: the commands for masters and frames, and the product of a frame.

    `has_errors` tells whether products have uncertainty and mask.
    """

    name: str
    description: str
    masters: Callable[[Place], list[object]]
    command: Callable[[Place], list[object]]
    product: Callable[[Place, int], Path]
    has_errors: bool = False
    is_slow: bool = False
    is_available: Callable[[], bool] = lambda: True


def _peer_command(script, step, *options):
    """Return the function of a `Place` that gives a command of a peer's script."""

    def command(place):
        """Return the command in the folders of a place."""
        return [sys.executable, place.peers / script, step, place.frames, place.out, *options]

    return command


def _calibrated_file(place, number):
    """Return the path of a calibrated frame."""
    return place.out / "calibrated" / f"science_{number:05d}.fits"


def _ccdflow_command(*options):
    """Return the function of a `Place` that gives the command of ccdflow."""

    def command(place):
        """Return the command in the folders of a place."""
        masters = [f"{kind}={place.out / kind}.fits" for kind in ("bias", "dark", "flat")]
        frames = sorted(place.frames.glob("science_*.fits"))
        script = ROOT / "scripts" / "calibrate.py"
        return [
            sys.executable,
            script,
            f"out={place.out / 'calibrated'}",
            *frames,
            *masters,
            *options,
        ]

    return command


def _siril_command(script):
    """Return the function of a `Place` that gives a command of Siril."""
    return lambda place: ["siril-cli", "-d", place.siril, "-s", place.peers / script]


def availability_test(program):
    """Return a function without arguments that tells whether a program is installed."""
    return lambda: measure.path_of_program(program) is not None


MAKE_FLOOR_MASTERS = _peer_command("floor.py", "masters", "--errors")
CONTENDERS = (
    Contender(
        name="floor", description="bytes and arithmetic alone, 2 threads",
        masters=MAKE_FLOOR_MASTERS,
        command=_peer_command("floor.py", "science"), product=_calibrated_file,
    ),
    Contender(
        name="ccdproc", description="the guide's calls",
        masters=_peer_command("ccdproc_calibrate.py", "masters"),
        command=_peer_command("ccdproc_calibrate.py", "science"),
        product=_calibrated_file, is_slow=True,
    ),
    Contender(
        name="iraf", description="ccdproc, two processes",
        masters=_peer_command("iraf_calibrate.py", "masters"),
        command=_peer_command("iraf_calibrate.py", "science", "--workers", "2"),
        product=_calibrated_file, is_slow=True, is_available=availability_test("irafcl"),
    ),
    Contender(
        name="siril", description="preprocess, 2 threads; frames scaled to 0..1 beforehand",
        masters=_siril_command("siril_masters.ssf"), command=_siril_command("siril_science.ssf"),
        product=lambda place, number: place.siril / f"pp_science_{number:05d}.fit",
        is_available=availability_test("siril-cli"),
    ),
    Contender(
        name="ccdflow", description="scripts/calibrate.py --image-only",
        masters=MAKE_FLOOR_MASTERS,
        command=_ccdflow_command("--image-only"), product=_calibrated_file,
    ),
    Contender(
        name="floor, errors", description="the same with uncertainty and mask",
        masters=MAKE_FLOOR_MASTERS,
        command=_peer_command("floor.py", "science", "--errors"),
        product=_calibrated_file, has_errors=True,
    ),
    Contender(
        name="ccdproc, errors", description="the guide's calls, create_deviation and a mask",
        masters=_peer_command("ccdproc_calibrate.py", "masters", "--errors"),
        command=_peer_command("ccdproc_calibrate.py", "science", "--errors"),
        product=_calibrated_file, has_errors=True, is_slow=True,
    ),
    Contender(
        name="ccdflow, errors", description="scripts/calibrate.py: image, UNCERT, MASK",
        masters=MAKE_FLOOR_MASTERS, command=_ccdflow_command("--saturation", "60000"),
        product=_calibrated_file, has_errors=True,
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Result:
    """One measured run of `frames` frames.

    `difference` is the median difference from the floor's pixels, in sigma of their noise. `pull`
    is the robust standard deviation of (product - truth) / uncertainty. Both are of one frame, and
    None where nothing can be compared.
    """

    contender: str
    frames: int
    measurement: measure.Measurement
    difference: float | None
    pull: float | None

    def as_row(self):
        """Return the row of this run in the CSV table."""
        return {
            "contender": self.contender,
            "frames": self.frames,
            "wall_s": f"{self.measurement.wall:.3f}",
            "s_a_frame": f"{self.measurement.wall / self.frames:.4f}",
            "user_s": f"{self.measurement.user:.3f}",
            "system_s": f"{self.measurement.system:.3f}",
            "peak_tree_mb": f"{self.measurement.peak_tree / MEGABYTE:.0f}",
            "difference_sigma": "" if self.difference is None else f"{self.difference:.5f}",
            "pull": "" if self.pull is None else f"{self.pull:.4f}",
        }


def make_frames(work, peers, *, shape, count):
    """Simulate frames, unless the work folder has them, and link as many as are wanted.

    Returns
    -------
    data, frames : pathlib.Path
        Folder of the simulator, with the truth, and folder of the frames.
    """
    distinct = min(DISTINCT_FRAMES, count)
    data = work / f"calibrating-{shape[0]}x{shape[1]}-{distinct}"
    simulated = data / "frames"
    if len(list(simulated.glob("*.fits"))) != sum(MEMBER_COUNTS) + distinct:
        measure.make_empty_folder(data)
        command = [sys.executable, peers / "make.py", data, "--shape", *map(str, shape)]
        command += ["--counts", *map(str, (*MEMBER_COUNTS, distinct))]
        measure.run(command, log=work / "logs" / "make.log")
    frames = measure.make_empty_folder(data / f"linked-{count}")
    for path in simulated.glob("*.fits"):
        if not path.name.startswith("science"):
            (frames / path.name).hardlink_to(path)
    for number in range(1, count + 1):
        source = simulated / f"science_{(number - 1) % distinct + 1:05d}.fits"
        (frames / f"science_{number:05d}.fits").hardlink_to(source)
    return data, frames


def make_masters(contender, place, work):
    """Make the masters of a contender; their time is not measured."""
    measure.make_empty_folder(place.out)
    if contender.name == "siril":
        command = [sys.executable, place.peers / "siril_prepare.py", place.frames, place.siril]
        measure.run(command, log=work / "logs" / "siril-prepare.log")
    (place.out / "home").mkdir()
    run_in_home(contender.masters(place), place, work / "logs" / f"masters-{contender.name}.log")
    if contender.name.startswith("ccdflow"):
        describe_masters(place)


def describe_masters(place):
    """Give the floor's masters the cards and extensions of ccdflow's masters."""
    keys = {"bias": {}, "dark": {"BIASKEY": "bias"}, "flat": {"BIASKEY": "bias", "FLATLVL": 2e4}}
    for (kind, cards), frames in zip(keys.items(), MEMBER_COUNTS, strict=True):
        path = place.out / f"{kind}.fits"
        pixels, header = fits.getdata(path, header=True)
        variance = fits.getdata(place.out / f"{kind}_variance.fits")
        header.update({"CCDFKEY": kind, "NCOMBINE": frames, "BUNIT": "adu", **cards})
        error = fits.ImageHDU(np.sqrt(variance), name="UNCERT")
        fits.HDUList([fits.PrimaryHDU(pixels, header), error]).writeto(path, overwrite=True)
        (place.out / f"{kind}_variance.fits").unlink()


def run_in_home(command, place, log):
    """Run a command with a home folder of its own for parameter files."""
    environment = {**measure.environment_of_contender(), "HOME": str(place.out / "home")}
    return measure.run(command, log=log, cwd=place.out, environment=environment)


def delete_products(contender, place):
    """Delete the products of a run."""
    shutil.rmtree(place.out / "calibrated", ignore_errors=True)
    for worker in place.out.glob("worker*"):
        shutil.rmtree(worker)
    for path in [*place.siril.glob("pp_science*"), *place.siril.glob("science*.seq")]:
        path.unlink()


def measure_contender(contender, place, data, work, *, count, number, reference):
    """Run one contender with existing masters; return its Result and the pixels of one frame."""
    delete_products(contender, place)
    measure.sync_disk()
    inputs = place.siril.glob("science_*.fit") if contender.name == "siril" else None
    measure.read_into_cache(inputs or place.frames.glob("science_*.fits"))
    log = work / "logs" / f"calibrating-{contender.name}-{number}.log"
    measurement = run_in_home(contender.command(place), place, log)
    products = [contender.product(place, frame) for frame in range(1, count + 1)]
    if not all(path.exists() for path in products):
        raise BenchmarkError(f"{contender.name}: not all of {count} products are there")
    image, error = read_product(products[CHECKED_FRAME - 1])
    scene = fits.getdata(data / "truth" / "scene.fits").astype(np.float64)
    image, factor = scale_to_truth(image, scene)
    difference, pull = None, None
    if reference is not None:
        difference = float(np.median(np.abs(image - reference)) / noise_of(reference - scene))
        check_difference(contender.name, difference)
    if error is not None:
        pull = noise_of((image - scene) / (error * factor))
    result = Result(
        contender=contender.name,
        frames=count,
        measurement=measurement,
        difference=difference,
        pull=pull,
    )
    return result, image


def check_difference(name, difference):
    """Raise if the pixels of a contender differ too much from the floor's, or are no numbers."""
    if not difference <= MOST_DIFFERENCE and name not in ("ccdproc", "ccdproc, errors"):
        raise BenchmarkError(f"{name}: {difference:.3f} sigma off the floor's pixels")


def read_product(path):
    """Return image and uncertainty of a product; None for a missing uncertainty."""
    with fits.open(path) as hdus:
        image = hdus[0].data.astype(np.float64)
        errors = [hdu.data for hdu in hdus if hdu.name == "UNCERT"]
        return image, errors[0].astype(np.float64) if errors else None


def scale_to_truth(image, scene):
    """Return a product at the level of the truth, and its factor: units and flats differ."""
    factor = 1 / float(np.median(image / scene))
    return image * factor, factor


def noise_of(values):
    """Return the robust standard deviation of values."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def run_all(work, peers, *, shape, count, repeats, only):
    """Run all contenders in turn, each with masters made once; slow ones run once."""
    data, frames = make_frames(work, peers, shape=shape, count=count)
    results, reference = [], None
    for contender in CONTENDERS:
        if only and contender.name not in only:
            continue
        if not contender.is_available():
            print(f"{contender.name}: not installed, left out")
            continue
        out = work / "calibrating" / contender.name.replace(", ", "-")
        place = Place(frames=frames, out=out, peers=peers)
        make_masters(contender, place, work)
        for number in range(1 if contender.is_slow else repeats):
            result, image = measure_contender(
                contender, place, data, work, count=count, number=number, reference=reference
            )
            if contender.name == "floor":
                reference = image
            print(f"{result.contender:16s} {json.dumps(result.as_row())}", flush=True)
            results.append(result)
        measure.make_empty_folder(out)
    return results


def bars(runs):
    """Return the bars, the figures to be reached."""

    def ratio(slow, fast):
        """Return the ratio of the wall times of two contenders, None without both runs."""
        if slow not in runs or fast not in runs:
            return None
        return runs[slow].measurement.wall / runs[fast].measurement.wall

    peak = [runs[name].measurement.peak_tree for name in runs if name.startswith("ccdflow")]
    return [
        Bar("image only: faster than ccdproc", 8, ratio("ccdproc", "ccdflow")),
        Bar("image only: faster than IRAF", 5, ratio("iraf", "ccdflow")),
        Bar("image only: faster than Siril", 1.5, ratio("siril", "ccdflow")),
        Bar("UNCERT, MASK: faster than ccdproc", 12, ratio("ccdproc, errors", "ccdflow, errors")),
        Bar(
            "UNCERT, MASK: times of the floor",
            2,
            ratio("ccdflow, errors", "floor, errors"),
            is_least=False,
        ),
        Bar("peak memory", 1000, max(peak) / MEGABYTE if peak else None, is_least=False, unit="MB"),
    ]


def table(results, runs):
    """Return the Markdown table of the contenders."""
    descriptions = {contender.name: contender.description for contender in CONTENDERS}
    head = ["contender", "what", "runs", "wall s", "s a frame", "user s", "system s", "peak MB"]
    head += ["off the floor, sigma", "pull"]
    rows = []
    for name, one_run in runs.items():
        walls = [result.measurement.wall for result in results if result.contender == name]
        spread = f" ({min(walls):.2f} to {max(walls):.2f})" if len(walls) > 1 else ""
        row = one_run.as_row()
        rows.append(
            [
                name,
                descriptions[name],
                len(walls),
                f"{one_run.measurement.wall:.2f}{spread}",
                row["s_a_frame"],
                f"{one_run.measurement.user:.2f}",
                f"{one_run.measurement.system:.2f}",
                row["peak_tree_mb"],
                row["difference_sigma"],
                row["pull"],
            ]
        )
    return measure.markdown(head, rows)


def sentence_on_floor(runs):
    """Return a sentence on the floor's speed beside its peers: no bar above it can be reached."""
    ratios = []
    for floor, peers in (
        ("floor", ("ccdproc", "iraf", "siril")),
        ("floor, errors", ("ccdproc, errors",)),
    ):
        for peer in peers:
            if floor in runs and peer in runs:
                ratio = runs[peer].measurement.wall / runs[floor].measurement.wall
                ratios.append(f"{ratio:.3g} x {peer}")
    if not ratios:
        return ""
    return f"The floor itself is faster by {'; '.join(ratios)}: no bar beyond that can be reached."


EXPLANATION = """\
Off the floor: median difference from the floor's pixels of one frame, both brought to the
truth's level, over the noise of a pixel. Pull: standard deviation of (product - truth) over
uncertainty, 1 where the uncertainty is right. ccdproc clips its masters by the median absolute
deviation, which changes some pixels; Siril replaces hot pixels."""


def report(results, options, work):
    """Return the page that goes to benchmarks/calibrating.md."""
    runs = measure.median_runs(results)
    programs = [("iraf", measure.iraf_version()), ("siril", ["siril-cli", "--version"])]
    ny, nx = options.shape
    head = [
        "# Calibrating science frames",
        "",
        "Written by `make bench` (benchmarks/calibrating.py); every run is in calibrating.csv.",
        f"{options.count} frames of {nx} x {ny}, float32, in the page cache before each run.",
        "Times are wall times of whole commands, the median run where there are several.",
    ]
    return measure.page(
        head,
        measure.bars_table(bars(runs)),
        table(results, runs),
        "\n".join(filter(None, [sentence_on_floor(runs), EXPLANATION])),
        work=work,
        programs=programs,
    )


def arguments():
    """Return the options of the command line."""
    parser = measure.parser(__doc__, CONTENDERS, repeats=3)
    parser.add_argument("--count", type=int, default=N_FRAMES, help="science frames")
    parser.add_argument("--shape", type=int, nargs=2, default=SHAPE)
    parser.add_argument("--peers", type=Path, default=PEERS_FOLDER)
    return parser.parse_args()


def run(options):
    """Measure the contenders that the options name, print the tables and write them."""
    peers = options.peers.resolve()
    if not (peers / "make.py").exists():
        print(f"{peers} is not there: calibrating is left out")
        return
    work = options.work.resolve()
    results = run_all(
        work, peers, shape=options.shape, count=options.count, repeats=options.repeats,
        only=options.only,
    )  # fmt: skip
    text = report(results, options, work)
    measure.write(options.out, "calibrating", text, results)


if __name__ == "__main__":
    measure.main(run, arguments())
