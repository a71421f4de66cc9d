"""List the products of a run, with a line on each: the end of `make demo`.

python scripts/demo.py raw=FOLDER results=FOLDER

Example, after `make demo`:

python scripts/demo.py raw=demo/raw results=demo/results
"""

from __future__ import annotations

import os
import shlex
import sys
import webbrowser
from collections import Counter
from pathlib import Path

from ccdflow import command_lines, paths

# isort: split
from astropy.io import fits

from ccdflow.errors import UserError
from ccdflow.files.fits_products import compressed_images
from ccdflow.run.raw_frames.inventory_table import read_inventory
from ccdflow.run.raw_frames.rows import SET_ASIDE

# The tables that a run makes of its products, with a line on each.
_TABLES = {
    paths.BIAS_QUALITY: "levels and noises of the biases",
    paths.DARK_QUALITY: "dark current and hot pixels",
    paths.FLAT_QUALITY: "level and signal to noise of the flats",
    paths.DETECTOR_FILE: "gain, read noise and linearity as measured, beside the header's",
    paths.EVENTS_FILE: "steps in the detector's figures, with their nights",
    paths.ASSOCIATIONS_FILE: "which masters each frame was calibrated with, and why",
}


def parse(arguments=None):
    """Return the parsed command line."""
    parser = command_lines.parser(__doc__, names=("raw", "results"))
    return command_lines.parse_arguments(parser, arguments)


def products(results):
    """Return a run's products as (path, description), in the order in which to look at them.

    Parameters
    ----------
    results : Path

    Returns
    -------
    list of (Path, str)

    Raises
    ------
    UserError
        If there is no inventory.
    """
    table = results / paths.INVENTORY
    if not table.is_file():
        raise UserError(
            "there is no inventory: nothing was made here",
            file=str(results),
            remedy="look at the lines of snakemake above",
        )
    frames = read_inventory(table)
    text = f"the table of all {len(frames)} raw frames: {_counts_of_types(frames)}"
    if n_set_aside := int((frames["status"] == SET_ASIDE).sum()):
        text += f"; {n_set_aside} set aside, each with its reason"
    entries = [(table, text)]
    entries += _reduced_frames(results / paths.REDUCED_FOLDER)
    masters = sorted((results / paths.COMBINED_FOLDER).glob("*/*.fits"))
    entries += [(path, _line_on_master(path)) for path in masters]
    entries += _calibrated_frames(results / paths.CALIBRATED_FOLDER)
    entries += _detector_products(results / paths.DETECTOR_FOLDER)
    table_and_page_entries = [(results / name, text) for name, text in _TABLES.items()]
    for night in sorted(set(frames["night"])):
        picture = results / paths.night_folder(night) / paths.BEFORE_AFTER
        table_and_page_entries += [
            (picture, "raw beside reduced, a frame of each type"),
            (
                results / paths.night_page(night),
                f"the page of the night of {night}: open it in a browser",
            ),
        ]
    table_and_page_entries.append((results / paths.REPORT_PAGE, "the overview of all nights"))
    return entries + [(path, text) for path, text in table_and_page_entries if path.is_file()]


def _counts_of_types(frames):
    """Return the number of frames of each type in the inventory, in words."""
    counts = Counter(frames["type"])
    return ", ".join(f"{count} {type_ or 'unreadable'}" for type_, count in sorted(counts.items()))


def _reduced_frames(folder):
    """Return [(folder, words on its reduced frames)], [] without reduced frames."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        return []
    size = sum(path.stat().st_size for path in files) / 1e6
    shapes = Counter(_shape_and_type(path) for path in files)
    text = ", ".join(f"{count} of {shape}" for shape, count in sorted(shapes.items()))
    return [(folder, f"the reduced frames, overscan subtracted and trimmed: {text}; {size:.0f} MB")]


def _calibrated_frames(folder):
    """Return [(path, words)] of the calibrated frames."""
    entries = []
    for path in sorted(folder.rglob("*.fits")):
        with fits.open(path) as hdus:
            first, *other_hdus = compressed_images.hdus_in_plain_order(hdus)
            names, header = [hdu.name for hdu in other_hdus], first.header
            unit = {"electron": "electrons"}.get(header["BUNIT"], header["BUNIT"])
            extension_words = f", with {' and '.join(names)}" if names else ""
            text = f"a calibrated frame in {unit}{extension_words}: grade {header['CALGRADE']}"
        entries.append((path, text))
    return entries


def _detector_products(folder):
    """Return [(path, words)] of tables of bad pixels, each night's and of all, and of shutters."""
    entries = []
    for path in sorted(folder.rglob("*.fits")):
        text = "a map made of the detector's measurements"
        if path.name.startswith(paths.PIXELS_START):
            text = f"the bad pixels that the night of {path.parent.name} shows"
        elif path.name.startswith(paths.BAD_PIXELS_START):
            text = "the bad pixels of all nights, with the nights in which each was bad"
        elif path.name.startswith(paths.SHUTTER_START):
            text = f"the shutter's dead time by the flats of {path.parent.name}"
        entries.append((path, text))
    return entries


def _shape_and_type(path):
    """Return columns x rows and the type of a product's pixels, by its FITS header."""
    header = fits.getheader(path)
    if not header.get("NAXIS"):
        return "several extensions"
    return f"{header['NAXIS1']} x {header['NAXIS2']} float{abs(header['BITPIX'])}"


def _line_on_master(path):
    """Return the words on a combined bias, dark or flat."""
    header = fits.getheader(path)
    kind = path.name.partition("_")[0]
    words_by_kind = {
        "dark": f" of {header.get('EXPTIME', 0):g} s",
        "flat": f" in {header.get('FILTER')}",
    }
    shape = _shape_and_type(path)
    return f"the combined {kind}{words_by_kind.get(kind, '')}: {header['NCOMBINE']} frames, {shape}"


def message(raw, results):
    """Return the closing message of a demonstration.

    Parameters
    ----------
    raw, results : pathlib.Path
        Folders of the demonstration.

    Returns
    -------
    str
    """
    lines = [f"Made of the raw frames in {raw}:", ""]
    for path, text in products(results):
        name = f"{path}/" if path.is_dir() else str(path)
        lines += [f"  {name}", f"      {text}"]
    lines += [
        "",
        "The same of your own frames, with 2 cores:",
        "",
        f"  . {shlex.quote(f'{_environment_folder()}/bin/activate')}",
        "  snakemake --cores 2 --config raw=FOLDER results=FOLDER",
    ]
    index = results / paths.REPORT_PAGE
    if index.is_file():
        lines += ["", f"Open {index} in a browser: it leads to all of them."]
    return "\n".join(lines)


def _environment_folder():
    """Return the folder of this Python's environment, as a short path."""
    folder, current_folder = Path(sys.prefix), Path.cwd()
    return folder.relative_to(current_folder) if folder.is_relative_to(current_folder) else folder


def run(options):
    """Return the closing message for the folders of the command line."""
    raw, results = (command_lines.path(options, name, may_lack_name=True) for name in options.names)
    command_lines.refuse_further_words(options)
    return f"\n{message(raw, results)}"


def offer_to_open(index):
    """Ask at a terminal with a browser whether to open the overview, and open it after a yes.

    Parameters
    ----------
    index : Path
        The page.

    Returns
    -------
    bool
        Whether the page was opened: never without the question, which is not asked in CI.
    """
    can_ask = sys.stdin.isatty() and sys.stdout.isatty() and not os.environ.get("CI")
    if not can_ask or not index.is_file():
        return False
    try:
        command_lines.allow_interrupts()
        browser = webbrowser.get()
        answer = input("Open it now? [y/N] ")
    except (webbrowser.Error, EOFError, KeyboardInterrupt):
        return False
    return answer.strip().lower() in ("y", "yes") and browser.open(index.resolve().as_uri())


def main(arguments=None):
    """Run the command line and return its exit status."""
    status = command_lines.run(run, parse, arguments)
    if status == 0:
        offer_to_open(
            command_lines.path(parse(arguments), "results", may_lack_name=True) / paths.REPORT_PAGE
        )
    return status


if __name__ == "__main__":
    sys.exit(main())
