"""SIGKILL at random moments of runs of the workflow, and checks of the files after each."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter

from held_batches import recorded_keys
from sandbox import products, snapshot

from ccdflow import paths
from ccdflow.run import ledger


def kill_runs(sandbox, *, kills, seed, is_main_alone=False):
    """Run the workflow on a sandbox again and again until it has been killed ``kills`` times.

    Each run goes on where the one before was killed; when one comes to its end, its products are
    compared, and the next starts from nothing.

    Parameters
    ----------
    sandbox : Sandbox
        Without results.
    kills : int
    seed : int
    is_main_alone : bool
        Whether only the main process is killed, and not those that it has started.

    Returns
    -------
    collections.Counter
        ``kills``, ``in jobs`` (those before which there were new products already), ``runs`` that
        came to their end, ``products`` found whole.
    """
    rng = random.Random(seed)
    clean = sandbox.clean()
    clean.run()
    wanted = products(clean.results)
    # By a fork: it is killed once it holds the results folder, when its imports are done.
    begun = time.monotonic()
    assert sandbox.snakemake().status == 0
    length = time.monotonic() - begun
    assert products(sandbox.results) == wanted
    shutil.rmtree(sandbox.results)
    counts = Counter()
    while counts["kills"] < kills:
        before = products(sandbox.results) if sandbox.results.is_dir() else {}
        known = recorded_keys(sandbox.results)
        process = sandbox.start()
        _begin(sandbox, process)
        try:
            output, _ = process.communicate(timeout=rng.uniform(0, length))
        except subprocess.TimeoutExpired:
            (os.kill if is_main_alone else os.killpg)(process.pid, signal.SIGKILL)
            process.communicate()
            counts["kills"] += 1
            counts["in jobs"] += len(products(sandbox.results)) > len(before)
        else:
            assert process.returncode == 0, output
            assert products(sandbox.results) == wanted
            counts["runs"] += 1
        counts["products"] += count_whole_products(sandbox, before, known, wanted)
        if process.returncode == 0:
            shutil.rmtree(sandbox.results)
    last = sandbox.snakemake()
    assert last.status == 0, last.output
    assert products(sandbox.results) == wanted
    again = sandbox.snakemake()
    assert (again.status, again.jobs) == (0, []), again.output
    return counts


def _begin(sandbox, process):
    """Wait until a run holds the results folder."""
    lock = sandbox.results / paths.LOCK
    mark = f"process {process.pid} "
    for _ in range(3000):
        if process.poll() is not None or (lock.is_file() and lock.read_text().startswith(mark)):
            break
        time.sleep(0.01)


def count_whole_products(sandbox, before, known, wanted):
    """Return the number of products, all of them whole: assert that none is cut or lost."""
    contents = snapshot(sandbox.results).contents
    whole = {name: content for name, content in contents.items() if not name.endswith(".part")}
    for name in whole.keys() - {"inventory.csv"}:
        assert whole[name] == wanted[name], f"{name} is not whole"
    for name in (before.keys() & wanted.keys()) - {"inventory.csv"}:
        assert contents.get(name) == before[name], f"{name} is lost"
    later = recorded_keys(sandbox.results)
    for product, key in known.items():
        assert later.get(product) == key, f"{product} was finished, and is not known to be"
    assert ledger.load_ledger(sandbox.results).keys() <= {*later, *wanted}
    return len(whole)
