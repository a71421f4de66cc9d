"""Combined biases."""

from __future__ import annotations

from ccdflow.combine.measured_stack import combine_measured


def combine_biases(
    members,
    *,
    amplifiers,
    recipe=None,
    masks=None,
    options=None,
):
    """Combine reduced biases; few biases are clipped by their read noise.

    Parameters
    ----------
    members : sequence of ccdflow.combine.member_reader.Member
        Reduced biases of one shape and type.
    amplifiers : sequence of ccdflow.combine.noise.AmplifierNoise
        Region and read noise of each amplifier; a read noise of None is measured.
    recipe : ccdflow.combine.combine_recipe.CombineRecipe, optional
        Default: that of the class, a clipped average.
    masks, options
        See `ccdflow.combine.stack.combine`; the uncertainty is by the noise model.

    Returns
    -------
    ccdflow.combine.stack.Combined
        With an uncertainty by the noise model, a mask, and the measured noise.

    Raises
    ------
    UserError, FrameError
        See `ccdflow.combine.stack.combine`.

    Examples
    --------
    Three biases of three pixels, with a read noise of 3 adu:

    >>> import tempfile
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from ccdflow.combine.member_reader import Member
    >>> from ccdflow.combine.noise import AmplifierNoise
    >>> amplifier = AmplifierNoise("A", region=(0, 1, 0, 3), read_noise=3.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     members = [Member(Path(folder) / f"{n}.pixels", 0, (1, 3)) for n in range(3)]
    ...     for level, member in enumerate(members):
    ...         np.full((1, 3), level, ">f4").tofile(member.path)
    ...     combined = combine_biases(members, amplifiers=[amplifier])
    >>> print(combined.image, combined.uncertainty.round(3))
    [[1. 1. 1.]] [[1.732 1.732 1.732]]
    """
    return combine_measured(
        members,
        amplifiers,
        recipe,
        options=options,
        has_light=False,
        masks=masks,
    )
