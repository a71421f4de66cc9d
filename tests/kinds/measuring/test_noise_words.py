"""Sentences on calibrated frames whose noise is not the predicted one, and on spectra."""

from types import SimpleNamespace

import pytest

from ccdflow.kinds.measuring.noise_sentences import (
    lamp_sentences,
    nights_of_odd_noise,
    sentences_of_records,
    sentences_on_noise,
)
from ccdflow.run import job_records


def context_and_records(*frames, shape=(100, 90)):
    """Return a context and records of frames: (filter, grism, noise, predicted noise, missing)."""
    rows, groups, records = {}, {}, []
    for number, (band, grism, measured, predicted, missing) in enumerate(frames):
        file, product = f"s{number}.fits", f"calibrated/s{number}.fits"
        facts = {"type": "science", "filter": band, "grism": grism}
        rows[file] = SimpleNamespace(camera="cam", file=file, facts=facts, geometry="one")
        steps = [SimpleNamespace(kind=kind, is_needed=True) for kind in ("bias", "dark", "flat")]
        groups[product] = SimpleNamespace(files=(file,), night="2024-03-05", steps=steps)
        image = {"sky": 9.0, "sky_rms": measured, "sky_predicted": predicted}
        data = {"images": [image], "unit": "electron", "missing": list(missing)}
        records.append(job_records.Record(product, "science", "key", data=data))
    geometry = SimpleNamespace(shape=shape, extension_shapes=())
    store = SimpleNamespace(rows=rows, geometry={"one": geometry}.get)
    context = SimpleNamespace(
        store=store, row=rows.__getitem__, groups=groups, find_group=groups.get, outcome={}.get
    )
    return context, records


@pytest.mark.parametrize(
    ("measured", "grism", "missing", "expected"),
    [
        (12.0, "", (), "12.0 e- a pixel, 20 % above the 10.0 e- that UNCERT predicts: stars"),
        (12.0, "", ("flat",), "no flat was divided: the response of the pixels is in it"),
        (12.0, "", ("dark",), "no dark was subtracted: hot pixels are in it"),
        (12.0, "Gr#3", (), "lines of the sky, and the object's profile across the slit"),
        (12.0, "Free", (), "stars as close as pixels"),
        (8.0, "", ("dark",), "20 % below the 10.0 e- that UNCERT predicts: the gain in use is too"),
    ],
)
def test_noise_that_is_a_fifth_off_is_reported_with_its_likely_reason(
    measured, grism, missing, expected
):
    context, records = context_and_records(*[("g", grism, measured, 10.0, missing)] * 3)
    (sentence,) = sentences_of_records(context, records)
    assert sentence.startswith("cam: the noise of 3 calibrated frames (g")
    assert expected in sentence
    assert (sentences_of_records(context, records, includes_spectra=False) == []) is (
        grism == "Gr#3"
    )


def test_noise_within_ten_percent_of_its_prediction_is_not_reported():
    frames = [("g", "", 10.9, 10.0, ()), ("r", "", 9.1, 10.0, ()), ("i", "", None, 10.0, ())]
    assert sentences_of_records(*context_and_records(*frames, ("z", "", 10.0, None, ()))) == []
    # One odd frame of three is no fault of the camera.
    assert (
        sentences_of_records(*context_and_records(*frames[:1] * 2, ("g", "", 30.0, 10.0, ()))) == []
    )
    assert len(sentences_of_records(*context_and_records(*frames, ("V", "", 11.2, 10.0, ())))) == 1


@pytest.mark.parametrize(
    ("shape", "least"), [((300, 2), 50.0), ((1, 320), 15.9), ((300, 12), 17.7), ((300, 30), 10.0)]
)
def test_noise_of_a_few_pixels_is_reported_only_if_chance_cannot_make_it(shape, least):
    """300 x 2 pixels give 32 differences: a sound frame's was 29 % too small."""
    for percent in (least - 0.5, least + 0.5):
        archive = context_and_records(("g", "", 10 - percent / 10, 10.0, ()), shape=shape)
        assert len(sentences_of_records(*archive)) == (percent > least)


def test_spectra_divided_by_the_spectrum_of_a_lamp_are_reported():
    frames = [("", "Gr#3", 10, 10, ()), ("", "Gr#3", 10, 10, ()), ("", "Gr#5", 10, 10, ("flat",))]
    (sentence,) = lamp_sentences(*context_and_records(*frames, ("g", "", 10, 10, ())))
    assert sentence.startswith(
        "cam: 2 spectra (Gr#3) were divided by flats that have the spectrum of"
    )


def test_notes_of_single_nights_give_one_sentence_on_all_nights():
    off = [context_and_records(*[("g", "", noise, 10.0, ())] * 2) for noise in (12.0, 13.0, 14.0)]
    for number, (context, _) in enumerate(off):
        for group in context.groups.values():
            group.night = f"2024-03-0{number}"
    noted = [entry for archive in off for entry in nights_of_odd_noise(*archive)]
    (sentence,) = sentences_on_noise(reversed(noted))
    assert sentence.startswith(
        "cam: the noise of 6 calibrated frames of 3 nights (g) is 13.0 e- a pix"
    )
