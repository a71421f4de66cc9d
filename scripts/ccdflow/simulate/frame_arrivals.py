"""A telescope for tests and demonstrations: frames arrive one by one, each in two halves."""

from __future__ import annotations

import time
from pathlib import Path

from ccdflow.errors import UserError


def observe(source, raw, *, every, sleep=time.sleep):
    """Write the frames of a folder into another one at a given pace, each in two halves.

    Frames arrive in the order of their times of change, then of their names. As at many telescopes,
    an incomplete file has its final name already.

    Parameters
    ----------
    source : path-like
        Folder with raw frames.
    raw : path-like
        Folder in which the frames arrive; made if it is missing.
    every : float
        Seconds from one frame to the next; the halves of a frame are half of that apart.
    sleep : callable, optional
        Called with seconds to wait.

    Yields
    ------
    pathlib.Path
        Path of each frame when it is complete.

    Raises
    ------
    UserError
        If there is no frame, or a frame would replace an original or lie in the folder of the
        originals.
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
        n_first_bytes = len(content) // 2
        with target.open("wb") as file:
            file.write(content[:n_first_bytes])
            file.flush()
            sleep(every / 2)
            file.write(content[n_first_bytes:])
        yield target
        sleep(every / 2)


def _check_apart(source, raw):
    """Raise `UserError` if one of the folders contains the other."""
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
