"""A telescope for tests and demonstrations: frames of a night arrive one by one, half first."""

from __future__ import annotations

import time
from pathlib import Path

from ccdflow.errors import UserError


def observe(source, raw, *, every, wait=time.sleep):
    """Write the frames of a folder into another one at a given pace, each in two halves.

    Frames come in the order of their times of change, then of their names. A file is there under
    its own name while it is still incomplete, as many telescopes write it.

    Parameters
    ----------
    source : path-like
        Folder with raw frames.
    raw : path-like
        Folder in which they arrive; made if it is missing.
    every : float
        Seconds from one frame to the next; half of it lies between the halves of a frame.
    wait : callable
        Takes seconds.

    Yields
    ------
    pathlib.Path
        Each frame, once it is complete.

    Raises
    ------
    UserError
        If a frame would be written over itself, or into the folder that it comes from, or if there
        is none.
    """
    source, raw = Path(source), Path(raw)
    _check_apart(source, raw)
    files = [path for path in source.rglob("*") if path.is_file() and ".fit" in path.name.lower()]
    if not files:
        raise UserError(
            "the folder holds no raw frame",
            keyword="source",
            value=str(source),
            remedy="give a folder with frames, such as source=demo/raw after `make demo`",
        )
    for path in sorted(files, key=lambda path: (path.stat().st_mtime_ns, path)):
        target = raw / path.relative_to(source)
        if target.exists() and target.samefile(path):
            raise UserError(
                "is the original of the frame", file=str(target), remedy="give another raw=FOLDER"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes()
        half = len(content) // 2
        with target.open("wb") as file:
            file.write(content[:half])
            file.flush()
            wait(every / 2)
            file.write(content[half:])
        yield target
        wait(every / 2)


def _check_apart(source, raw):
    """Raise `UserError` where the originals would be written over."""
    originals, target = source.resolve(), raw.resolve()
    problem = ""
    if originals == target:
        problem = "the folder is that of the originals"
    elif originals in target.parents:
        problem = f"the folder lies in that of the originals ({source})"
    elif target in originals.parents:
        problem = f"the folder of the originals ({source}) lies in it"
    if problem:
        raise UserError(
            problem,
            keyword="raw",
            value=str(raw),
            remedy="give a folder beside it: the frames there are written in halves",
        )
