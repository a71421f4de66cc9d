"""A process that works for another one ends with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SCRIPTS = Path(__file__).parents[3] / "scripts"


def test_a_process_dies_with_its_parent():
    child = (
        f"import os, sys, time\nsys.path.insert(0, {str(SCRIPTS)!r})\n"
        "from ccdflow.run.processes import parent_process\n"
        "parent_process.die_with(os.getppid(), pause=0.05)\n"
        "print(os.getpid(), flush=True)\ntime.sleep(60)"
    )
    parent = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}])\ntime.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    identifier = int(process.stdout.readline())
    time.sleep(0.2)
    os.kill(identifier, 0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # The pipe is closed when the last process that has it is gone.
    assert process.stdout.read() == ""
    process.stdout.close()
