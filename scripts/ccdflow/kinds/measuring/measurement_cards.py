"""The cards that name the sources of a night's measurements: masters, flats, noise, limits."""

from __future__ import annotations

from ccdflow.detector.pixels.response import LOW_SIGMA
from ccdflow.files.headertext import printable_text
from ccdflow.run.products.product_names import reduced_product

# FITS keywords have eight letters: five of a name leave three digits.
_HIGHEST_NUMBER = 999


def cards_of_pixels(night, findings, settings):
    """Return the cards of a night's table of bad pixels.

    Parameters
    ----------
    night : ccdflow.kinds.measuring.nights.night_masters.NightMasters
    findings : ccdflow.kinds.measuring.nights.night_findings.NightFindings
    settings : dict of str to (float or bool)
        As `ccdflow.kinds.measuring.nights.night_measurement.measure_night` takes them.

    Returns
    -------
    list of (str, object, str)
    """
    cards = [
        ("HOTRATE", float(settings["hot_rate"]), "[electron/s] of a hot pixel, at least"),
        ("LOWSIGMA", float(settings.get("low_sigma", LOW_SIGMA)), "sigma of a low pixel"),
        *([("CCDMASK", True, "pixels of ccdmask count as well")] if "includes_ccdmask" in settings
          else []),
    ]  # fmt: skip
    for place, record in enumerate([*night.darks, *night.flats][:_HIGHEST_NUMBER], start=1):
        cards += [
            (f"IMCOM{place:03d}", printable_text(record.product), "combined dark or flat"),
            (f"IMKEY{place:03d}", record.key, "its CCDFKEY"),
            (f"IMUSE{place:03d}", night.use_of(record), "its use in the search for bad pixels"),
        ]
    if not findings.sources_used:
        return cards
    noises = [night.read_noise(a)[0] for image in night.images for a in image.amplifiers]
    gains = [
        each["gain_used"] if each["gain_used"] > 0 else each["gain"] for each in findings.figures
    ]
    return cards + _noise_cards(noises, gains)


def _noise_cards(noises, gains):
    """Return the cards of read noise and gain of each amplifier."""
    cards = []
    for number, (noise, gain) in enumerate(zip(noises, gains, strict=True), start=1):
        tail = "" if len(noises) == 1 else f"{number:02d}"
        cards.append((f"MODRN{tail}", float(f"{noise:.9g}"), "[adu] read noise"))
        if gain > 0:
            cards.append((f"MODGN{tail}", float(f"{gain:.9g}"), "[electron/adu] gain"))
    return cards


def cards_of_shutter(night, series):
    """Return the cards of a map of a shutter.

    Parameters
    ----------
    night : ccdflow.kinds.measuring.nights.night_masters.NightMasters
    series : sequence of list of ccdflow.run.job_records.Record
        The flats of each light, with all frames that were used as members.

    Returns
    -------
    list of (str, object, str)
    """
    flat_cards, members_of_flats = [], []
    flats = [
        (number, flat)
        for number, flats_of_light in enumerate(series, start=1)
        for flat in flats_of_light
    ]
    for position, (number, flat) in enumerate(flats, start=1):
        flat_cards.append((f"SERIES{position:02d}", number, "flats of one light have one number"))
        for kind, master in night.masters_of(flat).items():
            word = kind.upper()
            flat_cards.append(
                (f"{word}IM{position:02d}", printable_text(master.product), f"its {kind}")
            )
            flat_cards.append((f"{word}KY{position:02d}", master.key, "its CCDFKEY"))
        for file, seconds in zip(flat.data["members"], night.seconds(flat), strict=True):
            members_of_flats.append(
                (printable_text(reduced_product(file)), position, float(seconds))
            )
    cards = list(flat_cards)
    for position, (name, flat_position, seconds) in enumerate(
        members_of_flats[:_HIGHEST_NUMBER], start=1
    ):
        cards += [
            (f"IMCOM{position:03d}", name, "flat"),
            (f"IMFLT{position:03d}", flat_position, "its number in SERIESnn"),
            (f"IMSEC{position:03d}", seconds, "[s] exposure"),
        ]
    first_amplifiers = [image.amplifiers[0] for image in night.images]
    noises = [night.read_noise(each)[0] for each in first_amplifiers]
    return cards + _noise_cards(noises, [each.gain or 1.0 for each in first_amplifiers])
