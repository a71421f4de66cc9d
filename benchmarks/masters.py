"""`make bench`, third part: combined bias, dark and flat, beside ccdproc, IRAF and Siril.

Whole commands run on the same simulated reduced frames of LFC size (float32, in the page cache).
Frames, floor and peers are those of ../shared/peers/calibration.
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

# Biases, darks and flats.
FRAME_COUNTS = (12, 9, 9)
SHAPE = (4128, 2048)
KINDS = ("bias", "dark", "flat")
PEERS_FOLDER = ROOT.parent / "shared" / "peers" / "calibration"
FULL_SCALE = 65535
# A larger median difference from the floor's masters, in sigma of their noise, ends the benchmark.
MOST_DIFFERENCE = 0.05


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way of making masters: the command, and the paths of its products by kind."""

    name: str
    description: str
    command: Callable[[Place], list[object]]
    products: Callable[[Place], dict[str, Path]]
    is_slow: bool = False
    is_available: Callable[[], bool] = lambda: True


def _peer_command(name):
    """Return the function of a `Place` that gives the command of a peer's script."""
    return lambda place: [sys.executable, place.peers / name, "masters", place.frames, place.out]


def _products(pattern, kinds=KINDS):
    """Return the function of a `Place` that gives the paths of masters by kind."""
    return lambda place: {
        kind: place.out / pattern.format(name) for kind, name in zip(KINDS, kinds, strict=True)
    }


CONTENDERS = (
    Contender(
        name="floor",
        description="plain means of blocks of rows, nothing clipped or checked",
        command=_peer_command("floor.py"),
        products=_products("{}.fits"),
    ),
    Contender(
        name="ccdproc",
        description="the guide's calls, arguments spelt right",
        command=_peer_command("ccdproc_calibrate.py"),
        products=_products("combined_{}.fits"),
        is_slow=True,
    ),
    Contender(
        name="iraf",
        description="combine (sigclip) and ccdproc",
        command=_peer_command("iraf_calibrate.py"),
        products=_products("masters/{}.fits", ("Zero", "Dark", "Flat")),
        is_available=lambda: measure.path_of_program("irafcl") is not None,
    ),
    Contender(
        name="siril",
        description=(
            "stack 5 sigma, 2 threads; frames scaled to 0..1 beforehand; flats less bias only"
        ),
        command=lambda place: [
            "siril-cli", "-d", place.siril, "-s", place.peers / "siril_masters.ssf"
        ],
        products=lambda place: {k: place.siril / f"master_{k}.fit" for k in KINDS},
        is_available=lambda: measure.path_of_program("siril-cli") is not None,
    ),
    Contender(
        name="ccdflow",
        description="combine_biases, combine_darks, combine_flats; image only",
        command=lambda place: [
            sys.executable, PEERS / "ccdflow_masters.py", place.frames, place.out
        ],
        products=_products("combined_{}.fits"),
    ),
    Contender(
        name="ccdflow, errors",
        description="the same with UNCERT and MASK in each product",
        command=lambda place: [
            sys.executable, PEERS / "ccdflow_masters.py", place.frames, place.out, "--errors"
        ],
        products=_products("combined_{}.fits"),
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Place:
    """The folders of a run: frames, products, Siril's frames, and the scripts of the peers."""

    frames: Path
    out: Path
    siril: Path
    peers: Path


@dataclass(frozen=True, kw_only=True)
class Result:
    """One measured run, and the differences of its masters from the floor's.

    `differences` has, by kind, the median of |master - floor's| over the noise of the floor's.
    """

    contender: str
    measurement: measure.Measurement
    differences: dict[str, float]

    def as_row(self):
        """Return the row of this run in the CSV table."""
        return {
            "contender": self.contender,
            "wall_s": f"{self.measurement.wall:.3f}",
            "user_s": f"{self.measurement.user:.3f}",
            "system_s": f"{self.measurement.system:.3f}",
            "peak_tree_mb": f"{self.measurement.peak_tree / MEGABYTE:.0f}",
            **{f"{k}_difference": f"{v:.4f}" for k, v in self.differences.items()},
        }


def make_frames(work, peers, *, shape, counts):
    """Simulate the frames, unless the work folder has them; return their folder."""
    data = work / f"masters-{shape[0]}x{shape[1]}-{'-'.join(map(str, counts))}"
    frames = data / "frames"
    if len(list(frames.glob("*.fits"))) != sum(counts):
        measure.make_empty_folder(data)
        command = [sys.executable, peers / "make.py", data]
        command += ["--shape", *map(str, shape), "--counts", *map(str, (*counts, 0))]
        measure.run(command, log=work / "logs" / "make.log")
    return frames


def prepare_for_siril(frames, siril, peers, work):
    """Make the scaled copies that Siril needs; their time is not measured."""
    measure.make_empty_folder(siril)
    command = [sys.executable, peers / "siril_prepare.py", frames, siril]
    measure.run(command, log=work / "logs" / "siril_prepare.log")


def differences_of_masters(products, reference, noises):
    """Return, by kind, the median difference of a master from the reference over its noise.

    Flats are divided by their medians, because programs normalise them differently. Biases and
    darks are compared without their medians: Siril's frames are shifted and scaled. Siril's dark
    still contains the bias.
    """
    differences_by_kind, images = {}, {}
    for kind, path in products.items():
        if not path.is_file():
            raise BenchmarkError(f"no product {path}")
        images[kind] = fits.getdata(path).astype(np.float64)
        if path.suffix == ".fit":
            images[kind] *= FULL_SCALE
            if kind == "dark":
                images[kind] -= images["bias"]
    for kind, image in images.items():
        truth = reference[kind]
        if kind == "flat":
            image, truth = image / np.median(image), truth / np.median(truth)
        else:
            image, truth = image - np.median(image), truth - np.median(truth)
        differences_by_kind[kind] = float(np.median(np.abs(image - truth)) / noises[kind])
    return differences_by_kind


def noises_of(frames, reference):
    """Return, by kind, the noise of the mean of the frames, from the difference of two frames."""
    noises = {}
    for kind in KINDS:
        paths = sorted(frames.glob(f"{kind}_*.fits"))
        first, second = (fits.getdata(path).astype(np.float64) for path in paths[:2])
        level = np.median(first - reference["bias"]) if kind == "flat" else 1.0
        deviation = np.median(np.abs(first - second - np.median(first - second)))
        noises[kind] = 1.4826 * deviation / np.sqrt(2 * len(paths)) / level
    return noises


def check_differences(result):
    """Raise if the differences are too large for masters of these frames."""
    limit = 1.0 if result.contender == "siril" else MOST_DIFFERENCE
    for kind, value in result.differences.items():
        # Siril subtracts no dark from flats, and clips by another rule: its limit is the noise.
        if not value <= limit:
            raise BenchmarkError(f"{result.contender}: its {kind} is {value:.3f} noises off")


def run_once(contender, place, work, *, number, reference, noises):
    """Measure one contender; return its Result, and the floor's masters and their noises."""
    if contender.name != "siril":
        measure.make_empty_folder(place.out)
    measure.sync_disk()
    measure.read_into_cache(sorted(place.frames.glob("*.fits")))
    if contender.name == "siril":
        for old_file in [*place.siril.glob("master_*"), *place.siril.glob("pp_*")]:
            old_file.unlink()
        measure.read_into_cache(sorted(place.siril.glob("*.fit")))
    name = contender.name.replace(", ", "-")
    measurement = measure.run(
        contender.command(place),
        log=work / "logs" / f"masters-{name}-{number}.log",
        environment=measure.environment_of_contender(),
    )
    products = contender.products(place)
    reference = reference or {k: fits.getdata(p).astype(np.float64) for k, p in products.items()}
    noises = noises or noises_of(place.frames, reference)
    result = Result(
        contender=contender.name,
        measurement=measurement,
        differences=differences_of_masters(products, reference, noises),
    )
    check_differences(result)
    return result, reference, noises


def run_all(work, *, shape, counts, repeats, only, peers):
    """Run all contenders in rounds, the floor first; slow ones run in the first round only."""
    frames = make_frames(work, peers, shape=shape, counts=counts)
    place = Place(
        frames=frames, out=work / "masters" / "out", siril=work / "masters" / "siril", peers=peers
    )
    contenders = []
    for contender in CONTENDERS:
        if only and contender.name not in (*only, "floor"):
            continue
        if contender.is_available():
            contenders.append(contender)
        else:
            print(f"{contender.name}: not installed, left out")
    if any(contender.name == "siril" for contender in contenders):
        prepare_for_siril(frames, place.siril, peers, work)
    results, reference, noises = [], None, None
    for number in range(repeats):
        for contender in contenders:
            if contender.is_slow and number:
                continue
            result, reference, noises = run_once(
                contender, place, work, number=number, reference=reference, noises=noises
            )
            print(f"{result.contender:16s} {json.dumps(result.as_row())}", flush=True)
            results.append(result)
    measure.make_empty_folder(work / "masters")
    return results


def bars(runs):
    """Return the bars, the figures to be reached."""
    ours = runs.get("ccdflow")
    rows = []
    for name, factor in (("ccdproc", 10), ("iraf", 4), ("siril", 2)):
        other = runs.get(name)
        has_both = ours is not None and other is not None
        ratio = other.measurement.wall / ours.measurement.wall if has_both else None
        rows.append(Bar(f"combined bias, dark and flat: faster than {name}", factor, ratio))
    peak = None if ours is None else ours.measurement.peak_tree / MEGABYTE
    rows.append(Bar("peak memory", 1000, peak, is_least=False, unit="MB"))
    return rows


def table(results, runs):
    """Return the Markdown table of the contenders."""
    descriptions = {contender.name: contender.description for contender in CONTENDERS}
    head = ["contender", "what", "runs", "wall s", "least", "CPU s", "peak MB"]
    head += [f"{kind}, of its noise" for kind in KINDS]
    rows = []
    for name, one_run in runs.items():
        walls = [r.measurement.wall for r in results if r.contender == name]
        rows.append(
            [
                name,
                descriptions[name],
                len(walls),
                f"{one_run.measurement.wall:.2f}",
                f"{min(walls):.2f}",
                f"{one_run.measurement.cpu:.2f}",
                f"{one_run.measurement.peak_tree / MEGABYTE:.0f}",
                *(f"{one_run.differences[kind]:.3f}" for kind in KINDS),
            ]
        )
    return measure.markdown(head, rows)


def report(results, options, work):
    """Return the page that goes to benchmarks/masters.md."""
    runs = measure.median_runs(results)
    programs = [("iraf", measure.iraf_version())]
    if measure.path_of_program("siril-cli") is not None:
        programs.append(("siril", ["siril-cli", "--version"]))
    head = [
        "# Combined bias, dark and flat",
        "",
        "Written by `make bench` (benchmarks/masters.py); every run is in masters.csv.",
        f"{options.counts[0]} biases, {options.counts[1]} darks, {options.counts[2]} flats of"
        f" {options.shape[1]} x {options.shape[0]} pixels, float32, in the page cache. Times",
        "are of whole commands, the median run where there are several. The last columns are",
        "the median distance from the floor's plain means, in units of the noise of a master.",
    ]
    return measure.page(
        head,
        measure.bars_table(bars(runs)),
        table(results, runs),
        work=work,
        programs=programs,
    )


def arguments(words=None):
    """Return the options of the command line."""
    parser = measure.parser(__doc__, CONTENDERS, repeats=5, slow="ccdproc runs once")
    parser.add_argument("--shape", type=int, nargs=2, default=SHAPE, metavar=("NY", "NX"))
    parser.add_argument("--counts", type=int, nargs=3, default=FRAME_COUNTS)
    parser.add_argument("--peers", type=Path, default=PEERS_FOLDER)
    return parser.parse_args(words)


def run(options):
    """Measure the contenders that the options name, print the tables and write them."""
    if not options.peers.is_dir():
        print(f"masters: left out, as the frames and the peers come from {options.peers}")
        return
    work = options.work.resolve()
    results = run_all(
        work,
        shape=options.shape,
        counts=options.counts,
        repeats=options.repeats,
        only=options.only,
        peers=options.peers.resolve(),
    )
    text = report(results, options, work)
    measure.write(options.out, "masters", text, results)


if __name__ == "__main__":
    measure.main(run, arguments())
