"""The story of a product, from its header and the tables: its sources, its steps, the reasons."""

from __future__ import annotations

import math
import re
import warnings
from pathlib import Path

from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from ccdflow import paths
from ccdflow.calibrate.applied_masters import BIAS, DARK, FLAT, MASTER_KINDS
from ccdflow.errors import UserError
from ccdflow.files.header_text import printable_text
from ccdflow.files.text_files.tables import table_rows
from ccdflow.kinds.matching import match_sentences
from ccdflow.kinds.matching.association import first_use, why_missing
from ccdflow.run import job_records, ledger
from ccdflow.run.raw_frames.rows import OK
from ccdflow.wording import count, first_named

# Characters of text that a HISTORY card can hold.
_HISTORY_WIDTH = 72
# A line names at most this many members of a master, frames or warnings.
_MOST_NAMED = 6
# The content of the products below detector/, by the beginning of their names.
_CONTENT_BY_PREFIX = {
    paths.PIXELS_START: "pixels that the night's masters show to be odd",
    paths.SHUTTER_START: "dead time of the shutter over the image, from the night's flats",
    paths.BAD_PIXELS_START: "map of bad pixels, from the measurements of its nights",
}
# The way in which variances are compared, by the words of the column ``variance_is``.
_COMPARISON_BY_WORD = {
    "nominal": "by nominal noise, as they are compared before either is made",
    "measured": "as measured, with the days between",
}


def results_folder_of(path):
    """Return the results folder that holds a file: the one with ccdflow's notes.

    Raises
    ------
    UserError
        If no folder above the file has such notes.
    """
    for folder in Path(path).absolute().parents:
        if (folder / paths.STATE).is_dir():
            return folder
    raise UserError(
        "lies in no results folder of ccdflow", file=path,
        remedy="name a file of a results folder; for a raw frame give results=FOLDER as well",
    )  # fmt: skip


def explain_product(results, product, context=None):
    """Return the lines of a product's story.

    Parameters
    ----------
    results : pathlib.Path
    product : str
        Relative to the results folder.
    context : ccdflow.run.context.PlanContext, optional
        The plan of the next run; without a plan the story lacks the effect of that run.

    Returns
    -------
    list of str

    Raises
    ------
    UserError
        If the file is not there, is a folder or no FITS file, or was not made by ccdflow.
    """
    path = Path(results) / product
    if not path.is_file():
        raise UserError(
            "is a folder"
            if path.is_dir()
            else f"there is no such file{_why_absent(results, product)}",
            file=path,
            remedy="give a product in the results folder",
        )
    if path.suffix in (".html", ".png", ".csv"):
        lines = [f"{product}: a page, picture or table, written from the products it shows"]
        return lines + _lines_on_today(product, context)
    header = _header_of(path)
    if "CCDFKEY" not in header:
        raise UserError(
            "was not made by ccdflow",
            file=path,
            keyword="CCDFKEY",
            value="absent",
            remedy="give a reduced, combined or calibrated frame",
        )
    if paths.top_folder(product) == paths.DETECTOR_FOLDER:
        lines = _story_of_measurement(product, header)
    elif "NCOMBINE" in header:
        lines = _story_of_master(results, product, header)
    else:
        lines = _story_of_frame(results, product, header)
    return lines + _lines_on_today(product, context)


def _header_of(path):
    """Return the header of a file.

    Raises
    ------
    UserError
        If it is no FITS file, or a damaged one.
    """
    with warnings.catch_warnings():
        # astropy also warns of a damaged file: the error below is enough.
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            return fits.getheader(path)
        except OSError as error:
            reason = error.strerror or "no whole FITS header"
            raise UserError(
                f"cannot be read ({reason})",
                file=path,
                remedy="give a FITS file; a damaged product is made again by the next run",
            ) from None


def _why_absent(results, product):
    """Return why a product is not there, by the ledger and the inventory; '' if unknown."""
    for raw, row in _inventory_rows(results).items():
        is_of_frame = product in (paths.reduced_frame(raw), paths.calibrated_frame(raw))
        if is_of_frame and row["status"] != OK:
            return f": {raw} is not reduced ({row['status']}): {row['reason']}"
    record = ledger.load_ledger(results).get(product)
    if record is None:
        return ""
    if record.status != job_records.MADE:
        return f": it was refused: {record.reason}"
    return ": it was made, and deleted or moved; the next run makes it again"


# -- frames ----------------------------------------------------------------------------------------


def _story_of_frame(results, product, header):
    """Return the lines of the story of a reduced or calibrated frame."""
    raw = header.get("RAWFILE", "unknown")
    row = _inventory_rows(results).get(raw, {})
    columns = ("type", "object", "filter", "grism", "exptime", "night", "camera")
    if row.get("grism") == row.get("filter"):
        row = row | {"grism": ""}
    description = ", ".join(f"{name} {row[name]}" for name in columns if row.get(name))
    lines = [f"{product}: {description}" if description else product]
    lines.append(f"  raw      {raw} (fingerprint {header.get('RAWFP', 'unknown')})")
    lines.append(f"  reduced  {_words_on_reduction(header)}")
    if paths.top_folder(product) == paths.CALIBRATED_FOLDER:
        row_of_step = _steps_of_product(results, product)
        for kind in MASTER_KINDS:
            lines += step_lines(results, kind, header, row_of_step.get(kind, {}))
        lines += _lines_on_noise_and_grade(header)
    if row.get("reason"):
        lines.append(f"  warnings {row['reason']}")
    return lines


def _words_on_reduction(header):
    """Return the overscan that was subtracted and the pixels that were kept, in words."""
    statistic = header.get("OSCSTAT")
    levels = [
        f"overscan {header[keyword]} ({statistic}, level {_level_of(header, keyword)} adu)"
        for keyword in header
        if keyword.startswith("OVERSC")
    ]
    phrases = [f"{' and '.join(levels)} subtracted" if levels else "no overscan subtracted"]
    trimmed_sections = [header[key] for key in header if key[:4] == "TRIM" and key != "TRIMSEC"]
    if trimmed_sections:
        phrases.append(f"kept {', '.join(trimmed_sections)}")
    saturated_lines = [header[key] for key in header if re.fullmatch(r"OSCSAT(\d\d)?", key)]
    if saturated_lines:
        phrases.append(f"no level in {', '.join(saturated_lines)}: the overscan is saturated")
    return "; ".join(phrases)


def _level_of(header, keyword):
    """Return the level of the overscan in a card OVERSCAN or OVERSCnn, adu; None without one."""
    return header.get("BIASLVL" if keyword == "OVERSCAN" else f"BIASLV{keyword[6:]}")


def step_lines(results, kind, header, choice):
    """Return the lines on one master of a calibrated frame.

    Parameters
    ----------
    results : pathlib.Path
    kind : {'bias', 'dark', 'flat'}
    header : astropy.io.fits.Header
        Header of the frame.
    choice : dict of str to str
        The line of associations.csv on this master, by column; {} for none.

    Returns
    -------
    list of str
    """
    master = header.get(f"{kind.upper()}IM")
    if master is None:
        reason = choice.get("reason") or "not asked for"
        return [f"  {kind:<8} none: {reason}"]
    lines = [
        f"  {kind:<8} {master}: {_members_in_words(results, master)}",
        f"           {', '.join(_phrases_on_application(kind, header))}",
    ]
    if choice:
        lines.append(f"           chosen: {_words_on_choice(results, kind, header, choice)}")
    return lines


def _phrases_on_application(kind, header):
    """Return the phrases on how a master was applied: its age, window, factor and noise."""
    # A master without this card is of another night, and the master or the frame has no date.
    phrases = [match_sentences.lag_words(header.get(f"{kind.upper()}DT"), "the frame")]
    if (key := f"{kind.upper()}CUT") in header:
        phrases.append(f"cut to its pixels {header[key]}")
    if kind == DARK:
        phrases.append(f"multiplied by {header.get('DARKSCAL')}")
    noise = header.get({BIAS: "MBNOISE", DARK: "MDNOISE", FLAT: "MFNOISE"}[kind])
    if noise == 0 and kind == BIAS and "DARKIM" in header:
        phrases.append("its noise cancels in the dark")
    elif noise is not None:
        unit = "of the signal" if kind == FLAT else _plural_unit(header)
        phrases.append(f"adds a noise of {noise:.3g} {unit} a pixel")
    return phrases


def _words_on_choice(results, kind, header, choice):
    """Return why a master was chosen, and the second choice with the noise that it would add.

    Parameters
    ----------
    results : pathlib.Path
    kind : {'bias', 'dark', 'flat'}
    header : astropy.io.fits.Header
        Header of the frame.
    choice : dict of str to str
        The line of associations.csv on this master, by column.
    """
    if not choice.get("runner_up"):
        return choice["reason"]
    variances = map(choice.get, ("runner_up_variance", "predicted_variance"))
    words_on_second, words_on_first = (_variance_in_words(kind, value) for value in variances)
    restriction = ", before any of it cancels in the dark" if kind == BIAS else ""
    if kind == DARK and header.get("DARKSCAL", 1.0) != 1:
        restriction = ", without the bias that a scaled dark leaves in the frame"
    comparison = _COMPARISON_BY_WORD[choice.get("variance_is", "nominal")]
    reason = (
        f"{choice['reason']}; second {choice['runner_up']} ({comparison},"
        f" it adds {words_on_second}, the chosen one {words_on_first}{restriction})"
    )
    if kind == BIAS and _is_bias_of_dark(results, header):
        reason += "; it is the bias of the dark as well, and two would add"
    return reason


def _is_bias_of_dark(results, header):
    """Return whether the members of a frame's dark had the bias of the frame subtracted."""
    if "DARKIM" not in header:
        return False
    try:
        dark = fits.getheader(Path(results) / header["DARKIM"])
    except OSError:
        return False
    return dark.get("BIASIM") == header["BIASIM"]


def _variance_in_words(kind, variance):
    """Return the variance of a bias or dark in words; of a flat its square root, the noise."""
    if kind != FLAT:
        return f"{variance} e2"
    return f"{math.sqrt(float(variance)):.3g} of the signal"


def _members_in_words(results, master):
    """Return the number and the first names of a master's members, by the master's header."""
    try:
        header = fits.getheader(Path(results) / master)
    except OSError:
        return "it is not there any more; the next run makes it again"
    files = _values_of_numbered_cards(header, "IMCOM", "IMC")
    return f"{header.get('NCOMBINE', len(files))} frames ({_first_names(files)})"


def _values_of_numbered_cards(header, *starts):
    """Return the values of numbered cards, such as IMCOM001 and IMC00001."""
    return [
        str(header[key])
        for key in header
        if any(key.startswith(start) and key[len(start) :].isdigit() for start in starts)
    ]


def _first_names(names):
    """Return the first of some names in words, and the number of the others."""
    return first_named(names, _MOST_NAMED)


def _plural_unit(header):
    """Return the unit of the pixels in the plural."""
    unit = str(header.get("BUNIT", "")).strip()
    return "electrons" if unit == "electron" else unit


def _lines_on_noise_and_grade(header):
    """Return the lines on sky and noise, flagged pixels and grade of a calibrated frame."""
    unit, lines = _plural_unit(header), []
    if "SKYLVL" in header:
        lines.append(
            f"  noise    sky {header['SKYLVL']:.5g} {unit}, measured {header.get('SKYRMS', 0):.4g}"
            + (f", predicted {header['SKYPRED']:.4g}" if "SKYPRED" in header else "")
        )
    names = (("NSAT", "saturated"), ("NHOT", "hot"), ("NUNCAL", "without a calibration"))
    counts = [f"{header[key]} {words}" for key, words in names if header.get(key)]
    lines.append(f"  mask     {', '.join(counts) or 'no pixel of those that are counted'}")
    start = f"grade {header.get('CALGRADE')}: "
    reasons = [
        text.removeprefix(start) for text in _history_texts(header) if text.startswith(start)
    ]
    lines.append(
        f"  grade    {header.get('CALGRADE')}" + (f": {'; '.join(reasons)}" if reasons else "")
    )
    return lines


# -- masters ---------------------------------------------------------------------------------------


def _story_of_master(results, product, header):
    """Return the lines of the story of a master."""
    files = _values_of_numbered_cards(header, "IMCOM", "IMC")
    files_left_out = _values_of_numbered_cards(header, "IMOUT", "IMO")
    lines = [f"{product}: {header['NCOMBINE']} frames combined, camera {header.get('CCDFCAM')}"]
    lines.append(f"  members  {_first_names(files)}")
    if "DATE-BEG" in header:
        lines.append(f"  taken    {header['DATE-BEG']} to {header['DATE-END']}")
    if files_left_out:
        lines.append(f"  left out {_first_names(files_left_out)}")
    for kind in (BIAS, DARK):
        if f"{kind.upper()}IM" in header:
            lag = match_sentences.lag_words(header.get(f"{kind.upper()}DT"), "them")
            lines.append(f"  {kind:<8} {header[f'{kind.upper()}IM']} subtracted from each; {lag}")
    words_on_clipping = "not clipped"
    if "CLIPSIG" in header:
        source = header.get("CLIPDEV", "mad")
        words_on_clipping = f"clipped at {header['CLIPSIG']} sigma by {source}"
    method, n_rejected = header.get("COMBMETH"), header.get("NREJECT")
    lines.append(f"  how      {method}, {words_on_clipping}; {n_rejected} values rejected")
    figure_by_keyword = {
        "RNOISE": "read noise of one frame [adu]", "CNOISE": "noise of a pixel [adu]",
        "DARKRT": "dark rate [electron or adu a second]", "NHOT": "hot pixels",
        "FLATLVL": "level of one flat [adu]", "FLATSN": "signal to noise of a pixel",
    }  # fmt: skip
    measured_figures = [
        f"{words} {header[key]}" for key, words in figure_by_keyword.items() if key in header
    ]
    if measured_figures:
        lines.append(f"  figures  {', '.join(measured_figures)}")
    lines += [f"  warning  {text}" for text in _history_texts(header)[:_MOST_NAMED]]
    frames = sorted(
        {row["frame"] for row in _all_associations(results) if row["master"] == product}
    )
    users_in_words = count(len(frames), "calibrated frame")
    users_in_words += f": {_first_names(frames)}" if frames else ""
    lines.append(f"  used by  {users_in_words}")
    return lines


def _story_of_measurement(product, header):
    """Return the lines of the story of a detector's measurement or map."""
    name = Path(product).name
    content = next(words for start, words in _CONTENT_BY_PREFIX.items() if name.startswith(start))
    lines = [f"{product}: {content}, camera {header.get('CCDFCAM')}"]
    if "NNIGHTS" in header:
        lines.append(
            f"  nights   {header['NNIGHTS']} with darks or flats; a pixel of the mask, that of"
            f" {header['NIGHT']}, is bad in {header['BPSHARE']:.0%} of the newest nights,"
            f" {header['BPNIGHTS']} at most"
        )
    else:
        lines.append(f"  night    {header.get('NIGHT')}")
    if "EXPMIN" in header:
        lines.append(f"  flats    of {header['EXPMIN']} to {header['EXPMAX']} s")
    lines.append(f"  from     {_first_names(_values_of_numbered_cards(header, 'IMCOM', 'IMC'))}")
    return lines


def _history_texts(header):
    """Return the texts of ccdflow's HISTORY cards; several cards may hold one text."""
    texts, last_line = [], ""
    for line in map(str, header.get("HISTORY", ())):
        if line.startswith("ccdflow: "):
            texts.append(line.removeprefix("ccdflow: "))
        elif texts:
            # Readers of a card cut the blanks at its end.
            texts[-1] += " " * (_HISTORY_WIDTH - len(last_line)) + line
        last_line = line
    return texts


# -- today -----------------------------------------------------------------------------------------


def _lines_on_today(product, context):
    """Return the lines on the next run: its effect on a product, and the masters of the product."""
    if context is None:
        return ["  today    not looked at: give raw=FOLDER to see what the next run would change"]
    if context.chain.kind_of(product) is None:
        # A table of the whole archive, such as inventory.csv or verification.csv.
        return ["  today    no product of the plan: runs and scripts write it by themselves"]
    if not context.is_planned(product):
        reason = "not asked for any more by the configuration, or its raw file is not there"
        return [f"  today    {reason}"]
    job = context.jobs.get(product)
    if job is None:
        return ["  today    up to date: the next run leaves it as it is"]
    lines = [f"  today    would be made again: {job.reason}"]
    group = context.find_group(product)
    for step in group.steps if group is not None else ():
        use = first_use(context, step)
        master = use.product if use is not None else why_missing(context, step) or "not needed"
        lines.append(f"           {step.kind}: {master}")
    return lines


# -- tables ----------------------------------------------------------------------------------------


def _inventory_rows(results):
    """Return {raw file in printable characters: its row of inventory.csv}."""
    return {printable_text(row["file"]): row for row in table_rows(Path(results) / paths.INVENTORY)}


def _all_associations(results):
    """Return the rows of associations.csv."""
    return table_rows(Path(results) / paths.ASSOCIATIONS_FILE)


def _steps_of_product(results, product):
    """Return {step: its row of associations.csv} of a calibrated frame."""
    return {row["step"]: row for row in _all_associations(results) if row["frame"] == product}
