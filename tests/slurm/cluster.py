"""A Slurm of two nodes on this machine, with daemons, ports, key and files of its own.

Nothing of the system's is touched: another Slurm may run beside it.
"""

from __future__ import annotations

import getpass
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

TEMPLATE = Path(__file__).with_name("slurm.conf.in")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))


def missing_programs():
    """Return the programs that are not installed."""
    return [name for name in PROGRAMS if not shutil.which(name, path=_PATH)]


class Cluster:
    """Two nodes, n1 and n2, of two cores each.

    Parameters
    ----------
    folder : Path
        An empty folder, on whose path there is no blank.
    """

    def __init__(self, folder):
        self.folder = folder
        self.configuration = folder / "slurm.conf"
        self.environment = {
            **{name: value for name, value in os.environ.items() if "SLURM" not in name},
            "PATH": f"{folder / 'bin'}{os.pathsep}{_PATH}",
            "SLURM_CONF": str(self.configuration),
        }
        self._processes = {}

    def start(self):
        """Start all daemons and wait until both nodes are there."""
        host = socket.gethostname().split(".")[0]
        ports = _free_ports(3)
        text = TEMPLATE.read_text().replace("@DIR@", str(self.folder)).replace("@HOST@", host)
        text = text.replace("@USER@", getpass.getuser())
        for number, port in enumerate(ports):
            text = text.replace(f"@PORT{number}@", str(port))
        self.configuration.write_text(text)
        for name in ("state", "spool.n1", "spool.n2"):
            (self.folder / name).mkdir()
        # The executor plugin takes SLURM_CONF from the environment of srun.
        srun = self.folder / "bin" / "srun"
        srun.parent.mkdir()
        real = shutil.which("srun", path=_PATH)
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={self.configuration} exec {real} "$@"\n')
        srun.chmod(0o755)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        own = [f"--{name}={self.folder}/munge.{name}" for name in ("socket",)]
        own += [f"--key-file={key}", f"--pid-file={self.folder}/munge.pid"]
        own += [f"--log-file={self.folder}/munge.log", f"--seed-file={self.folder}/munge.seed"]
        self._start("munged", "munged", "--foreground", "--force", *own)
        _wait(lambda: (self.folder / "munge.socket").exists(), 120, "munged does not start")
        self._start("slurmctld", "slurmctld", "-D")
        for node in ("n1", "n2"):
            self.start_node(node)
        self.wait_for_nodes()

    def start_node(self, node):
        """Start the daemon of a node."""
        self._start(node, "slurmd", "-D", "-N", node)

    def wait_for_nodes(self):
        """Wait until both nodes take jobs."""
        _wait(lambda: self.states() == {"n1": "idle", "n2": "idle"}, 120, f"nodes: {self.states()}")

    def wait_for_jobs(self):
        """Wait until no job is at work or queues."""
        at_work = "running,pending,completing"
        _wait(lambda: not self.jobs(at_work), 300, f"jobs: {self.jobs()}")

    def states(self):
        """Return {node: state}."""
        answer = self.run("sinfo", "--noheader", "-N", "-o", "%N %T", check=False).stdout
        return dict(line.split() for line in answer.splitlines())

    def kill_node(self, node):
        """Let a node die: its daemon, and all that runs there; the controller knows at once."""
        process = self._processes.pop(node)
        own = self._running_on(node)
        process.kill()
        process.wait()
        for identifier in own:
            _kill(identifier)
        self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=dead")

    def _running_on(self, node):
        """Return the processes of the jobs on a node, and the daemons that look after them."""
        ours = f"SLURM_CONF={self.configuration}".encode()
        there = f"SLURMD_NODENAME={node}".encode()
        identifiers = set()
        for identifier, parent, _ in _processes():
            try:
                words = Path(f"/proc/{identifier}/environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if ours in words and there in words:
                identifiers |= {identifier, parent}
        # The daemons first, which would tell the controller that the job has failed.
        daemons = {
            i for i, _, command in _processes() if command.startswith("slurmstepd")
        } & identifiers
        return [*daemons, *(i for i in identifiers - daemons if self._is_ours(i, there))]

    def _is_ours(self, identifier, there):
        try:
            return there in Path(f"/proc/{identifier}/environ").read_bytes().split(b"\0")
        except OSError:
            return False

    def jobs(self, states="all"):
        """Return [(identifier, state, nodes)] of the jobs."""
        lines = self.run(
            "squeue", "--noheader", f"--states={states}", "-o", "%i %T %N"
        ).stdout.splitlines()
        return [tuple((*line.split(), "")[:3]) for line in lines]

    def run(self, *command, check=True, **options):
        """Run one of Slurm's commands."""
        return subprocess.run(
            command, env=self.environment, check=check, capture_output=True, text=True, **options
        )

    def stop(self):
        """End the daemons that were started here, and no other."""
        for identifier, *_ in self.jobs(states="running,pending,completing"):
            self.run("scancel", "--signal=KILL", "--full", identifier, check=False)
            self.run("scancel", identifier, check=False)
        for name in ("n1", "n2", "slurmctld", "munged"):
            process = self._processes.pop(name, None)
            if process is not None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        for node in ("n1", "n2"):
            for identifier in self._running_on(node):
                _kill(identifier)

    def _start(self, name, *command):
        with (self.folder / f"{name}.out").open("w") as out:
            self._processes[name] = subprocess.Popen(
                command, env=self.environment, stdout=out, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip


def _free_ports(count):
    """Return unused ports, below those that the system gives to other programs."""
    ports = []
    while len(ports) < count:
        port = random.randrange(20000, 32768)
        with socket.socket() as one, suppress(OSError):
            one.bind(("", port))
            ports.append(port)
    return ports


def _wait(condition, seconds, message):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(message)
        time.sleep(0.1)


def _processes():
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text()
            command = (
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            )
        except OSError:
            continue
        yield int(folder.name), int(status.rpartition(")")[2].split()[1]), command


def _kill(identifier):
    with suppress(ProcessLookupError):
        os.kill(identifier, signal.SIGKILL)
