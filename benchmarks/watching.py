"""A watch beside a telescope, with ten thousand tiny frames, or with LFC-size frames one by one.

    python benchmarks/watching.py tiny --frames 10000
    python benchmarks/watching.py lfc --frames 100

``tiny`` prints memory, open files and threads of the watch while frames arrive, and compares all
products with those of a run from scratch. ``lfc`` prints the seconds from the last byte of a frame
to its calibrated frame, and to the night's page with it. The watch gets events of the file system,
and does not wait for a frame to settle. A frame that takes longer than `_SLOW_SECONDS` is printed
with the products that were written meanwhile, and with the longest pause of this process. This
process only waits, so that such a pause is one of the machine.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import measure
from astropy.io import fits

from ccdflow import paths
from ccdflow.pages import live_page
from ccdflow.simulate import simulate_archive, simulate_night
from ccdflow.simulate.frame_arrivals import observe

# Most frames that the telescope is ahead of the watch; seconds without a product that are an error.
_MOST_AHEAD, _PATIENCE_SECONDS = 40, 900
# Seconds from the last byte of a frame to its page above which the frame is printed.
_SLOW_SECONDS = 2.0
_LIVE_FILES = {live_page.LIVE_PAGE, live_page.LIVE_SCRIPT}
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@contextmanager
def watching(raw, results, log):
    """Run a watch during a block; end it as Ctrl-C does, and raise unless it ended well."""
    command = [sys.executable, measure.ROOT / "scripts" / "watch.py", f"raw={raw}"]
    command += [f"results={results}", "--notice", "events"]
    with log.open("w") as stream:
        process = subprocess.Popen(
            list(map(str, command)), cwd=measure.ROOT, stdout=stream, stderr=subprocess.STDOUT
        )
        try:
            yield process.pid
        finally:
            process.terminate()
            status = process.wait(_PATIENCE_SECONDS)
    if status or "nothing is half made" not in log.read_text():
        raise measure.BenchmarkError(f"the watch ended with {status}: see {log}")


def wait_until(condition, product):
    """Wait until a function returns true; raise after `_PATIENCE_SECONDS`.

    Returns
    -------
    float
        The longest time of a sleep of 10 ms, seconds.
    """
    last_look = start_time = time.monotonic()
    longest = 0.0
    while not condition():
        if last_look > start_time + _PATIENCE_SECONDS:
            raise measure.BenchmarkError(f"{product} did not come within {_PATIENCE_SECONDS} s")
        time.sleep(0.01)
        now = time.monotonic()
        longest, last_look = max(longest, now - last_look), now
    return longest


def figures_of(process):
    """Return (resident MB, open files, threads, CPU s) of a process."""
    folder = Path(f"/proc/{process}")
    status = dict(
        line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line
    )
    times = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
    cpu = sum(map(int, times)) / _TICKS_PER_SECOND
    files = len(list((folder / "fd").iterdir()))
    return int(status["VmRSS"].split()[0]) / 1000, files, int(status["Threads"]), cpu


def differing_files(folder_a, folder_b):
    """Return the names of files that differ between two folders, and the number of common files.

    Notes of ccdflow and files of the live page are left out.
    """
    names_by_folder = [set(), set()]
    for names, folder in zip(names_by_folder, (folder_a, folder_b), strict=True):
        for path in folder.rglob("*"):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and not name.startswith(paths.STATE) and name not in _LIVE_FILES:
                names.add(name)
    common_names = names_by_folder[0] & names_by_folder[1]
    changed_names = {
        n for n in common_names if not filecmp.cmp(folder_a / n, folder_b / n, shallow=False)
    }
    return sorted((names_by_folder[0] ^ names_by_folder[1]) | changed_names), len(common_names)


def run_ccdflow(raw, results, log):
    """Run Snakemake, and return its log."""
    command = [measure.path_of_program("snakemake"), "--cores", measure.n_cores(), "--config"]
    command += [f"raw={raw}", f"results={results}"]
    measure.run(command, log=log, cwd=measure.ROOT, environment=measure.environment_of_contender())
    return log.read_text()


def watch_tiny_frames(options, work):
    """Let many tiny frames arrive; print the figures of the watch, and compare its products."""
    source, frames_per_night = work / "tiny", options.night
    nights = -(-options.frames // frames_per_night)
    simulate_archive(source, nights=nights, frames_per_night=frames_per_night)
    # Two processes wrote the frames; a telescope observes one night after the other.
    for number, path in enumerate(sorted(source.rglob("*.fits*"))):
        os.utime(path, (1e9 + number, 1e9 + number))
    raw, results = (
        measure.make_empty_folder(work / "raw"),
        measure.make_empty_folder(work / "results"),
    )
    products = []
    print("  frames    MB  files  threads  CPU s  ms a frame", flush=True)

    def show(process):
        """Print the figures of the watch."""
        size, files, threads, cpu = figures_of(process)
        ms_per_frame = 1e3 * cpu / max(1, len(products))
        figures = f"{size:5.0f} {files:6d} {threads:8d} {cpu:6.1f} {ms_per_frame:11.1f}"
        print(f"{len(products):8d} {figures}")
        sys.stdout.flush()

    with watching(raw, results, work / "watch.log") as process:
        for path in observe(source, raw, every=options.every):
            products.append(results / paths.reduced_frame(path.relative_to(raw).as_posix()))
            if len(products) > _MOST_AHEAD:
                wait_until(products[-_MOST_AHEAD].is_file, products[-_MOST_AHEAD])
            if len(products) % options.show == 0:
                show(process)
        for product in products:
            wait_until(product.is_file, product)
        show(process)
    log_after = run_ccdflow(raw, results, work / "after.log")
    print(f"the run after it: {log_after.strip().splitlines()[-1]}", flush=True)
    scratch_results = measure.make_empty_folder(work / "scratch")
    run_ccdflow(raw, scratch_results, work / "scratch.log")
    names, count = differing_files(results, scratch_results)
    print(f"{count - len(names)} files are identical to those of a run from scratch")
    if names:
        raise measure.BenchmarkError(f"{len(names)} differ: {', '.join(names[:5])}")


def watch_lfc_frames(options, work):
    """Let LFC-size frames of the sky arrive; print the seconds to their products and pages."""
    source, first_results = work / "lfc", work / "lfc-made"
    raw, results = (
        measure.make_empty_folder(work / "lfc-raw"),
        measure.make_empty_folder(work / "lfc-results"),
    )
    if not (work / "lfc-first.log").is_file():
        simulate_night(measure.make_empty_folder(source), scale=options.scale)
        run_ccdflow(source, measure.make_empty_folder(first_results), work / "lfc-first.log")
    # Frames of an earlier call are in neither folder.
    shutil.copytree(source, raw, dirs_exist_ok=True)
    shutil.copytree(first_results, results, dirs_exist_ok=True)
    first_frame = next((results / "calibrated").rglob("*.fits")).relative_to(results / "calibrated")
    template = next(path for path in source.rglob(f"{first_frame.name}*") if path.is_file())
    folder, times = raw / template.relative_to(source).parent, []
    content = fits.open(template)
    with watching(raw, results, work / "lfc-watch.log") as process:
        wait_until(lambda: (results / live_page.LIVE_SCRIPT).is_file(), "the watch")
        for number in range(options.frames + 1):
            # Another pixel changes in each frame, so that no frame is a copy.
            content[0].data.flat[number] += 1
            target = folder / f"watched_{number:03}.fits"
            content.writeto(work / "next.fits", overwrite=True, output_verify="ignore")
            cpu_before = figures_of(process)[3]
            shutil.copyfile(work / "next.fits", target)
            product = paths.calibrated_frame(target.relative_to(raw).as_posix())
            calibrated_seconds, shown_seconds, pause, written_files = _wait_for_frame(
                results, product
            )
            times.append((calibrated_seconds, shown_seconds, figures_of(process)[3] - cpu_before))
            if shown_seconds > _SLOW_SECONDS:
                print(
                    f"{target.name}: {shown_seconds:.1f} s to the page, {times[-1][2]:.1f} CPU s,"
                    f" longest pause {pause:.1f} s; written: {', '.join(written_files)}"
                )
    # The first frame does not count: the watch has not imported its modules before.
    names = ("to the calibrated frame, s", "to the page, s", "CPU s of the watch")
    for name, values in zip(names, zip(*times[1:], strict=True), strict=True):
        sorted_values = sorted(values)
        print(
            f"{name}: median {measure.median(sorted_values):.2f},"
            f" {sorted_values[0]:.2f} to {sorted_values[-1]:.2f}"
        )


def _wait_for_frame(results, product):
    """Return seconds to a calibrated frame and to its page, the longest pause, written files."""
    start, path = time.time(), results / product
    pause = wait_until(path.is_file, product)
    time_of_product = path.stat().st_mtime_ns

    def is_shown():
        """Return whether a page is newer than the calibrated frame."""
        pages = (results / "nights").glob("*/report.html")
        return max((page.stat().st_mtime_ns for page in pages), default=0) > time_of_product

    calibrated_seconds = time.time() - start
    pause = max(pause, wait_until(is_shown, f"the page with {product}"))
    shown_seconds = time.time() - start
    files = (file for file in results.rglob("*") if file.is_file())
    written_files = [
        file.relative_to(results).as_posix() for file in files if _is_written_since(file, start)
    ]
    return calibrated_seconds, shown_seconds, pause, sorted(written_files)


def _is_written_since(file, start):
    """Return whether a file was written since a time; a deleted file was not."""
    try:
        return file.stat().st_mtime >= start
    except FileNotFoundError:
        return False


def run(options):
    """Run the measurement that the options name."""
    work = (options.work / "watching").resolve()
    work.mkdir(parents=True, exist_ok=True)
    {"tiny": watch_tiny_frames, "lfc": watch_lfc_frames}[options.what](options, work)


def arguments():
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("tiny", "lfc"))
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--night", type=int, default=100, help="tiny frames a night")
    parser.add_argument("--scale", type=float, default=1.0, help="rows and columns, part of LFC's")
    parser.add_argument("--every", type=float, default=0.0, help="seconds a tiny frame at least")
    parser.add_argument("--show", type=int, default=500, help="tiny frames between two lines")
    parser.add_argument("--work", type=Path, default=measure.ROOT / "bench-data")
    return parser.parse_args()


if __name__ == "__main__":
    measure.main(run, arguments())
