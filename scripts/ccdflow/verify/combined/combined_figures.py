"""The check of a combined image's figures: level, noise, gain, mask, by pixels, members, cards."""

from __future__ import annotations

import re

import numpy as np
from astropy.io import fits
from scipy import ndimage

from ccdflow.verify.combined import measuring, tolerances
from ccdflow.verify.comparing.amplifiers import (
    ROUNDING_VARIANCE,
    VerifiedAmplifier,
    card,
    check_level_noise,
    number_of_card,
    tails_of,
)
from ccdflow.verify.comparing.card_pairs import must_have
from ccdflow.verify.comparing.comparing import (
    NEAR_LIMIT_OF_CARD,
    Differs,
    check_bits,
    check_figure,
    check_value,
)
from ccdflow.verify.comparing.extensions import extension_name
from ccdflow.verify.detector.pixel_bits import NEAR_LIMIT_FRACTION, OpenBits, values_of_neighbours
from ccdflow.verify.reading.amplifier_places import place_of
from ccdflow.verify.reading.restated_numbers import (
    BLEED,
    DEAD,
    HOT,
    LEAST_LIT_RESPONSE,
    NO_DATA,
    NOT_FINITE,
    NOT_LINEAR,
    SATURATED,
    UNLIT,
)
from ccdflow.verify.reading.stored_rows import master_file, rows_of
from ccdflow.verify.reading.verdict import OLDER, CannotRemake

# Standard errors by which a hot pixel is above its surroundings: detector/dark_figures.py.
_HOT_SIGMA = 5.0
# Matches the comment of NHOT that combine/combined_header.py writes: the group is the rate.
_HOT_RATE_COMMENT = re.compile(r"pixels over those around by (\d[\d.]*(?:e[+-]?\d+)?) ")
# Pixels of a dark with a standard error above this many times the median have few members: they are
# left out of the noise of the dark.
_MOST_ERROR_RATIO = 3
# A column is hot throughout if at least this fraction of its pixels has charge of its own.
_HOT_COLUMN_FRACTION = 0.9
# A pixel holds at least this many electrons, or adu without a gain, before charge runs over.
_LEAST_WELL = 10_000.0


def check_figures(remade):
    """Compare the figures of a combined image with its pixels, its members and other cards.

    Parameters
    ----------
    remade : ccdflow.verify.combined.combined_verdict.RemadeImage

    Raises
    ------
    Differs
        If a figure or a bit of the mask differs.
    CannotRemake
        If the header of a dark lacks the limit of its hot pixels, or a master is missing.
    """
    header, account = remade.header, remade.account
    image = remade.hdus[remade.hdu].data
    check_figure(header, "IMGLEVEL", float(np.nanmean(image, dtype=np.float64)))
    check_figure(header, "NEMPTY", int(np.count_nonzero(np.isnan(image))))
    if not account.masters and not account.levels:
        _check_biases(remade)
        return
    masters = {
        kind: master_file(master, kind, remade.results) for kind, master in account.masters.items()
    }
    bias = fits.getheader(masters["bias"], remade.hdu) if "bias" in masters else None
    _check_model(remade, bias)
    mask = np.asarray(remade.extension("MASK").data)
    possible_bits = SATURATED | NOT_FINITE | NO_DATA
    possible_bits |= UNLIT if account.levels else HOT | BLEED | NOT_LINEAR
    if "dead" in [card(header, "AMPBAD", tail) for tail in tails_of(header)]:
        possible_bits |= DEAD
    check_bits(mask, possible_bits)
    is_flagged, is_empty = mask & NO_DATA != 0, np.isnan(image)
    if card(header, "TRIM", tails_of(header)[0]) is None:
        # Overscan that was not trimmed has values although the masks of the members flag it.
        is_flagged &= is_empty
    if count := np.count_nonzero(is_flagged != is_empty):
        raise Differs(f"{count} pixels of the mask are not empty as those of the image are")
    errors = np.asarray(remade.extension("UNCERT").data, dtype=np.float32)
    if bias is not None:
        _check_master_noise(remade, bias, masters)
    if account.levels:
        _check_flat(remade, image, errors, mask)
    else:
        _check_dark(remade, image, errors, mask)


def _check_biases(remade):
    """Compare the figures of a combined bias with those of its members."""
    header, account = remade.header, remade.account
    rows, stack = remade.sample(measuring.FIGURE_ROWS)
    for tail in tails_of(header):
        y, x = place_of(header, tail)
        frames = measuring.spread_rows(stack[:, (rows >= y.start) & (rows < y.stop), x])
        if len(frames) >= 2 and min(frames.shape[1:]) >= 2:
            _check_noise_of_biases(header, tail, frames, account)
            _check_clipping_noise(header, tail, frames)


def _check_noise_of_biases(header, tail, frames, account):
    """Compare RNOISE, CNOISPR and CNOISE of an amplifier of a combined bias with its members.

    Parameters
    ----------
    header : astropy.io.fits.Header
    tail : str
        End of the amplifier's keywords.
    frames : numpy.ndarray of shape (n, k, nx), float64
        Rows of the amplifier in each member, adu.
    account : ccdflow.verify.reading.accounts.CombinedAccount
    """
    n_members = len(frames)
    if card(header, "OSCAXIS", tail) == "columns":
        # The overscan has a level for each column: columns count as rows, so the frames are turned.
        frames = frames.swapaxes(1, 2)
    read_noise = number_of_card(card(header, "RNOISE", tail))
    if read_noise is not None:
        check_value(
            f"RNOISE{tail}",
            read_noise,
            measuring.read_noise_of_pairs(frames),
            rtol=tolerances.READ_NOISE_TOLERANCE,
            atol=tolerances.ZERO_NOISE_TOLERANCE,
        )
        check_value(
            f"CNOISPR{tail}",
            card(header, "CNOISPR", tail),
            measuring.predicted_noise(read_noise, n_members, account),
            rtol=tolerances.COMBINED_NOISE_TOLERANCE,
        )
    combined_noise = number_of_card(card(header, "CNOISE", tail))
    if combined_noise is not None:
        check_value(
            f"CNOISE{tail}",
            combined_noise,
            measuring.noise_of_two_halves(frames, account),
            rtol=tolerances.COMBINED_NOISE_TOLERANCE,
            atol=tolerances.ZERO_NOISE_TOLERANCE,
        )


def _check_clipping_noise(header, tail, frames):
    """Compare CLIPRN of an amplifier, the noise that clips, with pairs of members (n, k, nx)."""
    card_value = number_of_card(card(header, "CLIPRN", tail))
    # An amplifier without signal has no noise to measure.
    if card_value is None or card(header, "AMPBAD", tail) is not None:
        return
    noise = max(measuring.pair_noise(frames), ROUNDING_VARIANCE**0.5)
    # In a camera as quiet as the rounding, pairs cannot correct the value of header or profile.
    if card_value <= noise or measuring.has_scatter(frames, card_value):
        check_value(f"CLIPRN{tail}", card_value, noise, rtol=tolerances.CLIPPING_NOISE_TOLERANCE)


def _check_model(remade, bias):
    """Compare the parameters of the noise model with bias, gain, overscan and pairs of members."""
    header, account = remade.header, remade.account
    rows, stack = remade.sample(measuring.MODEL_ROWS)
    levels = account.levels or [1.0] * len(stack)
    for tail, model in zip(tails_of(header), account.models[remade.hdu], strict=True):
        measured_noise = None if bias is None else number_of_card(card(bias, "RNOISE", tail))
        if measured_noise:
            check_value(f"MODRN{tail}", model.read_noise, measured_noise)
        gain = number_of_card(card(header, "AMPGAIN", tail))
        if gain is not None:
            check_value(f"MODGN{tail}", model.gain, gain)
        if number_of_card(header.get(f"MODLN{tail}")) is not None:
            rounding_variance = 0.0 if measured_noise else ROUNDING_VARIANCE
            readout = VerifiedAmplifier(
                model.place, tail, read_noise=model.read_noise, rounding_variance=rounding_variance
            )
            check_level_noise("MODLN", model.level_noise, header, readout)
        y, x = model.place
        frames = stack[:, (rows >= y.start) & (rows < y.stop), x]
        if len(frames) < 2 or not np.isfinite(frames).any():
            continue
        light = measuring.box_medians(frames)
        square = model.factor**2
        factor, error = measuring.model_factor(
            frames, levels, light, model.fixed_variance / square, model.slope / square
        )
        # A factor of 0 corrects nothing: the differences of so quiet a camera are equal.
        factor = factor or 1.0
        # The noise is at least that of the rounding.
        factor = max(factor, min(1.0, (ROUNDING_VARIANCE * square / model.fixed_variance) ** 0.5))
        check_value(
            f"MODFC{tail}", model.factor, factor, rtol=tolerances.tolerance_of_factor(error)
        )


def _check_master_noise(remade, bias, masters):
    """Compare MBNOISE and MDNOISE with the header of the bias and the errors of the dark."""
    header, account = remade.header, remade.account
    noises = [number_of_card(card(bias, "CNOISPR", tail)) for tail in tails_of(bias)]
    noises = [noise for noise in noises if noise]
    levels = np.array(account.levels or [1.0])
    factors = np.array(account.masters["dark"].factors if "dark" in masters else [0.0])
    if noises:
        noise = float(np.mean(np.square(noises))) ** 0.5
        share = abs(float(np.mean((1 - factors) / levels))) if account.levels else 1.0
        check_figure(header, "MBNOISE", share * noise, rtol=tolerances.MASTER_NOISE_TOLERANCE)
    if "dark" in masters:
        rows = measuring.rows_measured_on(
            *remade.shape, len(account.members), measuring.FIGURE_ROWS
        )
        cut = account.masters["dark"].cut
        errors = rows_of(masters["dark"], extension_name("UNCERT", remade.hdu), rows, "dark", cut)
        errors = errors[np.isfinite(errors)].astype(np.float64)
        errors = errors[errors <= _MOST_ERROR_RATIO * np.median(errors)]
        noise = float(np.mean(errors**2)) ** 0.5
        check_figure(
            header,
            "MDNOISE",
            float(np.mean(factors / levels)) * noise,
            rtol=tolerances.MASTER_NOISE_TOLERANCE,
        )


def _check_flat(remade, image, errors, mask):
    """Compare the cards of a flat's light, and the mask of its unlit pixels.

    Parameters
    ----------
    remade : ccdflow.verify.combined.combined_verdict.RemadeImage
        The image, combined again.
    image, errors : numpy.ndarray of shape (ny, nx), float32
        Pixels of the product, and their standard errors.
    mask : numpy.ndarray of shape (ny, nx), int16
        Mask of the product.
    """
    header, levels = remade.header, remade.account.levels
    check_figure(header, "FLATLVL", float(np.median(levels)))
    check_figure(header, "FLATMIN", min(levels))
    check_figure(header, "FLATMAX", max(levels))
    n_wrong = 0
    for place, limit, uncertainty in _limits_of_light(remade):
        values, is_unlit = image[place], mask[place] & UNLIT != 0
        is_low = values < np.float32(limit * (1 - uncertainty))
        is_high = ~(values < np.float32(limit * (1 + uncertainty)))
        n_wrong += np.count_nonzero(is_low & ~is_unlit) + np.count_nonzero(is_high & is_unlit)
    if n_wrong:
        raise Differs(f"{n_wrong} pixels of the mask are not lit as the flat says")
    tails, signal_to_noise = tails_of(header), []
    for number, tail in enumerate(tails, start=1):
        place = place_of(header, tail)
        is_usable = (mask[place] == 0) & np.isfinite(image[place]) & (errors[place] > 0)
        if not is_usable.any():
            continue
        values = image[place][is_usable].astype(np.float32)
        signal_to_noise.append(float(np.median(values / errors[place][is_usable])))
        if len(tails) > 1 and f"FLATR{number:02d}" in header:
            check_figure(header, f"FLATR{number:02d}", float(values.mean(dtype=np.float64)))
    if signal_to_noise:
        check_figure(
            header,
            "FLATSN",
            min(value for value in signal_to_noise if value > 0),
            rtol=tolerances.FLAT_SIGNAL_TOLERANCE,
        )
        check_figure(
            header, "FLATRMS", 1 / header["FLATSN"], rtol=tolerances.FLAT_SCATTER_TOLERANCE
        )
    _check_gains(remade)


def _limits_of_light(remade):
    """Return (place, limit of unlit pixels, its relative uncertainty) of the parts of an image.

    The light of an amplifier without AMPGAIN follows from MODGN: the flat is in adu.
    """
    models, headers = remade.account.models, [hdu.header for hdu in remade.hdus]
    lacks_gain = any(
        card(headers[hdu], "AMPGAIN", tail) is None
        for hdu in models
        for tail in tails_of(headers[hdu])
    )
    all_models = [model for models_of_image in models.values() for model in models_of_image]
    gains = [model.gain for model in all_models if model.gain]
    if not lacks_gain or len(set(gains)) < 2:
        return [((slice(None), slice(None)), LEAST_LIT_RESPONSE, 0.0)]
    usual_gain = float(np.mean(gains))
    limit = LEAST_LIT_RESPONSE * _mean_light(remade, usual_gain)
    return [
        (model.place, limit / (model.gain or usual_gain), NEAR_LIMIT_OF_CARD)
        for model in models[remade.hdu]
    ]


def _mean_light(remade, usual_gain):
    """Return the mean light of the good pixels of all images of a flat, electrons.

    An amplifier without a known gain counts with the usual gain.
    """
    total_light, n_pixels = 0.0, 0
    for hdu, models in remade.account.models.items():
        pixels, mask = remade.hdus[hdu].data, remade.hdus[extension_name("MASK", hdu)].data
        for model in models:
            values = pixels[model.place]
            is_good = (mask[model.place] == 0) & np.isfinite(values)
            total_light += (model.gain or usual_gain) * values.sum(where=is_good, dtype=np.float64)
            n_pixels += np.count_nonzero(is_good)
    return total_light / n_pixels


def _check_gains(remade):
    """Compare GAINMEAS with the photon transfer of pairs of flats."""
    header, account = remade.header, remade.account
    rows, stack = remade.sample(measuring.FIGURE_ROWS)
    for tail, model in zip(tails_of(header), account.models[remade.hdu], strict=True):
        card_value = number_of_card(card(header, "GAINMEAS", tail))
        if card_value is None:
            continue
        y, x = model.place
        frames = stack[:, (rows >= y.start) & (rows < y.stop), x]
        gain, error = measuring.gain_of_pairs(frames, account.levels, model.read_noise)
        check_value(f"GAINMEAS{tail}", card_value, gain, rtol=tolerances.tolerance_of_gain(error))


def _check_dark(remade, image, errors, mask):
    """Compare the rate of a dark, its hot pixels and its trails of charge with its pixels.

    Parameters
    ----------
    remade : ccdflow.verify.combined.combined_verdict.RemadeImage
        The image, combined again.
    image, errors : numpy.ndarray of shape (ny, nx), float32
        Pixels of the product, and their standard errors.
    mask : numpy.ndarray of shape (ny, nx), int16
        Mask of the product.
    """
    header, seconds = remade.header, float(remade.first_header["EXPTIME"])
    must_have(header, "NHOT")
    check_figure(header, "EXPTIME", seconds)
    hot_rate = _hot_rate(header)
    bits = OpenBits(mask.shape)
    for tail, model in zip(tails_of(header), remade.account.models[remade.hdu], strict=True):
        part, gain = model.place, model.gain or 1.0
        values, flags = np.asarray(image[part], dtype=np.float64), mask[part]
        is_usable = (flags & ~(HOT | BLEED | NOT_LINEAR)) == 0
        if not is_usable.any():
            continue
        middle = float(np.median(image[part][(flags & ~HOT) == 0]))
        check_figure(header, f"DARKRT{tail}", middle * gain / seconds)
        _expect_hot(bits, part, values, errors[part], is_usable, hot_rate * seconds / gain)
        _expect_trails(bits, part, values, errors[part], flags & SATURATED != 0, gain)
    check_figure(header, "NHOT", int(np.count_nonzero(mask & HOT)))
    if n_wrong := bits.count_wrong(mask & (HOT | BLEED)):
        raise Differs(f"{n_wrong} pixels of the mask differ from those by the dark's pixels")


def _hot_rate(header):
    """Return the rate above which a pixel of a dark is hot, electrons a second.

    Only the comment of NHOT has the rate: raise `CannotRemake` if it has none.
    """
    comment = header.comments["NHOT"]
    match = _HOT_RATE_COMMENT.match(comment)
    if match is None:
        raise CannotRemake(
            f"the comment of NHOT should begin 'pixels over those around by <rate>', and is"
            f" {comment!r}: it is of an older version",
            OLDER,
        )
    return float(match[1])


def _expect_hot(bits, part, values, errors, is_usable, limit):
    """Require the bit in pixels of an amplifier that are far enough above their surroundings.

    Parameters
    ----------
    bits : ccdflow.verify.detector.pixel_bits.OpenBits
        Bits of the image; changed in place.
    part : (slice, slice)
        The amplifier.
    values, errors : numpy.ndarray of shape (ny, nx), float64 and float32
        Pixels of the amplifier and their standard errors, adu.
    is_usable : numpy.ndarray of shape (ny, nx), bool
        Good pixels of the amplifier.
    limit : float
        Adu above the surroundings that the limit of the rate means.
    """
    middle, noise = (float(np.median(plane[is_usable])) for plane in (values, errors))
    surroundings = np.maximum(values_of_neighbours(np.nan_to_num(values, nan=middle)), middle)
    noise_of_surroundings = np.maximum(
        values_of_neighbours(np.nan_to_num(errors, nan=noise)), noise
    )
    bits.add(
        HOT, values - surroundings, np.maximum(limit, _HOT_SIGMA * noise_of_surroundings), part
    )


def _expect_trails(bits, part, values, errors, is_full, gain):
    """Require the bit of trails in pixels with charge of full pixels, and in these full pixels.

    Parameters
    ----------
    bits : ccdflow.verify.detector.pixel_bits.OpenBits
        Bits of the image; changed in place.
    part : (slice, slice)
        The amplifier.
    values, errors : numpy.ndarray of shape (ny, nx), float64 and float32
        Pixels of the amplifier and their standard errors, adu.
    is_full : numpy.ndarray of shape (ny, nx), bool
        Saturated pixels of the amplifier.
    gain : float
        Electrons per adu.
    """
    middle, noise = (float(np.nanmedian(plane)) for plane in (values, errors))
    excess = values - values_of_neighbours(np.nan_to_num(values, nan=middle))
    limit = _HOT_SIGMA * np.maximum(values_of_neighbours(np.nan_to_num(errors, nan=noise)), noise)
    ring, column = np.ones((3, 3), bool), np.zeros((3, 3), bool)
    ring[1, 1], column[:, 1] = False, True
    bounds = []
    for limit_factor in (1 + NEAR_LIMIT_FRACTION, 1 - NEAR_LIMIT_FRACTION):
        with np.errstate(invalid="ignore"):
            has_charge = ~(excess <= limit_factor * limit)
            for column_index in np.flatnonzero(has_charge.mean(axis=0) >= _HOT_COLUMN_FRACTION):
                # In a column that is hot throughout, only an excess over its own charge ran over.
                level, error = (
                    np.quantile(plane[np.isfinite(plane)], 1 - _HOT_COLUMN_FRACTION)
                    if np.isfinite(plane).any()
                    else np.nan
                    for plane in (excess[:, column_index], errors[:, column_index])
                )
                least_charge = level + np.maximum(limit[:, column_index], _HOT_SIGMA * error)
                has_charge[:, column_index] = ~(
                    excess[:, column_index] <= limit_factor * least_charge
                )
            has_charge |= is_full
            sources = (excess >= limit_factor * _LEAST_WELL / gain) | is_full
        ends = ndimage.binary_dilation(sources, ring) & has_charge
        touching = ndimage.binary_dilation(has_charge, ring) & sources
        bounds.append(touching | ndimage.binary_propagation(ends, column, mask=has_charge))
    bits.set(BLEED, *bounds, part)
