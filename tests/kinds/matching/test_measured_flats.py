"""Which flat a frame takes where several compete: by the electrons that they turn out to have.

Before a flat is combined its level is not known; all that compete are combined before the frame.
"""

from __future__ import annotations

import gzip
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from small_frames import LFC_LIKE, begin, run_jobs, write_raw

from ccdflow.files.text_files.tables import table_rows
from ccdflow.kinds.matching.association import needs_of
from ccdflow.kinds.matching.measured_flats import preferred_flat
from ccdflow.run import job_records
from ccdflow.run.master_choices import Step, Use

TYPES = {"bias": "BIAS", "flat": "FLAT", "science": "OBJECT"}
KINDS = ("frame", "bias", "dark", "flat", "science", "associations")
CAMERAS = {"testcam": LFC_LIKE.format(name="TESTCAM").replace("-116.9", "0")}
EARLY_NIGHT, OLD_NIGHT, OWN_NIGHT, LATER_NIGHT = (
    "2024-03-08",
    "2024-03-09",
    "2024-03-10",
    "2024-03-12",
)


class FlatArchive:
    """Raw frames of 40 rows and 64 columns: gain 1.5, read noise 6 electrons, no dark current."""

    def __init__(self, folder):
        self.raw, self.results = folder / "raw", folder / "results"
        self._rng, self._numbers = np.random.default_rng(5), count()

    def take(self, kind, night, number=1, *, electrons=0.0, **cards):
        """Take frames of a night, and return the name of the last one's calibrated frame."""
        for _ in range(number):
            minute = next(self._numbers)
            light = self._rng.poisson(electrons, (40, 64)) + 6 * self._rng.standard_normal((40, 64))
            strip = 6 * self._rng.standard_normal((40, 8))
            pixels = np.rint(1000 + np.hstack([light, strip]) / 1.5).astype(np.uint16)
            header = {
                "INSTRUME": "TESTCAM",
                "IMAGETYP": TYPES[kind],
                "EXPTIME": {"bias": 0.0, "flat": 3.0}.get(kind, 60.0),
                "DATE-OBS": f"{night}T20:{minute // 60:02d}:{minute % 60:02d}",
                "FILTER": "V",
                **cards,
            }
            header = {name: value for name, value in header.items() if value is not None}
            file = f"{night}/{kind}{minute:03d}.fits"
            write_raw(self.raw / file, (pixels, header))
        return f"calibrated/{file}"

    def flats(self, night, electrons, number=5, **cards):
        self.take("flat", night, number, electrons=electrons, **cards)

    def run(self, results=None, **config):
        """Make all there is to be made."""
        return run_jobs(
            self.raw, results or self.results, CAMERAS, kinds=KINDS, **_calibrate(config)
        )

    def products_to_make(self, **config):
        """Return {product: why} of the next run, without pages."""
        session = begin(self.raw, self.results, CAMERAS, **_calibrate(config))
        session.lock.close()
        return {job.product: job.reason for job in session.plan.jobs_of_kind(*KINDS)}


def _calibrate(config):
    return {"calibrate": {"steps": ["bias", "flat"]} | config}


@pytest.fixture
def archive(tmp_path):
    night_archive = FlatArchive(tmp_path)
    for night, number in ((OLD_NIGHT, 4), (OWN_NIGHT, 6)):
        night_archive.take("bias", night, number)
    return night_archive


def night_of(done, product):
    """Return the night of the flat that a frame was divided by, by its header."""
    return fits.getheader(done.results / product)["FLATIM"].split("/")[1]


@pytest.mark.parametrize(
    ("measured", "first"),
    [
        ({"own": 9.0, "old": 5.9}, "old"),
        # Another night for so little is not worth it.
        ({"own": 9.0, "old": 6.1}, "own"),
        ({"own": 9.0, "old": 5.0, "older": 4.0}, "older"),
        # Nobody knows whether the one that is not measured is better or worse.
        ({"old": 0.1}, "own"),
        ({"own": 9.0, "old": None, "older": 1.0}, "older"),
        ({}, "own"),
    ],
)
def test_the_first_of_some_flats(measured, first):
    assert preferred_flat(["own", "old", "older"], measured) == first


def test_a_frame_waits_for_all_that_may_be_taken_where_its_flat_is_refused():
    """The flat of its night is of this run; behind it come one that was refused, and two rivals."""
    lags = {"own": 0, "refused": 1, "made": 2, "pending": 3, "later": -2}
    step = Step("flat", tuple(Use(name, lag, 1.0, 1.0, "A") for name, lag in lags.items()))
    pending = {"own", "pending", "later"}
    records = {name: job_records.Record(name, "flat", "key") for name in lags}
    records["refused"] = replace(records["refused"], status=job_records.REFUSED)
    made = {name: record for name, record in records.items() if record.status == job_records.MADE}
    settings = {"direction": "causal", "same_night": True, "scale_up": 1}
    context = SimpleNamespace(
        settings={"calibrate": settings | {"temperature_tolerance": 0.5}},
        kept_by_identity=lambda outcome_key, objects, make: make(), earlier_record={}.get,
        outcome=records.get, made_record=made.get,
        will_be_made=pending.__contains__,
    )  # fmt: skip
    needs, spare = needs_of(context, [step])
    assert set(needs) == {"own"}
    # A night after the frame's never goes before an earlier one that is there.
    assert {*spare} & pending == {"pending"}


def test_bright_flats_of_last_night_go_before_faint_ones_of_tonight(archive):
    """Five of 40,000 e- and five of 2,500: of the sky's variance 0.1 and 1.8 % at 5,000 e-."""
    archive.flats(OLD_NIGHT, 40_000)
    archive.flats(OWN_NIGHT, 2_500)
    archive.flats(LATER_NIGHT, 60_000)
    frame = archive.take("science", OWN_NIGHT, electrons=5_000)
    done = archive.run()
    assert night_of(done, frame) == OLD_NIGHT
    (row,) = (row for row in table_rows(done.results / "associations.csv") if row["step"] == "flat")
    assert (row["rank"], row["variance_is"], row["grade"]) == ("1", "measured", "B")
    # Of a night's ageing 1e-7; noise of a combined flat of some thousand pixels.
    assert float(row["predicted_variance"]) == pytest.approx(1 / 200_000 + 1e-7, rel=0.06)
    assert OWN_NIGHT in row["runner_up"]
    assert float(row["runner_up_variance"]) == pytest.approx(1 / 12_500, rel=0.06)
    assert archive.products_to_make() == {}
    # By a rule that wants the own night's the frame alone is made again.
    assert archive.products_to_make(same_night=True) == {
        frame: "its masters changed",
        "associations.csv": "its content changed",
    }


@pytest.mark.parametrize(("first", "second"), [("lamp", "sky"), ("sky", "lamp")])
def test_flats_of_the_twilight_and_of_a_lamp_by_their_electrons(archive, first, second):
    words = {"lamp": {"IMAGETYP": "DOMEFLAT"}, "sky": {"IMAGETYP": "SKYFLAT"}}
    archive.flats(OWN_NIGHT, 3_000, 4, **words[first])
    archive.flats(OWN_NIGHT, 40_000, 3, **words[second])
    frame = archive.take("science", OWN_NIGHT, electrons=5_000)
    header = fits.getheader(archive.run().results / frame)
    assert header["FLATIM"].endswith(f"_{second}.fits")
    assert header["FLATDT"] == 0


def test_flats_that_are_a_little_brighter_do_not_go_before_the_own_nights(archive):
    archive.flats(OLD_NIGHT, 36_000)
    archive.flats(OWN_NIGHT, 28_000)
    frame = archive.take("science", OWN_NIGHT, electrons=5_000)
    assert night_of(archive.run(), frame) == OWN_NIGHT


def test_a_late_bright_flat_is_taken_in_the_same_run_as_from_scratch(archive, tmp_path):
    archive.flats(OLD_NIGHT, 2_000, 3)
    archive.flats(OWN_NIGHT, 6_000)
    frame = archive.take("science", OWN_NIGHT, electrons=5_000)
    assert night_of(archive.run(), frame) == OWN_NIGHT
    archive.flats(OLD_NIGHT, 60_000, 4)
    done = archive.run()
    assert night_of(done, frame) == OLD_NIGHT
    assert archive.products_to_make() == {}
    scratch = archive.run(tmp_path / "scratch")
    for product in (frame, "associations.csv"):
        assert (done.results / product).read_bytes() == (scratch.results / product).read_bytes()


def test_a_late_faint_flat_leaves_the_frame_unchanged(archive):
    """The frame is looked at again, as the level of the new flat is not known before."""
    archive.flats(OLD_NIGHT, 2_000, 3)
    archive.flats(OWN_NIGHT, 6_000)
    frame = archive.take("science", OWN_NIGHT, electrons=5_000)
    before = archive.run().records[frame]
    stamp = (archive.results / frame).stat().st_mtime_ns
    archive.flats(OLD_NIGHT, 2_000, 1)
    assert archive.products_to_make()[frame] == "a flat that competes is made again"
    assert archive.run().records[frame].key == before.key
    assert (archive.results / frame).stat().st_mtime_ns == stamp
    assert archive.products_to_make() == {}
    # A late bias changes no light: the frame is looked at only for what it takes itself.
    archive.take("bias", OLD_NIGHT)
    assert frame not in archive.products_to_make()


@pytest.mark.parametrize("number", [1, 5])
def test_flats_that_are_set_aside_late_bring_no_light(archive, tmp_path, number):
    """One or all flats of a night get a twin each, and stay in their combined flat's group."""
    archive.flats(OLD_NIGHT, 6_000)
    archive.flats(OWN_NIGHT, 2_000)
    frame = archive.take("science", OWN_NIGHT, electrons=5_000)
    assert night_of(archive.run(), frame) == OLD_NIGHT
    for path in sorted((archive.raw / OLD_NIGHT).glob("flat*"))[:number]:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    done = archive.run()
    assert night_of(done, frame) == (OLD_NIGHT if number == 1 else OWN_NIGHT)
    assert archive.products_to_make() == {}
    scratch = archive.run(tmp_path / "scratch")
    assert (done.results / frame).read_bytes() == (scratch.results / frame).read_bytes()


def test_the_flat_that_others_are_held_against_may_be_refused(archive):
    """Without the own night's, last night's would be the first, and no other much better."""
    archive.take("bias", EARLY_NIGHT, 4)
    archive.flats(EARLY_NIGHT, 8_800, 4)
    archive.flats(OLD_NIGHT, 6_000)
    archive.flats(OWN_NIGHT, 2_500, 6)
    frame = archive.take("science", OWN_NIGHT, electrons=5_000)
    assert night_of(archive.run(steps=["flat"]), frame) == EARLY_NIGHT
    archive.take("bias", OWN_NIGHT)
    why = "a flat that competes is made again"
    assert archive.products_to_make(steps=["flat"])[frame] == why
    archive.run(steps=["flat"])
    assert frame not in archive.products_to_make(steps=["flat"])


def test_a_runner_up_that_does_not_compete_has_its_measured_figure_as_well(archive):
    """A flat of a later night is further away: its figure stands beside a measured one."""
    archive.take("bias", OWN_NIGHT, 5)
    archive.flats(OWN_NIGHT, 20_000.0)
    archive.flats(LATER_NIGHT, 2_500.0)
    frame = archive.take("science", OLD_NIGHT, electrons=100.0)
    done = archive.run()
    (row,) = [
        row
        for row in table_rows(done.results / "associations.csv")
        if row["frame"] == frame and row["step"] == "flat"
    ]
    assert (row["master"].split("/")[1], row["variance_is"]) == (OWN_NIGHT, "measured")
    assert row["runner_up"].split("/")[1] == LATER_NIGHT
    # Of five flats: by number both would add 6.7e-6.
    assert float(row["predicted_variance"]) == pytest.approx(1 / (5 * 20_000), rel=0.1)
    assert float(row["runner_up_variance"]) == pytest.approx(1 / (5 * 2_500), rel=0.1)


def test_a_flat_that_could_not_be_made_is_no_runner_up(archive):
    """The second best is one that there is: those of last night are saturated throughout."""
    archive.flats(EARLY_NIGHT, 8_800)
    archive.flats(OLD_NIGHT, 98_000, 4)
    archive.flats(OWN_NIGHT, 20_000)
    archive.take("science", OWN_NIGHT, electrons=5_000)
    done = archive.run(steps=["flat"])
    refused = [record for record in done.records.values() if record.status == job_records.REFUSED]
    assert [record.product.split("/")[1] for record in refused] == [OLD_NIGHT]
    (row,) = table_rows(done.results / "associations.csv")
    assert OWN_NIGHT in row["master"]
    assert EARLY_NIGHT in row["runner_up"]
    assert float(row["runner_up_variance"]) == pytest.approx(1 / 44_000, rel=0.06)
    assert archive.products_to_make(steps=["flat"]) == {}


def test_the_flats_of_swapped_wheels_compete(archive):
    """V and ND2 are one filter, whichever wheel has which."""
    archive.flats(OWN_NIGHT, 30_000, FILTER=None, FILTER1="ND2", FILTER2="V")
    wheels = {"FILTER": None, "FILTER1": "V", "FILTER2": "ND2"}
    frame = archive.take("science", OWN_NIGHT, electrons=5_000, **wheels)
    other = archive.take("science", OWN_NIGHT, electrons=5_000)
    done = archive.run()
    assert night_of(done, frame) == OWN_NIGHT
    assert "FLATIM" not in fits.getheader(done.results / other)
