"""The last lines of a run on calibrated frames, from summaries of nights; the report on a frame."""

from __future__ import annotations

from ccdflow import paths
from ccdflow.calibrate.applied_masters import MASTER_KINDS
from ccdflow.kinds.calibrating import master_help
from ccdflow.kinds.calibrating.calibration import Calibration
from ccdflow.kinds.calibrating.saturated_frames import unusual_saturation
from ccdflow.kinds.matching import match_sentences
from ccdflow.kinds.matching.match_sentences import MissingWords, parts_on_missing
from ccdflow.kinds.measuring import noise_sentences
from ccdflow.run import job_records
from ccdflow.wording import first_lines

# The end of a run names at most this many frames that were not calibrated, and gives at most this
# many warnings on noise.
_MOST_LINES = 10
# The uncertainty counts as a step here, because a frame may lack it like a master.
_UNCERTAINTY = "UNCERT"


def report_on_frame(file, record, n_pixels):
    """Return the report on a calibrated frame: its sky, noise and grade, or why there is none.

    Parameters
    ----------
    file : str
        The raw file.
    record : ccdflow.run.job_records.Record
    n_pixels : int
        Number of the frame's pixels.

    Returns
    -------
    file, text : str
    warnings : list of str
    """
    if record.status != job_records.MADE:
        return file, "", [f"not calibrated: {record.reason}"]
    data, figures = record.data, []
    for image in data["images"]:
        if image["sky"] is not None:
            figures.append(f"sky {image['sky']:.4g} {data['unit']}")
        if image["sky_rms"] is not None:
            figures.append(f"noise {image['sky_rms']:.3g}")
        if image["sky_predicted"] is not None:
            figures.append(f"(predicted {image['sky_predicted']:.3g})")
    reasons_in_words = "; ".join(filter(None, [*data["reasons"], data["uncertain"]]))
    grade = f"grade {data['grade']}" + (f": {reasons_in_words}" if reasons_in_words else "")
    n_saturated = data.get("saturated", 0)
    if n_saturated:
        figures.append(f"saturated {n_saturated} px")
    warning = unusual_saturation(n_saturated, n_pixels)
    warnings = [f"saturated: {warning}"] if warning else []
    return file, "  ".join([*figures, grade]), warnings


def lines_on_calibration(summaries):
    """Return the last lines of a run on its calibrated frames.

    They name the frames that were not calibrated, and count those that lack a step. They warn of
    noise that differs from its prediction, and of biases and flats that do harm.

    Parameters
    ----------
    summaries : list of dict
        Results of `summary_of` that together cover all frames.

    Returns
    -------
    list of str
    """
    refused = sorted(pair for summary in summaries for pair in summary["refused"])
    words_on_more = f"more, see {paths.ASSOCIATIONS_FILE}"
    lines = [f"not calibrated: {product}: {reason}" for product, reason in refused]
    lines = first_lines(lines, _MOST_LINES, words_on_more)
    n_made = sum(summary["made"] for summary in summaries)
    for step in (*MASTER_KINDS, _UNCERTAINTY):
        lines += _line_on_step(step, n_made, [each["without"].get(step, {}) for each in summaries])
    # Older results: notes of closed nights lack these entries.
    sentences = noise_sentences.sentences_on_noise(
        entry for summary in summaries for entry in summary.get("noise", ())
    )
    lines += first_lines([f"warning: {text}" for text in sentences], _MOST_LINES, words_on_more)
    return lines + master_help.lines_on_harm([summary["helps"] for summary in summaries])


def _line_on_step(step, n_made, reasons_of_nights):
    """Return [the line] on how many frames lack a step, and why; [] where none lacks it.

    Parameters
    ----------
    step : str
        A kind of master, or the uncertainty.
    n_made : int
        Number of all calibrated frames.
    reasons_of_nights : list of dict
        The entry ``without`` of each night for this step: see `summary_of`.
    """
    reasons = [
        (first_product, text, n_frames, words)
        for reasons_of_night in reasons_of_nights
        for text, (n_frames, first_product, words) in reasons_of_night.items()
    ]
    if not reasons:
        return []
    n_without = sum(n_frames for _, _, n_frames, _ in reasons)
    words_of_frames = (words for *_, n_frames, words in sorted(reasons) for _ in range(n_frames))
    reason = match_sentences.reasons_words(words_of_frames)
    return [f"calibrated without {step}: {n_without} of {n_made} calibrated frames: {reason}"]


def summary_of(context, records):
    """Return the values for the last lines on some calibrated frames, which a closed night keeps.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    records : list of ccdflow.run.job_records.Record
        Records of calibrated frames.

    Returns
    -------
    dict of str to (list, int or dict)
        Plain values. ``refused``: [product, reason] of each refused frame. ``made``: the number of
        calibrated frames. ``without``: by the lacking step, and by the reason, [number of frames,
        the first product, the parts of the reason]. ``helps``: `master_help.sums_of_effects` of the
        frames. ``noise``: `noise_sentences.nights_of_odd_noise` of the frames.
    """
    reasons_by_step, n_made, reasons_of = {}, 0, _reasons_for_missing_masters(context)
    for record in records:
        if record.status != job_records.MADE:
            continue
        n_made += 1
        # Each access to a record's data decodes JSON text: here it is decoded once.
        data = dict(record.data.items())
        missing_masters = reasons_of(record.product) if data["missing"] else {}
        reasons = {kind: parts_on_missing(each) for kind, each in missing_masters.items()}
        if data["uncertain"]:
            reasons[_UNCERTAINTY] = MissingWords(data["uncertain"])
        for step, words in reasons.items():
            reasons_of_step = reasons_by_step.setdefault(step, {})
            entry = reasons_of_step.setdefault("".join(words), [0, record.product, words])
            entry[0] += 1
            entry[1] = min(entry[1], record.product)
    refused = [
        [record.product, record.reason]
        for record in records
        if record.status == job_records.REFUSED and not _has_frame_set_aside(context, record)
    ]
    return {
        "refused": refused,
        "made": n_made,
        "without": reasons_by_step,
        "helps": master_help.sums_of_effects(records),
        "noise": noise_sentences.nights_of_odd_noise(context, records, includes_spectra=False),
    }


def _has_frame_set_aside(context, record):
    """Return whether the raw frame of a calibrated frame is set aside.

    Another line reports the raw frame, and the next run plans no calibrated frame for it.
    """
    group = context.find_group(record.product)
    return group is not None and context.is_set_aside(group.files[0])


def _reasons_for_missing_masters(context):
    """Return the function that takes a calibrated frame and returns why it lacks masters.

    The reasons name other products and change with these. So a frame's record has only the kinds of
    masters that it lacks. Frames with the same steps have the same reasons.
    """
    reasons_by_steps = {}

    def reasons_of(product):
        """Return {kind: `Missing`} of a product; {} for one that is not planned."""
        group = context.find_group(product)
        if group is None:
            return {}
        row = context.row(group.files[0])
        key = (row.recipe, row.geometry, *map(id, group.steps))
        if key not in reasons_by_steps:
            reasons_by_steps[key] = Calibration(context, group).missing_masters
        return reasons_by_steps[key]

    return reasons_of
