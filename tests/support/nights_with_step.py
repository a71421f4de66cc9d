"""Tiny nights of biases of a camera whose read noise changes, for figures by night."""

from __future__ import annotations

from datetime import date, timedelta

from small_frames import LFC_LIKE, bias_cards, biases, write_raw

PROFILE = LFC_LIKE.format(name="TESTCAM")
FIRST_DAY = date(2020, 3, 1)


def name_of_night(number):
    """Return the name of the night with a number, from 0."""
    return (FIRST_DAY + timedelta(days=number)).isoformat()


def write_night(raw, number, *, noise=4.0, level=1000, frames=3):
    """Write the biases of a night."""
    for place, frame in enumerate(biases(frames, noise=noise, level=level, seed=100 + number)):
        # Three in the morning at Greenwich is the evening before in California.
        day = FIRST_DAY + timedelta(days=number + 1)
        cards = bias_cards(place, **{"DATE-OBS": f"{day}T03:{place:02d}:00"})
        write_raw(raw / name_of_night(number) / f"b{place}.fits", (frame, cards))


def write_archive(raw, nights, *, step=None, factor=1.2):
    """Write nights of biases; from night `step` on the read noise is larger by a factor."""
    for number in range(nights):
        is_after = step is not None and number >= step
        write_night(raw, number, noise=4.0 * factor if is_after else 4.0)
