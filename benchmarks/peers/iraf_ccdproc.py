"""IRAF's ccdproc on a folder of gzipped frames: `python iraf_ccdproc.py RAW OUT SCRATCH WORKERS`.

IRAF reads no gzip. Each worker inflates its share of the frames, by pigz if it is installed, and
then runs one irafcl on them. Its folder is also the HOME in which IRAF keeps its parameter files.
"""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SCRIPT = Path(__file__).resolve().with_name("iraf_ccdproc.cl")
INFLATE = shutil.which("pigz") or "gzip"


def reduce(frames, folder, out):
    """Inflate frames into a folder, and let one irafcl write their reduced frames to `out`."""
    folder.mkdir(parents=True)
    # IRAF cuts long path names, so the folder of the products has a short link.
    (folder / "out").symlink_to(out)
    names = [path.name.removesuffix(".gz") for path in frames]
    for path, name in zip(frames, names, strict=True):
        with (folder / name).open("wb") as stream:
            subprocess.run([INFLATE, "-dc", path], stdout=stream, check=True)
    (folder / "in.lst").write_text("".join(f"{name}\n" for name in names))
    (folder / "out.lst").write_text("".join(f"out/{name}\n" for name in names))
    subprocess.run(
        ["irafcl", "-f", SCRIPT],
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        check=True,
    )


def main():
    """Reduce the frames of a folder in some processes."""
    raw, out, scratch = (Path(argument).resolve() for argument in sys.argv[1:4])
    workers = int(sys.argv[4])
    frames = sorted(raw.glob("*.fits.gz"))
    with ThreadPoolExecutor(workers) as pool:
        shares = [frames[i::workers] for i in range(workers)]
        jobs = [pool.submit(reduce, share, scratch / str(i), out) for i, share in enumerate(shares)]
        for job in jobs:
            job.result()


if __name__ == "__main__":
    main()
