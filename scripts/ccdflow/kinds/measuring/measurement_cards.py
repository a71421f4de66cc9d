"""The cards that name the sources of a night's measurements: masters, flats, noise, limits."""

from __future__ import annotations

from ccdflow.files.header_text import printable_text
from ccdflow.run.products.product_names import reduced_product

HIGHEST_NUMBER = 999
"""The highest number in a keyword: FITS keywords have eight characters, here with five letters."""


def cards_of_pixels(night, findings, settings):
    """Return the cards of a night's table of bad pixels: its masters, limits, noises and gains.

    Parameters
    ----------
    night : ccdflow.kinds.measuring.nights.night_masters.NightMasters
    findings : ccdflow.kinds.measuring.nights.night_findings.NightFindings
    settings : dict of str to (float or bool)
        As `ccdflow.kinds.measuring.nights.night_measurement.measure_night` takes them: hot_rate,
        low_sigma, includes_ccdmask.

    Returns
    -------
    list of (str, object, str)
    """
    cards = [
        ("HOTRATE", float(settings["hot_rate"]), "[electron/s] of a hot pixel, at least"),
        ("LOWSIGMA", float(settings["low_sigma"]), "sigma of a low pixel"),
    ]
    if settings["includes_ccdmask"]:
        cards.append(("CCDMASK", True, "pixels of ccdmask count as well"))
    for number, record in enumerate([*night.darks, *night.flats][:HIGHEST_NUMBER], start=1):
        cards += [
            (f"IMCOM{number:03d}", printable_text(record.product), "combined dark or flat"),
            (f"IMKEY{number:03d}", record.key, "its CCDFKEY"),
            (f"IMUSE{number:03d}", night.role_of(record), "its use in the search for bad pixels"),
        ]
    if not findings.sources_used:
        return cards
    noises = [night.read_noise(a)[0] for image in night.images for a in image.amplifiers]
    gains = [
        each["gain_used"] if each["gain_used"] > 0 else each["gain"] for each in findings.figures
    ]
    return cards + _noise_cards(noises, gains)


def _noise_cards(noises, gains):
    """Return the cards of each amplifier's read noise, adu, and gain, electrons per adu."""
    cards = []
    for number, (noise, gain) in enumerate(zip(noises, gains, strict=True), start=1):
        suffix = "" if len(noises) == 1 else f"{number:02d}"
        cards.append((f"MODRN{suffix}", float(f"{noise:.9g}"), "[adu] read noise"))
        if gain > 0:
            cards.append((f"MODGN{suffix}", float(f"{gain:.9g}"), "[electron/adu] gain"))
    return cards


def cards_of_shutter(night, flats_by_light):
    """Return the cards of a shutter's map: its flats with masters and exposures, noises, gains.

    Parameters
    ----------
    night : ccdflow.kinds.measuring.nights.night_masters.NightMasters
    flats_by_light : sequence of list of ccdflow.run.job_records.Record
        The combined flats of each light, with the measured frames as members.

    Returns
    -------
    list of (str, object, str)
    """
    flat_cards, members_of_flats = [], []
    flats = [
        (light_number, flat)
        for light_number, flats_of_light in enumerate(flats_by_light, start=1)
        for flat in flats_of_light
    ]
    for flat_number, (light_number, flat) in enumerate(flats, start=1):
        flat_cards.append(
            (f"SERIES{flat_number:02d}", light_number, "flats of one light have one number")
        )
        for kind, master in night.subtracted_masters(flat).items():
            stem = kind.upper()
            flat_cards.append(
                (f"{stem}IM{flat_number:02d}", printable_text(master.product), f"its {kind}")
            )
            flat_cards.append((f"{stem}KY{flat_number:02d}", master.key, "its CCDFKEY"))
        for file, seconds in zip(flat.data["members"], night.exposures_of(flat), strict=True):
            members_of_flats.append(
                (printable_text(reduced_product(file)), flat_number, float(seconds))
            )
    cards = list(flat_cards)
    for number, (name, flat_number, seconds) in enumerate(
        members_of_flats[:HIGHEST_NUMBER], start=1
    ):
        cards += [
            (f"IMCOM{number:03d}", name, "flat"),
            (f"IMFLT{number:03d}", flat_number, "its number in SERIESnn"),
            (f"IMSEC{number:03d}", seconds, "[s] exposure"),
        ]
    first_amplifiers = [image.amplifiers[0] for image in night.images]
    noises = [night.read_noise(each)[0] for each in first_amplifiers]
    return cards + _noise_cards(noises, [each.gain or 1.0 for each in first_amplifiers])
