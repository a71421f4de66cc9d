"""Messages of a run whose terminal has gone: none is an error, and the run goes on to its end."""

import logging
import os
import sys
from pathlib import Path

import pytest

from ccdflow.run.under_snakemake import lasting_streams
from ccdflow.run.under_snakemake.lasting_streams import LastingStream


def closed_pipe(buffering):
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w", buffering=buffering)


def device_of(stream):
    return os.fstat(stream.fileno()).st_rdev


def null_device():
    return Path(os.devnull).stat().st_rdev


# Standard error writes line by line, a pipe of standard output in blocks.
@pytest.mark.parametrize("buffering", [1, -1])
def test_a_stream_without_a_reader_leads_nowhere(buffering):
    stream = LastingStream(closed_pipe(buffering))
    print("a line", file=stream, flush=True)
    assert device_of(stream) == null_device()
    stream.writelines(["more\n"] * 10_000)
    # No error is left for the end of the process.
    stream.close()


def test_a_full_disk_costs_the_message_alone():
    with Path("/dev/full").open("w", buffering=1) as full:
        stream = LastingStream(full)
        before = device_of(stream)
        assert stream.write("a line\n") == 7
        stream.flush()
        assert device_of(stream) == before
        # The disk has room again.
        reader, writer = os.pipe()
        os.dup2(writer, stream.fileno())
        os.close(writer)
        stream.write("another\n")
    with os.fdopen(reader) as file:
        assert file.read().endswith("another\n")


def test_streams_are_replaced_once_and_their_handlers_follow(monkeypatch):
    gone = closed_pipe(1)
    monkeypatch.setattr(sys, "stderr", gone)
    monkeypatch.setattr(sys, "stdout", None)
    ours, other, queue = logging.StreamHandler(gone), logging.StreamHandler(sys.__stdin__), object()
    lasting_streams.outlast([ours, other, queue])
    lasting = sys.stderr
    assert ours.stream is lasting
    assert other.stream is sys.__stdin__
    # The program that started this process had closed its standard output.
    print("a line", flush=True)
    assert device_of(sys.stdout) == null_device()
    lasting_streams.outlast([ours])
    assert sys.stderr is lasting
    for stream in (sys.stdout, lasting):
        stream.close()
