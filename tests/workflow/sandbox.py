"""A small archive for runs in this process or by Snakemake, and the changes by a run."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import ready_python
import yaml
from small_frames import raw_bytes

from ccdflow import kinds, paths, settings
from ccdflow.run import job_records, session, worker
from ccdflow.run.ending import session_end
from ccdflow.run.run_start import DRY_RUN, RunRequest

ROOT = Path(__file__).parents[2]

# Science pixels and overscan of the two cameras, as (ny, nx) and columns.
SMALL_FRAME = (24, 40, 8)
# A packed frame of this size has more than the 8192 bytes that are read for the header.
MEDIUM = (100, 200, 8)
# A frame of this size has more than 1 MB, packed or not: noise cannot be compressed.
LARGE_FRAME = (400, 1600, 40)

_PROFILE = {
    "site": {"longitude": 0.0},
    "amplifiers": [
        {
            "name": "A",
            "data": {"python": "[:, :-8]"},
            "overscan": {"python": "[:, -6:]"},
            "gain": 1.5,
        }
    ],
}


# A night of these archives has one flat, and no combined flat can be made of it: these tests are on
# frames and biases. tests/kinds/test_science.py is on darks, flats and calibrated frames.
_CONFIG = {
    "limits": {"settle": 0, "frame_memory": 50},
    "flat": {"enabled": False},
    "detector": {"enabled": False},
}


def damage(path):
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def frame_bytes(
    seed, *, kind="BIAS", camera="alpha", night="2024-03-01", size=MEDIUM, note="", light=300,
    exptime=5.0, cards=None,
):  # fmt: skip
    """Return a raw frame as FITS bytes: bias level, drift from row to row, noise.

    ``size`` is rows, science columns and overscan columns; ``seed`` gives the pixels. A frame that
    is no bias has ``light`` in its science pixels; one of night '' has no date. ``cards`` are more
    cards of the header, by keyword.
    """
    ny, nx, strip = size
    rng = np.random.default_rng(seed)
    level = 1000 + rng.normal(0, 2, (ny, 1)) + rng.normal(0, 5, (ny, nx + strip))
    if size == LARGE_FRAME:
        level[:, :nx] += rng.integers(0, 40000, (ny, nx))
    if kind != "BIAS":
        level[:, :nx] += light
    cards = {
        "INSTRUME": camera, "IMAGETYP": kind, "EXPTIME": 0.0 if kind == "BIAS" else exptime,
        "DATE-OBS": f"{night}T22:00:00", "OBJECT": kind.lower(), "FILTER": "V", "NOTE": note,
        **(cards or {}),
    }  # fmt: skip
    if not night:
        del cards["DATE-OBS"]
    return raw_bytes((level.astype(np.uint16), cards))


@dataclass
class Outcome:
    """The result of a run.

    Attributes
    ----------
    jobs : list of str
        Products of the jobs that ran.
    lines : list of str
        Lines of ccdflow, without its name.
    status : int
        Exit status.
    output : str
        All printed text.
    """

    jobs: list
    lines: list
    status: int
    output: str = ""


@dataclass
class Sandbox:
    """Folders of raw frames, results, cameras; and settings.

    Attributes
    ----------
    root : Path
    config : dict
        Settings that differ from ``config/config.yaml``.
    profiles : dict
        Values of the cameras' profiles.
    project : Path
        Folder of the Snakefile.
    """

    root: Path
    config: dict = field(default_factory=dict)
    profiles: dict = field(default_factory=dict)
    project: Path = ROOT
    # Runs that planned some nights only.
    opened: ClassVar[int] = 0

    @classmethod
    def at(cls, root):
        """Return the sandbox that `keep` wrote to a folder, or that of a copy of it."""
        made = cls.__new__(cls)
        made.root, made.project = Path(root), ROOT
        made.config, made.profiles = json.loads((made.root / "sandbox.json").read_text())
        return made

    @classmethod
    def of_folder(cls, root, config):
        """Return the sandbox of a folder that holds raw frames, results and profiles already."""
        made = cls.__new__(cls)
        made.root, made.config, made.profiles, made.project = Path(root), config, {}, ROOT
        return made

    def keep(self):
        """Write the files that `at` reads."""
        text = json.dumps([self.config, self.profiles])
        (self.root / "sandbox.json").write_text(text)

    def __post_init__(self):
        self.raw.mkdir(parents=True)
        self.cameras.mkdir()
        for camera in ("alpha", "beta"):
            self.profile(camera)

    def copy_to(self, root):
        """Return a copy of the raw frames and results in another folder, with nothing to do."""
        own = Sandbox(root, dict(self.config))
        for name in ("raw", "results"):
            shutil.copytree(getattr(self, name), getattr(own, name), dirs_exist_ok=True)
        assert own.run().jobs == []
        return own

    def put_small(self, start, number, **options):
        """Write some small raw frames, whose names are a start and a number from 0 on."""
        for seed in range(number):
            self.put(f"{start}{seed}.fits.gz", seed, size=SMALL_FRAME, **options)

    @property
    def used_config(self):
        """The configuration, by which each row has its own level although the strips are narrow."""
        return {**self.config, "reduction": {"model": None} | self.config.get("reduction", {})}

    @property
    def raw(self):
        """Folder of raw frames."""
        return self.root / "raw"

    @property
    def results(self):
        """Folder of results."""
        return self.root / "results"

    @property
    def cameras(self):
        """Folder of camera profiles."""
        return self.root / "cameras"

    def profile(self, camera, **changes):
        """Write a camera's profile with some keys changed."""
        values = {"recognise": {"INSTRUME": camera}, **_PROFILE, **changes}
        self.profiles[camera] = values
        (self.cameras / f"{camera}.yaml").write_text(yaml.safe_dump(values))

    def put(self, file, seed, *, is_packed=True, **options):
        """Write a raw frame and return its bytes in the file."""
        content = frame_bytes(seed, **options)
        if is_packed:
            content = gzip.compress(content, 1, mtime=0)
        return self.write(file, content)

    def write(self, file, content):
        """Write the bytes of a raw file under a temporary name first, as a copy does."""
        path = self.raw / file
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".copying")
        part.write_bytes(content)
        part.replace(path)
        return content

    def values(self, **more):
        """Return the settings, checked."""
        folders = {name: str(getattr(self, name)) for name in ("raw", "results", "cameras")}
        return settings.load_settings({**folders, **_CONFIG, **self.used_config, **more})

    def reading_settings(self, **changes):
        """Return the settings of the reading of headers, some of them changed."""
        return replace(session.reading_settings(self.values()), **changes)

    def plan(self):
        """Return the session of a dry run."""
        return session.start(self.values(), chain=kinds.CHAIN, request=DRY_RUN)

    def run(
        self, *, cores=2, stop_after=None, keep_going=False, may_lose=False, forced=frozenset(),
        takes_last_first=False,
    ):  # fmt: skip
        """Run all jobs in this process, in the order of the plan, as the rules do.

        With ``stop_after`` it ends after so many jobs without a line, as a kill does. With
        ``keep_going`` a job that cannot write costs only the products that need it. With
        ``may_lose`` jobs may fail, and raw files may change while they are read; otherwise these
        are errors. With ``takes_last_first`` the last job of the plan that is ready is done next:
        jobs that run side by side may end in this order.
        """
        values = self.values()
        work = session.start(
            values,
            chain=kinds.CHAIN,
            request=RunRequest(forced=frozenset(forced), accepts_seal=True),
        )
        try:
            if work.seal:
                self._check_seal(work)
            if work.context.closed_nights:
                self._check_open(work)
            jobs = list(work.plan.jobs.values())[:stop_after]
            jobs = jobs[::-1] if takes_last_first else jobs
            done = worker.work(
                work.context, jobs, threads=cores, make=make, is_wide=kinds.CHAIN.is_wide
            )
            failed = {**done.unrecorded, **({"": done.full_disk} if done.full_disk else {})}
            if failed and not keep_going:
                raise OSError(str(next(iter(failed.values()))))
            if not (keep_going or may_lose):
                self._check_records(done.records)
            if stop_after is not None:
                return Outcome([job.product for job in jobs], [], -9)
            lines, is_failure = session_end.finish(work)
            if work.context.closed_nights:
                self._check_end(work, lines)
        finally:
            work.lock.close()
        lines = [f"{product}: {error}" for product, error in failed.items()] + lines
        return Outcome([job.product for job in jobs], lines, int(is_failure or bool(failed)))

    def _check_records(self, records):
        """Fail with the log of each job that failed, or whose raw file changed under it."""
        unmade = {
            product: (record.reason, self._log_of(record))
            for product, record in records.items()
            if record.status in (job_records.FAILED, job_records.GONE)
        }
        assert not unmade, unmade

    def _log_of(self, record):
        """Return the log of a job."""
        log = self.results / paths.log(record.product, record.key)
        return log.read_text() if log.is_file() else ""

    def _check_seal(self, work):
        """Assert that a full plan beside a valid seal has no jobs, and the same lines."""
        full = session.start(self.values(), chain=kinds.CHAIN, request=DRY_RUN)
        assert (full.plan.jobs, full.plan.files_to_retire) == ({}, ())
        assert (full.plan_lines(), full.dry_run_lines()) == (
            work.plan_lines(),
            work.dry_run_lines(),
        )
        assert session_end.finish(full) == session_end.finish(work)

    def _check_open(self, work):
        """Assert that a plan of some nights has the jobs and lines of a full plan."""
        type(self).opened += 1
        full = session.start(self.values(), chain=kinds.CHAIN, request=DRY_RUN)
        some, all_ = work.plan.jobs, full.plan.jobs
        assert list(some.values()) == list(all_.values()), _differing_products(some, all_)
        if not work.plan.products_to_retire:
            # Else products have been moved away by now.
            assert work.plan_lines() == full.plan_lines()

    def _check_end(self, work, lines):
        """Assert that a run with a plan of some nights has the last lines of all nights."""
        full = session.start(self.values(), chain=kinds.CHAIN, request=DRY_RUN)
        # A run with nothing to do says nothing of products that waited in the one before.
        has_waited = work.waiting_records or work.provisional_records
        if not (work.failed_records or work.postponed_records or has_waited):
            last = session_end.finish(full)[0]
            assert lines == last, [*sorted(set(lines) ^ set(last)), "---", *lines, "---", *last]

    def arguments(self, *arguments, cores=2, config=()):
        """Return Snakemake's arguments."""
        self.root.joinpath("config.yaml").write_text(
            yaml.safe_dump({**_CONFIG, **self.used_config})
        )
        folders = [f"{name}={getattr(self, name)}" for name in ("raw", "results", "cameras")]
        return [
            "--snakefile", str(self.project / "Snakefile"), "--cores", str(cores),
            "--directory", str(self.root / "work"), *arguments,
            "--configfile", str(self.root / "config.yaml"), "--config", *folders, *config,
        ]  # fmt: skip

    def command(self, *arguments, **options):
        """Return Snakemake's command line."""
        return [sys.executable, "-m", "snakemake", *self.arguments(*arguments, **options)]

    def environment(self, *, faults=None, code="", env=()):
        """Return the environment of a run whose pictures are stand-ins.

        ``faults`` is {product: error that its job raises, as Python writes it}; ``code`` is run
        when the first job begins; ``env`` is added to the environment.
        """
        (self.root / "work").mkdir(exist_ok=True)
        here = Path(__file__).parent
        return {
            **os.environ, "PYTHONPATH": f"{here / 'hooks'}:{here}",
            "CCDFLOW_TEST_FAULTS": json.dumps(faults or {}), "CCDFLOW_TEST_CODE": code,
            **dict(env),
        }  # fmt: skip

    def start(self, *arguments, cores=2, config=(), **options):
        """Start Snakemake in a group of its own; ``options`` as for `environment`."""
        return subprocess.Popen(
            self.command(*arguments, cores=cores, config=config),
            cwd=self.project, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            encoding="utf-8", errors="backslashreplace", env=self.environment(**options),
        )  # fmt: skip

    def snakemake(self, *arguments, cores=2, config=(), **options):
        """Run Snakemake as a user does, with stand-ins for pictures."""
        status, output = ready_python.run(
            self.arguments(*arguments, cores=cores, config=config),
            folder=self.project,
            environment=self.environment(**options),
        )
        return Outcome(self._jobs(), own_lines(output), status, output)

    def _jobs(self):
        """Return the products of the jobs in Snakemake's last log, sorted."""
        logs = sorted((self.root / "work" / ".snakemake" / "log").glob("*.log"))
        text = logs[-1].read_text() if logs else ""
        made = re.findall(r"^Job \d+: .* -> (.*)$", text, re.M)
        return sorted(path.removeprefix(f"{self.results}/") for path in made)

    def clean(self):
        """Return a sandbox with the same raw frames and settings, and no results."""
        other = self.root.with_name(self.root.name + "-clean")
        shutil.rmtree(other, ignore_errors=True)
        fresh = Sandbox(other, dict(self.config))
        for camera, values in self.profiles.items():
            fresh.profile(camera, **values)
        huge = []

        def pass_over(folder, names):
            """Return the names that a copy leaves out."""
            paths = [Path(folder) / name for name in names]
            huge.extend(path for path in paths if path.lstat().st_size > 1 << 26)
            return [path.name for path in paths if path in huge]

        options = {"dirs_exist_ok": True, "symlinks": True, "ignore": pass_over}
        shutil.copytree(self.raw, fresh.raw, **options)
        for path in huge:
            # Files as large as this are all but holes: their copies take no disk either.
            target = fresh.raw / path.relative_to(self.raw)
            command = ["cp", "--preserve=all", "--sparse=always", path, target]
            subprocess.run(command, check=True)
        return fresh


def archive_of_two_cameras(root):
    """Return an archive of a night: three packed frames of one camera, a plain one of another."""
    made = Sandbox(root)
    for number in range(3):
        made.put(f"n1/alpha{number}.fits.gz", number, camera="alpha", size=SMALL_FRAME)
    made.put("n1/deep/er/beta.FIT", 7, camera="beta", is_packed=False, size=SMALL_FRAME)
    return made


def _differing_products(some, others):
    """Return the products whose jobs differ between two plans."""
    names = some.keys() | others.keys()
    return {n: (some.get(n), others.get(n)) for n in names if some.get(n) != others.get(n)}


def make(context, job, *, threads=1):
    """Make a job's product by `kinds.make`, which a test may have replaced."""
    return kinds.make(context, job, threads=threads)


def own_lines(output):
    """Return the lines that ccdflow printed, without its name."""
    return [
        line.removeprefix("ccdflow: ")
        for line in output.splitlines()
        if line.startswith("ccdflow: ")
    ]


@dataclass(frozen=True)
class Snapshot:
    """The bytes and stamps of a folder's files; a file that is written again gets a new stamp."""

    contents: dict
    stamps: dict

    def changed_names(self, later):
        """Return the sorted names that are new, or were written again, in a later one."""
        return sorted(n for n, stamp in later.stamps.items() if self.stamps.get(n) != stamp)

    def lost(self, later):
        """Return the sorted names that a later one does not have."""
        return sorted(set(self.stamps) - set(later.stamps))


def snapshot(folder, *, has_notes=False):
    """Return the `Snapshot` of a folder; ccdflow's own notes only with ``has_notes``."""
    contents, stamps = {}, {}
    for top, folders, names in os.walk(folder):
        if not has_notes:
            folders[:] = [name for name in folders if name != ".ccdflow"]
        for name in names:
            path = Path(top) / name
            status = path.lstat()
            relative = path.relative_to(folder).as_posix()
            contents[relative] = path.read_bytes()
            stamps[relative] = (status.st_ino, status.st_size, status.st_mtime_ns)
        if has_notes:
            stamps[os.path.relpath(top, folder)] = Path(top).stat().st_mtime_ns
    return Snapshot(contents, stamps)


def products(folder):
    """Return {name: bytes} of the products, without those that were set aside."""
    return {
        name: content
        for name, content in snapshot(folder).contents.items()
        if not name.startswith("set_aside/")
    }
