"""The limits of the warnings on reduced frames: as bright as a flat, another noise than biases."""

import pytest

from ccdflow.kinds.reducing.frame_warnings import LIKE_A_FLAT, join_warnings

SETUP = ["cam", "A", "1 1", "2.0", "slow"]


def entries_of(**entries):
    """Return the figures of nights as `gather_warnings` gives them, all others empty."""
    names = ("warnings", "even", "levels", "biases", "noises", "open")
    return {name: entries.get(name, []) for name in names}


@pytest.mark.parametrize(
    ("flats", "level", "is_bright"),
    [
        # Half of the light of the faintest flat: 1000 + (10,000 - 1000) / 2.
        ([20_000.0, 10_000.0], 5500.0, True),
        ([20_000.0, 10_000.0], 5499.0, False),
        # Without a flat, 5000 adu above the biases.
        ([], 6000.0, True),
        ([], 5999.0, False),
    ],
)
def test_an_even_science_frame_is_as_bright_as_a_flat_from_half_of_its_light(
    flats, level, is_bright
):
    levels = [["cam", "bias", [900.0, 1000.0, 1200.0]]] + [["cam", "flat", flats]] * bool(flats)
    entries = [entries_of(even=[["s1.fits", "cam", level]]), entries_of(levels=levels)]
    topics = [topic for each in join_warnings(entries).values() for topic, _ in each.texts]
    assert topics == [LIKE_A_FLAT] * is_bright


@pytest.mark.parametrize(
    ("noise", "bias_noise", "is_unlike"),
    [
        (6.1, 4.0, True),
        (5.9, 4.0, False),
        (2.6, 4.0, True),
        (2.7, 4.0, False),
        # A noise below 0.5 adu counts as 0.5: rounding alone makes 0.29.
        (0.29, 0.1, False),
        (0.74, 0.1, False),
        (0.76, 0.1, True),
    ],
)
@pytest.mark.parametrize("has_biases_of_night", [True, False])
def test_the_noise_of_an_overscan_is_another_one_beyond_a_factor_of_one_and_a_half(
    noise, bias_noise, is_unlike, has_biases_of_night
):
    """That of the night's biases counts, or else that of the biases of all nights."""
    noise_of_night = max(bias_noise, 0.5) if has_biases_of_night else None
    judged = ["s1.fits", "cam", [["A", noise, noise_of_night, SETUP]]]
    biases = [[SETUP, [90.0] if has_biases_of_night else [bias_noise]]]
    warnings = join_warnings([entries_of(noises=[judged], biases=biases)])
    assert list(warnings) == ["s1.fits"] * is_unlike
