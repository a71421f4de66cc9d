"""Tests of temporary files: those of processes that have ended are removed."""

from __future__ import annotations

import os
import socket
import time

import pytest

from ccdflow.files import atomic_write


def test_a_folder_that_another_run_removes_as_empty_is_made_again(tmp_path):
    part = atomic_write.Part(tmp_path / "night" / "a.fits")
    (tmp_path / "night").rmdir()
    with part:
        part.write(b"whole")
        part.keep()
    assert (tmp_path / "night" / "a.fits").read_bytes() == b"whole"


def test_a_temporary_file_of_a_process_that_has_ended_but_was_not_waited_for_is_removed(tmp_path):
    """As in a container whose first process waits for no others."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        os.read(reading, 1)
        os._exit(0)
    part = tmp_path / f".frames.json.{socket.gethostname()}-{process}-1.part"
    part.touch()
    try:
        atomic_write.remove_abandoned(part)
        assert part.exists()
    finally:
        os.write(writing, b"x")
        os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    try:
        atomic_write.remove_abandoned(part)
        assert not part.exists()
    finally:
        os.waitpid(process, 0)
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("name", [".a.fits.otherhost-1-1.part", ".a.fits.part"])
def test_a_temporary_file_of_an_unknown_process_is_removed_after_a_day(tmp_path, name):
    part = tmp_path / name
    for hours, remains in ((23, True), (25, False)):
        part.touch()
        os.utime(part, (time.time() - 3600 * hours,) * 2)
        atomic_write.remove_abandoned(part)
        assert part.exists() is remains
