"""The paths of all files that ccdflow writes, functions that parse them, and the settings' file."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import threading
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

CONFIG_FILE = "config/config.yaml"
"""The configuration file with all defaults, which is only read."""

NAME_MAX = 255
"""File systems allow this many bytes for the name of a file or folder."""

RAW_ENDINGS = (".fits", ".fit", ".fts")
"""Endings of FITS files, in lower case."""

PACKINGS = (".gz", ".fz", ".bz2", ".xz")
"""Suffixes of packings that are read."""

# The endings of most raw files: `is_fits` compares a name with them first, which saves time.
_USUAL_ENDINGS = (".fits", ".fits.gz")

OTHER_PACKINGS = (".z", ".zip", ".zst", ".7z", ".lz", ".lz4", ".lzma", ".rar", ".br")
"""Suffixes of packings that are not read: a warning names the files."""

NAMELESS_PACKINGS = (".fz", ".ftz")
"""Suffixes of packed FITS files: a file with such a suffix and no FITS ending before it is not
read."""

INVENTORY = "inventory.csv"
"""The table of raw frames."""

BIAS_QUALITY = "bias_quality.csv"
"""The table of each night's biases."""

DARK_QUALITY = "dark_quality.csv"
"""The table of each night's darks."""

FLAT_QUALITY = "flat_quality.csv"
"""The table of each night's flats."""

ASSOCIATIONS_FILE = "associations.csv"
"""The table of the masters that each frame took."""

VERIFICATION = "verification.csv"
"""The table of verdicts on products."""

DETECTOR_FILE = "detector.csv"
"""The table of each night's gain, read noise and linearity."""

EVENTS_FILE = "events.csv"
"""The table of steps in a detector's figures from night to night."""

BEFORE_AFTER = "before_after.png"
"""The picture of a night's raw and reduced frames, in the night's folder."""

REPORT_PAGE = "report.html"
"""The page of all nights and, in a night's folder, the page of the night."""

SHEET_FILE = "frames.json"
"""The list of a night's small pictures, in the night's folder."""

FROM_NIGHT = "../.."
"""The results folder, as the links on a night's page write it."""

SMALL_PICTURES_FOLDER = "frames"
"""The folder of a night's small pictures, in the night's folder."""

REDUCED_FOLDER = "reduced"
"""The folder of reduced frames, with the folders of the raw frames below it."""

COMBINED_FOLDER = "combined"
"""The folder of combined biases, darks and flats, with a folder for each night."""

DETECTOR_FOLDER = "detector"
"""The folder of measured detectors, with a folder for each camera and, in it, for each night."""

CALIBRATED_FOLDER = "calibrated"
"""The folder of calibrated frames, with the folders of the raw frames below it."""

NIGHTS_FOLDER = "nights"
"""The folder of pages and pictures, with a folder for each night."""

PRODUCT_FOLDERS = (
    REDUCED_FOLDER,
    COMBINED_FOLDER,
    DETECTOR_FOLDER,
    CALIBRATED_FOLDER,
    NIGHTS_FOLDER,
)
"""The folders of the products of each kind, in the order of `ccdflow.kinds.CHAIN`."""

PIXELS_START = "pixels_"
"""The first letters of the names of a night's tables of odd pixels."""

SHUTTER_START = "shutter_"
"""The first letters of the names of a night's maps of the shutter's dead time."""

BAD_PIXELS_START = "bad_pixels_"
"""The first letters of the names of maps of bad pixels."""

SET_ASIDE_FOLDER = "set_aside"
"""The folder of products that the archive no longer has, such as those of frames set aside."""

STATE = ".ccdflow"
"""The folder of notes that ccdflow keeps in the results folder."""

LOCK = f"{STATE}/lock"
"""The file that a run holds locked."""

WATCH_LOCK = f"{STATE}/watch.lock"
"""The file that a watch holds locked from its start to its end."""

HEADERS = f"{STATE}/headers.json"
"""The header values of all raw frames."""

LEDGER = f"{STATE}/ledger.json"
"""The records of all products."""

LATE_NOTES = f"{STATE}/since.json"
"""Notes made since the header values and the ledger were written whole."""

COPIES_OF_FIRST_LINES = {
    HEADERS: f"{STATE}/headers_first_line.json",
    LEDGER: f"{STATE}/ledger_first_line.json",
    LATE_NOTES: f"{STATE}/since_first_line.json",
}
"""The copies of the first lines of long notes, by the notes. Without the first line no other line
can be read."""

SEAL = f"{STATE}/seal.json"
"""The hash of an archive in which nothing is to be done: see `ccdflow.run.sealing.seal`."""

CLOSED_NIGHTS = f"{STATE}/nights.json"
"""The summaries of nights whose products are all made."""

COUNTED_PIXELS_FOLDER = f"{STATE}/pixels"
"""The folder of counts of bad pixels in earlier nights, a file for each map."""

DONE_FOLDER = f"{STATE}/done"
"""The folder of the records of finished jobs, until the run's end puts them into the ledger."""

BATCHES = f"{STATE}/batches"
"""The folder of the batches of a run."""

LOGS = f"{STATE}/logs"
"""The folder of logs."""

LAST_RUN = f"{STATE}/last_run.js"
"""The result of the last run, as a script that the overview reads."""

FAILED_READS = f"{LOGS}/raw"
"""The folder of logs of raw files that could not be read."""

# Matches the path of a record, reduced/night/a.fits.0123456789abcdef.2.json: product, key, attempt.
_DONE_PATTERN = re.compile(r"(?P<product>.+)\.(?P<key>[0-9a-f]{16})(?:\.(?P<attempt>\d+))?\.json")
# Matches the name of a small picture, a.fits@01234567.png.
_SMALL_PATTERN = re.compile(r".+@[0-9a-f]{8}\.png")
# Matches the name of a file being written, .a.fits.host-4711-1.part.
_PART_PATTERN = re.compile(r"\..*\.(?P<host>[^.].*?)-(?P<process>\d+)-\d+\.part", re.DOTALL)


def is_raw_name(name):
    """Return whether a file name is the name of a raw frame (not of a hidden file).

    Examples
    --------
    >>> is_raw_name("ccd.001.0.fits.gz"), is_raw_name(".ccd.001.0.fits"), is_raw_name("notes.txt")
    (True, False, False)
    """
    return not name.startswith(".") and is_fits(name)


def is_fits(name):
    """Return whether a name is that of a FITS file, compressed or not, in capitals or not.

    Examples
    --------
    >>> is_fits("reduced/A.FTS"), is_fits("x.fits.fz.gz"), is_fits("report.html")
    (True, True, False)
    """
    text = str(name)
    if text.endswith(_USUAL_ENDINGS):
        return True
    lower = text.lower()
    for packing in PACKINGS:
        lower = lower.removesuffix(packing)
    return lower.endswith(RAW_ENDINGS)


def is_shown_only(product):
    """Return whether a product is a page, picture or table: made only of other products.

    A file with a name of unknown kind does not count: it may be the last copy of a raw frame.

    Examples
    --------
    >>> is_shown_only("nights/2024-03-01/report.html"), is_shown_only("reduced/x.FITS")
    (True, False)
    """
    path = PurePosixPath(product)
    if path.parts[0] == NIGHTS_FOLDER:
        return path.suffix in (".html", ".png", ".csv") or path.name == SHEET_FILE
    tables = (
        INVENTORY,
        BIAS_QUALITY,
        DARK_QUALITY,
        FLAT_QUALITY,
        ASSOCIATIONS_FILE,
        DETECTOR_FILE,
        EVENTS_FILE,
    )
    return str(path) in (*tables, BEFORE_AFTER, REPORT_PAGE)


def lacks_ending(name):
    """Return whether a name has the suffix of a packed FITS file, but no FITS ending before it.

    Examples
    --------
    >>> lacks_ending("n1/a001.fz"), lacks_ending("a001.fits.fz"), lacks_ending("a001.gz")
    (True, False, False)
    """
    return name.lower().endswith(NAMELESS_PACKINGS) and not is_fits(name)


def is_passed_over(name):
    """Return whether a file looks like a raw frame, but is not read because of its name.

    The file is hidden, packed in a way that is not read, or packed without a FITS ending.
    """
    if not name.startswith(".") and lacks_ending(name):
        return True
    if not (name.startswith(".") or name.lower().endswith(OTHER_PACKINGS)):
        return False
    visible_name = name.lstrip(".")
    lower = visible_name.lower()
    packing = next((end for end in OTHER_PACKINGS if lower.endswith(end)), "")
    unpacked_name = visible_name[: len(visible_name) - len(packing)]
    return unpacked_name != name and is_raw_name(unpacked_name)


def stem(product):
    """Return the name of a product without folder and last suffix, in a tenth of pathlib's time.

    Examples
    --------
    >>> stem("combined/2024-03-01/bias_lfc_g1.1.fits")
    'bias_lfc_g1.1'
    """
    return product.rpartition("/")[2].rpartition(".")[0]


def reduced_frame(frame):
    """Return the path of a reduced frame; both paths are relative to their roots.

    Examples
    --------
    >>> reduced_frame("darks/ccd.013.0.fits.gz")
    'reduced/darks/ccd.013.0.fits'
    """
    lower = frame.lower()
    if lower.endswith(PACKINGS):
        packing = next(end for end in PACKINGS if lower.endswith(end))
        return f"{REDUCED_FOLDER}/{frame[: -len(packing)]}"
    return f"{REDUCED_FOLDER}/{frame}"


def calibrated_frame(frame):
    """Return the path of a raw frame's calibrated frame.

    Examples
    --------
    >>> calibrated_frame("darks/ccd.013.0.fits.gz")
    'calibrated/darks/ccd.013.0.fits'
    """
    return calibrated_of_reduced(reduced_frame(frame))


def calibrated_of_reduced(product):
    """Return the path of the calibrated frame that a reduced frame becomes."""
    return f"{CALIBRATED_FOLDER}/" + product.removeprefix(f"{REDUCED_FOLDER}/")


def top_folder(product):
    """Return the first folder of a product's path: one of `PRODUCT_FOLDERS`, '' for a table.

    Examples
    --------
    >>> top_folder("combined/2020-03-01/bias.fits"), top_folder("report.html")
    ('combined', '')
    """
    return product[: max(product.find("/"), 0)]


def raw_folder_and_night(folder):
    """Return the folder of raw frames, or the night, whose products a folder holds.

    Parameters
    ----------
    folder : str
        Folder of products, relative to the results folder.

    Returns
    -------
    raw_folder : str or None
        None where the products are not of single raw frames.
    segment : str or None
        The night, as `segment` writes it; None where the products are not of one night.

    Examples
    --------
    >>> raw_folder_and_night("reduced/darks/a"), raw_folder_and_night("combined/2020-03-01")
    (('darks/a', None), (None, '2020-03-01'))
    >>> raw_folder_and_night("detector/LFC"), raw_folder_and_night("detector/LFC/2020-03-01")
    ((None, None), (None, '2020-03-01'))
    >>> raw_folder_and_night("nights/2020-03-01/small")
    (None, '2020-03-01')
    """
    top, _, rest = folder.partition("/")
    if top in (REDUCED_FOLDER, CALIBRATED_FOLDER):
        return rest, None
    if top in (COMBINED_FOLDER, NIGHTS_FOLDER):
        return None, rest.partition("/")[0]
    if top == DETECTOR_FOLDER and rest.count("/") == 1:
        return None, rest.partition("/")[2]
    return None, None


def night_of_product(product):
    """Return the night in a product's path, as `segment` writes it; None where there is none.

    Examples
    --------
    >>> night_of_product("combined/2020-03-01/bias.fits"), night_of_product("reduced/a.fits")
    ('2020-03-01', None)
    >>> night_of_product("detector/LFC/2020-03-01/pixels_64x48.fits")
    '2020-03-01'
    """
    return raw_folder_and_night(product.rpartition("/")[0])[1]


def is_of_all_nights(folder):
    """Return whether a folder of products is that of a camera's detectors, or the one above it.

    Examples
    --------
    >>> is_of_all_nights("detector/LFC"), is_of_all_nights("detector/LFC/2020-03-01")
    (True, False)
    """
    return folder.partition("/")[0] == DETECTOR_FOLDER and folder.count("/") < 2


def combined_master(night, group):
    """Return the path of the master of a group of one night.

    Parameters
    ----------
    night : str
        YYYY-MM-DD, or the folder of undated frames.
    group : str
        Name of the group.

    Returns
    -------
    str

    Examples
    --------
    >>> combined_master("2016-01-15", "bias_lfc_2048x4128_1x1_g1.1")
    'combined/2016-01-15/bias_lfc_2048x4128_1x1_g1.1.fits'
    """
    return f"{COMBINED_FOLDER}/{segment(night)}/{plain_name(group)}.fits"


def measured_detector(camera, night, group):
    """Return the path of a night's table of odd pixels of a detector.

    Parameters
    ----------
    camera : str
    night : str
        YYYY-MM-DD, or the folder of undated frames.
    group : str
        Name of the group.

    Returns
    -------
    str

    Examples
    --------
    >>> measured_detector("lfc", "2016-01-15", "2048x4128_1x1_g1.1")
    'detector/lfc/2016-01-15/pixels_2048x4128_1x1_g1.1.fits'
    """
    return _measurement_of_night(camera, night, f"{PIXELS_START}{plain_name(group)}")


def counted_pixels(product):
    """Return the path of the counts of earlier nights, to which a map of bad pixels adds new ones.

    Examples
    --------
    >>> counted_pixels("detector/lfc/bad_pixels_all_64x48.fits")
    '.ccdflow/pixels/lfc/bad_pixels_all_64x48.fits.counts'
    """
    return f"{COUNTED_PIXELS_FOLDER}/{product.partition('/')[2]}.counts"


def shutter_map(camera, night, group):
    """Return the path of the map of a shutter's dead time that a night's flats show.

    Parameters
    ----------
    camera : str
    night : str
        YYYY-MM-DD, or the folder of undated frames.
    group : str
        Name of the group.

    Returns
    -------
    str

    Examples
    --------
    >>> shutter_map("lfc", "2016-01-15", "2048x4128_1x1_g1.1")
    'detector/lfc/2016-01-15/shutter_2048x4128_1x1_g1.1.fits'
    """
    return _measurement_of_night(camera, night, f"{SHUTTER_START}{plain_name(group)}")


def _measurement_of_night(camera, night, name):
    """Return the path of the product of a name that a night measures of a camera's detectors."""
    return f"{DETECTOR_FOLDER}/{segment(camera)}/{segment(night)}/{name}.fits"


def is_measurement_of_night(product, start):
    """Return whether a path is that of a night's measurement, by the start of its name.

    Parameters
    ----------
    product : str
        Path relative to the results folder.
    start : str
        `PIXELS_START` or `SHUTTER_START`.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_measurement_of_night("detector/lfc/2016-01-15/pixels_2048x4128.fits", PIXELS_START)
    True
    """
    parts = product.split("/")
    return len(parts) == 4 and parts[0] == DETECTOR_FOLDER and parts[3].startswith(start)


def bad_pixels(camera, group, epoch):
    """Return the path of the map of bad pixels of an epoch of a detector.

    Parameters
    ----------
    camera : str
    group : str
        Name of the group.
    epoch : str
        The night with which the epoch began; '' if the detector has no epochs.

    Returns
    -------
    str

    Examples
    --------
    >>> bad_pixels("lfc", "2048x4128_1x1", "")
    'detector/lfc/bad_pixels_all_2048x4128_1x1.fits'
    """
    name = f"{BAD_PIXELS_START}{epoch or 'all'}_{plain_name(group)}"
    return f"{DETECTOR_FOLDER}/{segment(camera)}/{name}.fits"


def night_folder(night):
    """Return the folder of a night's page, pictures and figures."""
    return f"{NIGHTS_FOLDER}/{segment(night)}"


def is_file_of_night(product, name):
    """Return whether a path is that of a file of this name in the folder of any night.

    Parameters
    ----------
    product : str
        Path relative to the results folder.
    name : str
        Name of the file.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_file_of_night("nights/2016-01-15/report.html", REPORT_PAGE)
    True
    """
    parts = product.split("/")
    return len(parts) == 3 and parts[0] == NIGHTS_FOLDER and parts[2] == name


def night_page(night):
    """Return the path of a night's page.

    Examples
    --------
    >>> night_page("2016-01-15")
    'nights/2016-01-15/report.html'
    """
    return f"{night_folder(night)}/{REPORT_PAGE}"


def small_picture(night, product):
    """Return the path of the small picture of a frame.

    Parameters
    ----------
    night : str
        YYYY-MM-DD, or the folder of undated frames.
    product : str
        A reduced or calibrated frame.

    Returns
    -------
    str

    Examples
    --------
    >>> small_picture("2024-03-01", "calibrated/a/b.fits")
    'nights/2024-03-01/frames/calibrated_a_b.fits@4a717244.png'
    """
    return f"{night_folder(night)}/{SMALL_PICTURES_FOLDER}/{segment(product)}.png"


def is_small_picture(name):
    """Return whether a file's name is that of a small picture.

    Examples
    --------
    >>> is_small_picture("reduced_b.fits@4a717244.png"), is_small_picture("mine.png")
    (True, False)
    """
    return _SMALL_PATTERN.fullmatch(name) is not None


def is_of_small_pictures(folder):
    """Return whether a folder of the results is one of small pictures, of any night.

    Examples
    --------
    >>> is_of_small_pictures("nights/2024-03-01/frames"), is_of_small_pictures("reduced/a/frames")
    (True, False)
    """
    parts = PurePosixPath(folder).parts
    return len(parts) == 3 and parts[0] == NIGHTS_FOLDER and parts[2] == SMALL_PICTURES_FOLDER


def set_aside(product):
    """Return the path to which a product is moved when the archive no longer has it.

    Examples
    --------
    >>> set_aside("reduced/ccd.001.0.fits")
    'set_aside/reduced/ccd.001.0.fits'
    """
    return f"{SET_ASIDE_FOLDER}/{product}"


def numbered_name(name, number):
    """Return a file's name with a number before its ending, within the limit on names.

    Parameters
    ----------
    name : str
    number : int

    Returns
    -------
    str

    Examples
    --------
    >>> numbered_name("a.fits", 2)
    'a.2.fits'
    """
    path = PurePosixPath(name)
    tail = f".{number}{path.suffix}"
    short_stem = path.stem
    while len(os.fsencode(short_stem + tail)) > NAME_MAX:
        short_stem = short_stem[:-1]
    return short_stem + tail


def done_record(product, key, attempt=0):
    """Return the path of the record that a job leaves for a product and key.

    The record's name is plain ASCII without blanks or braces, because Snakemake reads braces in a
    path as wildcards.

    Parameters
    ----------
    product : str
        Path relative to the results folder.
    key : str
        Hash of everything that the product depends on.
    attempt : int, optional
        0 for the first.

    Returns
    -------
    str

    Examples
    --------
    >>> done_record("reduced/a b{1}.fits", "0123456789abcdef")
    '.ccdflow/done/reduced/a%20b%7B1%7D.fits.0123456789abcdef.json'
    """
    tail = f".{attempt}" if attempt else ""
    return f"{DONE_FOLDER}/{quote(product, safe='/+=,@')}.{key}{tail}.json"


def log(product, key):
    """Return the path of the log file of a job, relative to the results folder.

    Parameters
    ----------
    product : str
        Path relative to the results folder.
    key : str
        Hash of everything that the product depends on.

    Returns
    -------
    str

    Examples
    --------
    >>> log("reduced/a.fits", "0123456789abcdef")
    '.ccdflow/logs/reduced/a.fits.0123456789abcdef.log'
    """
    return f"{LOGS}{done_record(product, key).removeprefix(DONE_FOLDER).removesuffix('.json')}.log"


def names_of_record(frame):
    """Return the names of the folders and of the file in the path of a reduced frame's record.

    The names are as long as they can be: a test of their length holds for every record.
    """
    # A key has 16 digits. No job is tried more than 99 times.
    return PurePosixPath(done_record(reduced_frame(frame), "0" * 16, 99)).parts


def failed_read(file):
    """Return the path of the log of a raw file whose reading raised an unforeseen error."""
    return f"{FAILED_READS}/{segment(file)}.log"


def failed_verification(product):
    """Return the path of the log of a product whose verification raised an unforeseen error."""
    return f"{LOGS}/verify/{product}.log"


def parse_done(path):
    """Return (product, key) of a record's path relative to the results folder.

    Raises
    ------
    ValueError
        If the path is not one that `done_record` makes.
    """
    text = str(PurePosixPath(path))
    match = _DONE_PATTERN.fullmatch(text.removeprefix(f"{DONE_FOLDER}/"))
    if match is None or not text.startswith(f"{DONE_FOLDER}/"):
        raise ValueError(f"{path} is not the path of a record")
    return unquote(match["product"]), match["key"]


# A folder's name is shortened to this many characters; a digest and perhaps an ending follow them.
# Chosen: far below the `NAME_MAX` bytes that file systems allow.
_LONGEST_FOLDER_NAME = 96
# A group's name is shortened to this many characters; an ending follows it.
_LONGEST_GROUP_NAME = 120


def segment(text):
    """Return a text as one folder name; two texts never share a name.

    Letters, digits and ``._+-`` stay, any other character becomes an underscore. A text that this
    or shortening changes gets its digest after ``@``, a character that no unchanged name has.

    Examples
    --------
    >>> segment("2024-03-01"), segment("dark run")
    ('2024-03-01', 'dark_run@88c79125')
    """
    name = _safe_letters(text)
    if name == text and len(name) <= _LONGEST_FOLDER_NAME:
        return name
    return f"{name[:_LONGEST_FOLDER_NAME]}@{_short_digest(text)}"


def plain_name(text):
    """Return a text as a name of letters, digits and ``._+-``; two texts may share one.

    Examples
    --------
    >>> plain_name("1 MHz")
    '1_MHz'
    """
    name = _safe_letters(text)
    if len(name) <= _LONGEST_GROUP_NAME:
        return name
    return f"{name[: _LONGEST_GROUP_NAME - 9]}-{_short_digest(text)}"


def folded_name(name):
    """Return a name in a path in small letters: some file systems ignore capitals.

    Examples
    --------
    >>> folded_name("flat_R") == folded_name("flat_r"), folded_name("g 1") == folded_name("g_1")
    (True, True)
    """
    return plain_name(name).casefold()


def _safe_letters(text):
    """Return a text with _ for all that is not a letter, digit, or one of ``_.+-``."""
    return re.sub(r"[^\w.+-]+", "_", str(text), flags=re.ASCII).strip("._") or "unknown"


def _short_digest(text):
    """Return the first 8 hexadecimal digits of the SHA-256 of a text."""
    return hashlib.sha256(str(text).encode("utf-8", "surrogateescape")).hexdigest()[:8]


def temporary_name(path):
    """Return the temporary name under which a product is written.

    It names the host, process and thread, so that no two of them write to the same file.
    """
    path = Path(path)
    owner = f"{socket.gethostname()}-{os.getpid()}-{threading.get_native_id()}"
    # The product's own name only helps a reader: with 240 bytes of it and of the owner the whole
    # name is shorter than `NAME_MAX`.
    name = path.name.encode()[: 240 - len(owner)].decode("utf-8", "ignore")
    return path.with_name(f".{name}.{owner}.part")


def owner_of_temporary(path):
    """Return (host, process) of a temporary name, or None for any other name."""
    match = _PART_PATTERN.fullmatch(Path(path).name)
    return (match["host"], int(match["process"])) if match else None
