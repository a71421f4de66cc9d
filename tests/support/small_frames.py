"""Raw frames made up for tests, and the workflow's jobs run one after the other in this process."""

from __future__ import annotations

import gzip
import io
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from astropy.io import fits

from ccdflow import kinds as kinds_module
from ccdflow import settings
from ccdflow.camera.geometry import Amplifier, Geometry
from ccdflow.camera.sections import Region
from ccdflow.run import session, worker
from ccdflow.run.context import JobContext
from ccdflow.run.ending import session_end


def region(text):
    """Return the region of a FITS section without its brackets."""
    return Region.from_fits(f"[{text}]")


def amplifier(data, overscan=(), *, along=None, place=None, name="A", hdu=0, **more):
    """Return an amplifier of FITS sections; by default its data are in the product's corner."""
    data = region(data)
    ny, nx = data.shape
    strips = tuple(region(s) for s in ([overscan] if isinstance(overscan, str) else overscan))
    return Amplifier(
        name=name,
        hdu=hdu,
        data=data,
        overscan=strips,
        along=along or ("rows" if strips else "none"),
        place=region(place) if place else Region(0, ny, 0, nx),
        **more,
    )


def geometry(raw_shape, *amplifiers, layout="image"):
    """Return the geometry of a frame in which all HDUs have one shape."""
    hdus = sorted({a.hdu for a in amplifiers})
    extensions = ()
    if layout == "extensions":
        extensions = tuple((h, _extent([a for a in amplifiers if a.hdu == h])) for h in hdus)
    return Geometry(
        camera="test",
        shape=_extent(amplifiers) if layout == "image" else extensions[0][1],
        amplifiers=amplifiers,
        layout=layout,
        source="profile",
        raw_shapes=tuple((hdu, raw_shape) for hdu in hdus),
        extension_shapes=extensions,
    )


def _extent(amplifiers):
    """Return (ny, nx) of the image that amplifiers cover."""
    return max(a.place.y1 for a in amplifiers), max(a.place.x1 for a in amplifiers)


# -- files -----------------------------------------------------------------------------------------


def write_raw(path, *hdus, more=()):
    """Write a raw file of (data, cards) pairs, compressed if its name ends in ``.gz``.

    Parameters
    ----------
    path : path-like
    *hdus : (numpy.ndarray or None, dict)
        Pairs of the HDUs, the primary one first.
    more : iterable of str
        Texts of further cards for the primary header.

    Returns
    -------
    pathlib.Path
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = raw_bytes(*hdus, more=more)
    path.write_bytes(gzip.compress(content, 1, mtime=0) if path.suffix == ".gz" else content)
    return path


def raw_bytes(*hdus, more=()):
    """Return the bytes of a raw file; arguments are those of `write_raw`.

    Headers with usual cards are written without astropy, which takes longer.
    """
    structures = [
        _structure(n == 0, None if data is None else (data.dtype.str, data.shape))
        for n, (data, _) in enumerate(hdus)
    ]
    is_usual = not more and all(
        len(keyword) <= 8 and keyword not in odd and isinstance(value, str | int | float)
        for (_, cards), (_, odd) in zip(hdus, structures, strict=True)
        for keyword, value in cards.items()
    )
    if not is_usual:
        return _bytes_by_astropy(hdus, more)
    parts = []
    for (data, cards), (first, _) in zip(hdus, structures, strict=True):
        text = first + "".join(str(fits.Card(*each)) for each in cards.items()) + "END".ljust(80)
        parts.append(text.encode("ascii"))
        parts.append(b" " * (-len(text) % 2880))
        if data is not None:
            if data.dtype.kind == "u" and data.dtype.itemsize > 1:
                data = data ^ data.dtype.type(1 << 8 * data.dtype.itemsize - 1)
            stored = np.ascontiguousarray(data).astype(data.dtype.newbyteorder(">")).tobytes()
            parts += [stored, b"\0" * (-len(stored) % 2880)]
    return b"".join(parts)


@cache
def _structure(is_first, form):
    """Return the structural cards of an image in astropy's form, and the keywords of its own."""
    data = None if form is None else np.zeros(form[1], form[0])
    hdu = (fits.PrimaryHDU if is_first else fits.ImageHDU)(data)
    file = io.BytesIO()
    fits.HDUList([hdu] if is_first else [fits.PrimaryHDU(), hdu]).writeto(file)
    file.seek(0)
    header = fits.open(file)[0 if is_first else 1].header
    others = {"COMMENT", "HISTORY", "", "BZERO", "BSCALE", "EXTNAME", "EXTVER", "CHECKSUM"}
    return "".join(map(str, header.cards)), frozenset(others.union(header))


def _bytes_by_astropy(hdus, more):
    """Return the bytes of a raw file that astropy writes."""
    hdu_list = fits.HDUList()
    for data, cards in hdus:
        hdu = (fits.ImageHDU if hdu_list else fits.PrimaryHDU)(data)
        for keyword, value in cards.items():
            hdu.header[keyword] = value
        hdu_list.append(hdu)
    for text in more:
        hdu_list[0].header.append(fits.Card.fromstring(text), end=True)
    file = io.BytesIO()
    hdu_list.writeto(file, output_verify="ignore")
    return file.getvalue()


def biases(n, shape=(40, 72), *, level=1000, noise=4.0, wide=64, seed=1):
    """Yield `n` raw biases, uint16: a level, noise, and a slope along the rows."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(0, 6, wide)
    for _ in range(n):
        frame = level + noise * rng.standard_normal(shape)
        frame[:, :wide] += slope
        yield np.rint(frame).astype(np.uint16)


LFC_LIKE = """\
recognise: {{INSTRUME: {name}}}
site: {{longitude: -116.9}}
amplifiers:
  - name: A
    data: {{python: "[:, 0:64]"}}
    overscan: {{python: "[:, 66:]"}}
    gain: 1.5
    read_noise: 6.0
"""


def bias_cards(number, *, name="TESTCAM", **more):
    """Return the cards of a bias that was taken `number` minutes after the first one."""
    return {
        "INSTRUME": name,
        "IMAGETYP": "BIAS",
        "EXPTIME": 0.0,
        "DATE-OBS": f"2020-03-01T{2 + number // 60:02d}:{number % 60:02d}:00",
        "OBJECT": "bias",
        **more,
    }


# -- the workflow without Snakemake ----------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """The result of a run."""

    results: Path
    records: dict
    lines: list
    context: JobContext

    def open(self, product):
        """Return the HDUs of a product, whose checksums and form astropy has checked."""
        content = io.BytesIO((self.results / product).read_bytes())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            hdus = fits.open(content, checksum=True, lazy_load_hdus=False)
            hdus.verify("exception")
        return hdus


def begin(raw, results, cameras, **config):
    """Return the session of a run on a raw folder, which has planned its jobs.

    Parameters
    ----------
    raw, results : path-like
    cameras : dict of str to str
        Profiles' texts by camera.
    **config
        Settings of ``config/config.yaml``. By default no detector is measured, and each row has its
        own level: the expected pixels of these small frames are computed in this way.

    Returns
    -------
    ccdflow.run.session.Session
    """
    folder = Path(results).parent / "cameras"
    folder.mkdir(exist_ok=True)
    for name, text in cameras.items():
        (folder / f"{name}.yaml").write_text(text)
    values = settings.load_settings(
        {"raw": str(raw), "results": str(results), "cameras": str(folder)}
        | {"pictures": {"per_type": 0}, "detector": {"enabled": False}}
        | config
        | {"reduction": {"model": None} | config.get("reduction", {})}
    )
    return session.start(values, chain=kinds_module.CHAIN)


def run_jobs(raw, results, cameras, *, kinds=("frame", "bias"), **config):
    """Return the `Run` of the jobs of some kinds, one after the other; arguments as for `begin`."""
    running = begin(raw, results, cameras, **config)
    try:
        jobs = running.plan.jobs_of_kind(*kinds)
        done = worker.work(running.context, jobs, threads=1, make=kinds_module.make)
        lines, _ = session_end.finish(running)
    finally:
        running.lock.close()
    return Run(Path(results), done.records, lines, running.context)
