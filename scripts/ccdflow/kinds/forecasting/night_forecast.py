"""The forecast of a night: its frames and their masters; `night_noise` has their noise.

Values only; `forecast_sentences` makes text and tables of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from ccdflow.calibrate.applied_masters import FLAT
from ccdflow.kinds.calibrating.detector_correction import DetectorCorrection
from ccdflow.kinds.calibrating.science import SCIENCE
from ccdflow.kinds.forecasting import night_noise, planned_masters
from ccdflow.kinds.matching import match_sentences
from ccdflow.kinds.matching.answers import answers_of, uses_applied
from ccdflow.kinds.matching.setups import setup_of
from ccdflow.pages.text_formatting import light_words
from ccdflow.run.job import Group
from ccdflow.wording import first_named


@dataclass(frozen=True)
class SetupForecast:
    """The frames of a night and setup that are to be calibrated, with their forecast.

    Attributes
    ----------
    night : str
    setup : str
        The setup in words.
    groups : tuple of ccdflow.run.job.Group
        The groups of the frames.
    n_by_type : tuple of (str, int)
        Each image type, and the number of its frames.
    n_by_exposure : tuple of (str, int)
        Each filter and exposure, and the number of its frames.
    masters : tuple of ccdflow.kinds.forecasting.planned_masters.PlannedMaster
    noises : tuple of ccdflow.kinds.forecasting.night_noise.GroupNoise
        Without the frames whose gain is not known.
    refused_masters : tuple of (str, str)
        Masters that no frame takes, in words, and why.
    n_refused : int
        Number of frames that the configuration leaves uncalibrated because they lack a master.
    n_without_scale : int
        Number of frames that have all masters, and nevertheless grade C: see `lacks_scale`.
    """

    night: str
    setup: str
    groups: tuple[Group, ...]
    n_by_type: tuple[tuple[str, int], ...] = ()
    n_by_exposure: tuple[tuple[str, int], ...] = ()
    masters: tuple[planned_masters.PlannedMaster, ...] = ()
    noises: tuple[night_noise.GroupNoise, ...] = ()
    refused_masters: tuple[tuple[str, str], ...] = ()
    n_refused: int = 0
    n_without_scale: int = 0


def forecasts_of_setups(context, night, *, foretells=False):
    """Return the `SetupForecast` of each setup of a night.

    Parameters
    ----------
    context : ccdflow.run.context.Context
        With all groups.
    night : str
    foretells : bool, optional
        Whether a sky or read noise that is not measured is predicted from other products, and
        refused masters are named. Only a plan has the values for both.

    Returns
    -------
    list of SetupForecast
    """
    groups_by_setup = defaultdict(list)
    for group in SCIENCE.night_groups(context, night):
        row = context.row(group.files[0])
        setup = setup_of(context, row, context.chain.by_name("bias"))
        groups_by_setup[setup].append(group)
    return [
        _forecast_of_setup(context, night, setup, groups, foretells=foretells)
        for setup, groups in sorted(groups_by_setup.items())
    ]


def _forecast_of_setup(context, night, setup, groups, *, foretells):
    """Return the `SetupForecast` of a night's frames of one setup.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    night : str
    setup : tuple of (str, str)
        As `ccdflow.kinds.matching.setups.setup_of` returns it.
    groups : list of ccdflow.run.job.Group
        One for each frame.
    foretells : bool
        See `forecasts_of_setups`.
    """
    exposure_names = {group.product: _name_of_exposure(context, group) for group in groups}
    noises = _noises_of_groups(context, groups, exposure_names, foretells=foretells)
    kinds = dict.fromkeys(step.kind for group in groups for step in group.steps)
    masters = tuple(
        each for kind in kinds for each in planned_masters.planned_masters_of(context, kind, groups)
    )
    refused_masters = (
        planned_masters.masters_refused_to_all(context, groups, masters) if foretells else ()
    )
    products_lacking = {
        group.product for each in masters if each.why_missing for group in each.groups
    }
    complete_groups = [group for group in groups if group.product not in products_lacking]
    is_refused = SCIENCE.configuration(context)["missing"] == "refuse"
    return SetupForecast(
        night=night,
        setup=match_sentences.setup_words(setup),
        groups=tuple(groups),
        n_by_type=tuple(
            Counter(context.row(group.files[0]).facts["type"] for group in groups).items()
        ),
        n_by_exposure=tuple(Counter(exposure_names.values()).items()),
        masters=masters,
        noises=tuple(noises),
        refused_masters=tuple(refused_masters),
        n_refused=len(products_lacking) if is_refused else 0,
        n_without_scale=sum(lacks_scale(context, group) for group in complete_groups),
    )


def _noises_of_groups(context, groups, exposure_names, *, foretells):
    """Return the `GroupNoise` of the frames of each filter, exposure and choice of masters.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    groups : list of ccdflow.run.job.Group
        One for each frame.
    exposure_names : dict of str to str
        Filter and exposure of each frame in words, by product.
    foretells : bool
        See `forecasts_of_setups`.
    """
    noises = []
    for name, words_on_files, groups_alike in _frames_of_one_budget(
        context, groups, exposure_names
    ):
        noise = night_noise.noise_of_group(context, name, groups_alike, foretells=foretells)
        if noise is not None:
            exposure = _exposure_in_words(context, groups_alike[0])
            noises.append(replace(noise, files=words_on_files, exposure=exposure))
    return noises


def lacks_scale(context, group):
    """Return whether a frame will have grade C because a gain of its amplifiers is unknown.

    Such a frame takes no flat, which would give its amplifiers one scale, and no night measures
    their gains. A measurement that this run will make may give the gains: the frame then counts as
    having a scale.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group
        Group of one frame.

    Returns
    -------
    bool
    """
    if uses_applied(context, group).get(FLAT) is not None:
        return False
    correction = DetectorCorrection(
        context, group, context.row(group.files[0]), SCIENCE.configuration(context)
    )
    return bool(correction.why_unlike) and not any(
        context.will_be_made(product) and _may_measure_gains(context, product)
        for product in group.measurements
    )


def _may_measure_gains(context, product):
    """Return whether a measurement of a detector has flats, from which gains follow."""
    files = context.group(product).files
    return any(context.row(file).facts["type"] == "flat" for file in files)


def _frames_of_one_budget(context, groups, exposure_names):
    """Yield the frames of one filter and exposure that take equal masters, with words on them.

    Yields
    ------
    (str, str, list of ccdflow.run.job.Group)
        Filter and exposure; names of the first files, '' where all frames of this exposure take
        equal masters; the groups of the frames.
    """
    groups_by_name = defaultdict(lambda: defaultdict(list))
    for group in groups:
        uses = [(each.kind, each.use) for each in answers_of(context, group)]
        key = tuple(
            (kind, use and (use.product, use.lag, round(use.scale, 3))) for kind, use in uses
        )
        groups_by_name[exposure_names[group.product]][key].append(group)
    for name, groups_by_uses in groups_by_name.items():
        for groups_alike in groups_by_uses.values():
            yield name, files_words(groups_alike) if len(groups_by_uses) > 1 else "", groups_alike


def files_words(groups):
    """Return the names of the first files of some frames, and the number of the others.

    Parameters
    ----------
    groups : sequence of ccdflow.run.job.Group
        Groups of one frame each.

    Returns
    -------
    str
    """
    return first_named(names_of_files(groups), 2)


def names_of_files(groups):
    """Return the names of the files of some frames; their paths where two have one name.

    Parameters
    ----------
    groups : sequence of ccdflow.run.job.Group
        Groups of one frame each.

    Returns
    -------
    list of str
    """
    files = [group.files[0] for group in groups]
    names = [Path(file).name for file in files]
    return names if len(set(names)) == len(names) else files


def _name_of_exposure(context, group):
    """Return filter, grism and exposure of a frame: ``g' 300.1 s``."""
    facts = context.row(group.files[0]).facts
    exposure_in_words = _exposure_in_words(context, group)
    return light_words((facts["filter"], facts["grism"], exposure_in_words))


def _exposure_in_words(context, group):
    """Return the exposure of a frame in words: ``300.1 s``."""
    return seconds_words(context.row(group.files[0]).facts["exptime"])


def seconds_words(seconds):
    """Return an exposure in words: ``300.1 s``; ``unknown exposure`` of a value that is no number.

    Parameters
    ----------
    seconds : float, int or str
        As in the header.

    Returns
    -------
    str
    """
    is_known = isinstance(seconds, int | float)
    return f"{_round_exposure(seconds):g} s" if is_known else "unknown exposure"


def _round_exposure(seconds):
    """Return an exposure rounded to the digits that an observer may have asked for.

    Examples
    --------
    >>> [_round_exposure(seconds) for seconds in (300.062, 180.0057, 0.05, 29.95)]
    [300.1, 180.0, 0.05, 29.95]
    """
    if seconds < 1:
        return float(f"{seconds:.3g}")
    # Further digits are from the shutter's clock: no observer asks for so precise an exposure.
    return round(seconds, 1 if seconds >= 100 else 2)
