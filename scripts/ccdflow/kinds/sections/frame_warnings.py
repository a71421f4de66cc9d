"""The warnings on frames that were reduced all the same, gathered for the reader.

It stands in the table beside the frame, on the page of its night, and in the last lines of a run.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath
from statistics import median

from ccdflow import paths
from ccdflow.frame.judging import NOISE, NOISIER
from ccdflow.run.context import is_wanted, reduced

# Kinds and cameras that are named at the end of a run; the table has every frame.
MOST = 12
LEFT_OVER = "left over"
LIKE_A_FLAT = "like a flat"
# Fraction of the faintest flat of its camera from which on a science frame is as bright as a flat;
# without flats, adu above the biases.
_OF_FLATS, _BRIGHT = 0.5, 5000.0
# The beginning of a warning within a row's reason.
PREFIX = "warning: "
# Whole adu have a noise of 0.29 adu of their own: quieter strips are not compared.
_QUIETEST = 0.5


def rows_and_records(context, records):
    """Return the rows of frames that are asked for, and a function from product to record.

    A product of a type that is not asked for any more tells nothing, as if it were not there.

    Parameters
    ----------
    context : ccdflow.run.context.Context
        Settings, rows, ledger and groups of the run.
    records : iterable of ccdflow.run.ledger.Record
        Of reduced frames.
    """
    rows = [row for row in context.store.rows.values() if is_wanted(row, context.settings)]
    return rows, {record.product: record for record in records}.get


def found(rows, record_of):
    """Gather the warnings about frames.

    Parameters
    ----------
    rows : iterable of ccdflow.run.rawframes.rows.Row
    record_of : callable
        Gives the record of a reduced frame by the product's name, None where there is none.

    Returns
    -------
    dict of str to list of (str, str)
        By raw file: kind and text of each warning.
    """
    by_file, noises, levels, even = defaultdict(list), {}, {}, []
    for row in rows:
        if PREFIX in row.reason:
            for part in row.reason.split("; "):
                if part.startswith(PREFIX):
                    by_file[row.file].append((LEFT_OVER, part.removeprefix(PREFIX)))
        record = record_of(reduced(row.file))
        if record is None:
            continue
        # A record's data are JSON text until they are read: once.
        data = dict(record.data.items())
        if warned := data.get("warnings"):
            by_file[row.file] += map(tuple, warned)
        noises[row.file] = row, data.get("noises", {})
        if "even" in data:
            even.append((row, data["even"]))
        elif data.get("statistics"):
            of_type = levels.setdefault((row.camera, row.facts["type"]), [])
            of_type.append(data["statistics"][0]["level"])
    for row, level in even:
        by_file[row.file] += _like_a_flat(row, level, levels)
    for file, texts in _unlike_biases(noises).items():
        by_file[file] = [each for each in by_file[file] if each[0] != NOISE]
        by_file[file] += [(NOISE, text) for text in texts]
    return {file: texts for file, texts in by_file.items() if texts}


def _like_a_flat(row, level, levels):
    """Yield the warning for a science frame that is even, if it is as bright as a flat."""
    biases, flats = (levels.get((row.camera, kind), ()) for kind in ("bias", "flat"))
    dark = median(biases) if biases else 0.0
    faintest = _OF_FLATS * (min(flats) - dark) if flats else _BRIGHT
    if level - dark >= faintest:
        yield (
            LIKE_A_FLAT,
            f"taken for science, and as even and bright as a flat ({level - dark:.4g} adu, no star"
            " in it); if it is a flat, write into the camera's profile: types: [{type: flat,"
            f' file: ["{PurePosixPath(row.file).name}"]}}] (* is for any letters)',
        )


def _unlike_biases(noises):
    """Return {file: texts} of frames whose overscan has another noise than biases of its camera."""
    of_biases = defaultdict(list)
    for row, own in noises.values():
        if row.facts["type"] == "bias":
            for name, noise in own.items():
                for key in _keys(row, name):
                    of_biases[key].append(noise)
    usual = {key: max(median(values), _QUIETEST) for key, values in of_biases.items()}
    found = {}
    for file, (row, own) in noises.items() if usual else ():
        texts = []
        for name, noise in own.items():
            normal = next((usual[key] for key in _keys(row, name) if key in usual), None)
            if normal and not 1 / NOISIER <= max(noise, _QUIETEST) / normal <= NOISIER:
                where = f"amplifier {name}: " if len(own) > 1 else ""
                texts.append(
                    f"{where}the overscan has a noise of {noise:.4g} adu, that of the camera's"
                    f" biases is {normal:.4g}: light, structure or another readout is in it; look"
                    " at `overscan:` in the camera's profile"
                )
        if texts:
            found[file] = texts
    return found


def _keys(row, name):
    """Return the keys within which an amplifier's noise is compared: its night first, then all."""
    facts = row.facts
    common = (row.camera, name, facts["ccdsum"], facts["gain"], facts["readmode"])
    return (*common, row.night), common


def table_texts(texts):
    """Return the texts of a frame's warnings that do not stand in its row already."""
    return [PREFIX + text for kind, text in texts if kind != LEFT_OVER]


def sentences(by_file, rows):
    """Return a sentence for each kind and camera: how many frames, the first, and its warning.

    Parameters
    ----------
    by_file : dict of str to list of (str, str)
        As `found` returns it.
    rows : dict of str to ccdflow.run.rawframes.rows.Row
        By raw file.

    Returns
    -------
    list of str
        Those of most frames first.
    """
    kinds = defaultdict(list)
    for file in sorted(by_file):
        for kind, text in dict(reversed(by_file[file])).items():
            kinds[rows[file].camera, kind].append((file, text))
    ranked = sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        f"{camera}: {file}"
        + (f" (the first of {len(those)} frames)" if len(those) > 1 else "")
        + f": {text}"
        for (camera, _), those in ranked
        for file, text in those[:1]
    ]


def lines(by_file, rows):
    """Return the last lines of a run on its frames; arguments as for `sentences`.

    Parameters
    ----------
    by_file : dict of str to list of (str, str)
        As `found` returns it.
    rows : dict of str to ccdflow.run.rawframes.rows.Row
        By raw file.

    Returns
    -------
    list of str
    """
    texts = [PREFIX + text for text in sentences(by_file, rows)]
    if len(texts) > MOST:
        rest = len(texts) - MOST
        texts = [*texts[:MOST], f"... and {rest} more kinds of warnings, see {paths.INVENTORY}"]
    return texts
