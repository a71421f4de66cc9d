"""Folders of simulated frames: the guide's night, a run of biases, an archive of many nights."""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from ccdflow.errors import UserError
from ccdflow.files import atomic_write
from ccdflow.simulate import truth
from ccdflow.simulate.camera import ARCHIVE_CAMERA, LFC
from ccdflow.simulate.drawing import draw_guide_detector
from ccdflow.simulate.files import make_folder, write_frame
from ccdflow.simulate.guide import realise, render
from ccdflow.simulate.observing_log import (
    MOST_FRAMES_PER_NIGHT,
    LogLine,
    archive_frames,
    guide_frames,
)
from ccdflow.simulate.optics import flat_response
from ccdflow.simulate.raw_cards import header_cards
from ccdflow.simulate.user_values import check_number, parse_date

# File with the parameters of a simulated archive.
_ARCHIVE_FILE = "archive.json"


def simulate_night(
    folder,
    *,
    seed=2016,
    scale=1.0,
    camera=LFC,
    date="2016-01-16",
    darks_date=None,
    overwrites=False,
    workers=2,
):
    """Write the LFC night of the guide: 14 frames, 10 in ``darks``, and an observer's other files.

    Existing frames with the same parameters stay unchanged.

    Parameters
    ----------
    folder : path-like
        Made where it is missing.
    seed : int, optional
        Equal seeds give equal bytes; the default is the year of the guide's night.
    scale : float, optional
        Fraction of the camera's science rows and columns; the overscan stays 32 columns wide.
        1/16 makes frames of 160 x 258.
    camera : ccdflow.simulate.camera.SimulatedCamera, optional
    date, darks_date : str, optional
        UT date (YYYY-MM-DD) of the frames, and of the frames in ``darks`` (default: `date`).
    overwrites : bool, optional
        Whether all frames are written, also over another simulation or over equal names.
    workers : int, optional
        Threads; the default is for a small machine.

    Returns
    -------
    ccdflow.simulate.truth.Truth
        The injected truth.

    Raises
    ------
    UserError
        If a parameter is out of range, or the folder has frames of another origin.
    """
    frames = guide_frames(date=date, darks_date=darks_date)
    folder = Path(folder)
    injected = _simulate_frames(
        folder, frames, camera.scale_by(scale), seed=seed, overwrites=overwrites, workers=workers
    )
    _write_other_files(folder, [frame for frame in frames if "/" not in frame.file])
    return injected


def simulate_biases(
    folder,
    count,
    *,
    seed=2016,
    scale=1.0,
    camera=LFC,
    date="2016-01-16",
    overwrites=False,
    workers=2,
):
    """Write a run of different biases, ``bias.0001.fits.gz`` and so on, one every 20 s.

    Other parameters and errors are those of `simulate_night`.

    Parameters
    ----------
    folder : path-like
        Made where it is missing.
    count : int
        Number of biases: at most `MOST_FRAMES_PER_NIGHT`.
    seed : int, optional
        Equal seeds give equal bytes; the default is the year of the guide's night.
    scale : float, optional
        Fraction of the camera's science rows and columns.
    camera : ccdflow.simulate.camera.SimulatedCamera, optional
    date : str, optional
        YYYY-MM-DD.
    overwrites : bool, optional
        Whether another simulation in the folder is replaced.
    workers : int, optional
        Threads; the default is for a small machine.

    Returns
    -------
    ccdflow.simulate.truth.Truth
    """
    check_number("count", count, least=1, most=MOST_FRAMES_PER_NIGHT)
    first = datetime.fromisoformat(f"{parse_date(date)}T01:00:00")
    frames = tuple(
        LogLine(
            file=f"bias.{n:04d}.fits.gz",
            number=n,
            imagetyp="BIAS",
            object="bias",
            filter="i'",
            exptime=0.0,
            start=first + n * timedelta(seconds=20),
        )
        for n in range(1, count + 1)
    )
    return _simulate_frames(
        Path(folder),
        frames,
        camera.scale_by(scale),
        seed=seed,
        overwrites=overwrites,
        workers=workers,
    )


def _simulate_frames(folder, frames, camera, *, seed, overwrites, workers):
    """Write the missing frames and the truth of all frames, and return the truth.

    Parameters
    ----------
    folder : pathlib.Path
    frames : sequence of LogLine
    camera : ccdflow.simulate.camera.SimulatedCamera
    seed : int
    overwrites : bool
    workers : int
        Threads.

    Returns
    -------
    ccdflow.simulate.truth.Truth
    """
    check_number("seed", seed, least=0)
    check_number("workers", workers, least=1)
    parameters = {
        "simulator": truth.SIMULATOR_VERSION,
        "seed": seed,
        "camera": camera.parameters(),
        "frames": {frame.file: frame.start.isoformat() for frame in frames},
    }
    truth.check_simulation_folder(folder, frames, parameters, overwrites=overwrites)
    truth_content = truth.read_truth_file(folder)
    is_resumed = not overwrites and truth_content is not None
    missing_frames = [f for f in frames if not is_resumed or not (folder / f.file).exists()]
    if not missing_frames and truth_content["complete"] and (folder / truth.TRUTH_ARRAYS).exists():
        return truth.read_truth(folder)
    make_folder(folder)
    write_truth = partial(truth.write_truth_file, folder, parameters=parameters, camera=camera)
    write_truth(is_complete=False, frames={})
    realisations = {frame: realise(camera, frame, seed=seed) for frame in frames}
    detector, responses = _write_frames(
        folder, missing_frames, camera, realisations, seed=seed, workers=workers
    )
    truth.write_truth_arrays(folder, detector, realisations, responses)
    write_truth(
        is_complete=True,
        frames={
            f.file: truth.frame_truth(f, realisation) for f, realisation in realisations.items()
        },
    )
    return truth.read_truth(folder)


def _write_frames(folder, frames, camera, realisations, *, seed, workers):
    """Write some frames with drawn values; return their detector and responses.

    Parameters
    ----------
    folder : pathlib.Path
    frames : list of LogLine
    camera : ccdflow.simulate.camera.SimulatedCamera
    realisations : dict of LogLine to ccdflow.simulate.guide.Realisation
        Realisations of all frames.
    seed : int
    workers : int
        Threads.

    Returns
    -------
    detector : ccdflow.simulate.chip.Detector
    responses : dict of str to numpy.ndarray of shape (ny, nx), float32
        By filter, for the filters in which a frame has light.
    """
    detector = draw_guide_detector(camera, seed=seed)
    bands = {frame.filter for frame, realisation in realisations.items() if realisation.signal}
    responses = {band: flat_response(camera, band, seed=seed) for band in sorted(bands)}
    for parent in {(folder / frame.file).parent for frame in frames}:
        make_folder(parent)

    def write(frame):
        """Render and write one frame."""
        response = responses[frame.filter] if realisations[frame].signal else None
        raw = render(camera, detector, frame, realisations[frame], response=response)
        write_frame(folder / frame.file, raw, header_cards(camera, frame, seed=seed))

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(write, frames))
    return detector, responses


def _write_other_files(folder, frames):
    """Write the missing files of an observer's folder that are not frames."""
    lines = ["frame,file,object,imagetyp,filter,exptime,ut"]
    lines += [
        f"{f.number},{f.file},{f.object},{f.imagetyp},{f.filter},{f.exptime},{f.start:%H:%M:%S}"
        for f in frames
    ]
    # The file .DS_Store of macOS has 6148 bytes.
    contents = {
        "observing_log.csv": ("\n".join(lines) + "\n").encode(),
        ".DS_Store": b"\0\0\0\x01Bud1" + bytes(6140),
    }
    for name, content in contents.items():
        if not (folder / name).exists():
            atomic_write.write_whole(folder / name, [content])


def simulate_archive(
    folder,
    *,
    nights,
    frames_per_night,
    first_date="2016-01-16",
    seed=2016,
    camera=ARCHIVE_CAMERA,
    workers=2,
):
    """Write consecutive nights of tiny frames, a folder each; return the number of new frames.

    Existing frames stay unchanged: a call with more nights or more frames a night adds only these.
    No truth of single frames is written: `realise` gives it again.

    Parameters
    ----------
    folder : path-like
    nights, frames_per_night : int
        Numbers; at most `MOST_FRAMES_PER_NIGHT` frames a night.
    first_date : str, optional
        UT date (YYYY-MM-DD) of the first night's frames: the day after its evening.
    seed : int, optional
        The default is the year of the guide's night.
    camera : ccdflow.simulate.camera.SimulatedCamera, optional
    workers : int, optional
        Processes; the default is for a small machine.

    Returns
    -------
    int
        Number of frames that this call wrote.

    Raises
    ------
    UserError
        If a number is out of range, or the folder has files of another origin.
    """
    check_number("nights", nights, least=1)
    check_number("frames_per_night", frames_per_night, least=1, most=MOST_FRAMES_PER_NIGHT)
    check_number("workers", workers, least=1)
    check_number("seed", seed, least=0)
    folder = Path(folder)
    evenings = [parse_date(first_date) + timedelta(days=n - 1) for n in range(nights)]
    _claim_archive(folder, camera, seed)
    write = partial(_write_archive_night, folder, frames_per_night, camera, seed)
    if workers == 1 or nights == 1:
        return sum(map(write, evenings))
    # Processes are spawned: a caller with threads, such as pytest or Snakemake, is unsafe to fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, nights), mp_context=context) as pool:
        return sum(pool.map(write, evenings, chunksize=-(-nights // (8 * workers))))


def _claim_archive(folder, camera, seed):
    """Write the parameters of the archive into its folder; refuse a folder with other content."""
    parameters = {
        "simulator": truth.SIMULATOR_VERSION,
        "seed": seed,
        "camera": camera.parameters(),
    }
    path = folder / _ARCHIVE_FILE
    if path.exists():
        if json.loads(path.read_text(encoding="utf-8")) != parameters:
            raise UserError(
                "this folder holds an archive with other parameters",
                file=path,
                remedy="choose another folder",
            )
        return
    make_folder(folder)
    if any(folder.iterdir()):
        raise UserError(
            "this folder holds files that the simulator did not write",
            file=folder,
            remedy="choose an empty or a new folder",
        )
    atomic_write.write_text(path, json.dumps(parameters, indent=1) + "\n")


def _write_archive_night(folder, n_frames, camera, seed, night):
    """Write the missing frames of a night; return their number.

    Parameters
    ----------
    folder : pathlib.Path
    n_frames : int
        Number of frames of the night.
    camera : ccdflow.simulate.camera.SimulatedCamera
    seed : int
    night : datetime.date
    """
    frames = archive_frames(night, n_frames)
    names_present = set()
    if (folder / night.isoformat()).is_dir():
        names_present = {entry.name for entry in (folder / night.isoformat()).iterdir()}
    missing_frames = [frame for frame in frames if Path(frame.file).name not in names_present]
    realisations = {frame: realise(camera, frame, seed=seed) for frame in missing_frames}
    _write_frames(folder, missing_frames, camera, realisations, seed=seed, workers=1)
    return len(missing_frames)
