"""Groups of masters: their names, the split by the sensor's temperature, the frames in them."""

from types import SimpleNamespace

import pytest

from ccdflow.kinds import CHAIN
from ccdflow.kinds.masters import grouping
from ccdflow.kinds.masters.bias import BIAS_KIND
from ccdflow.kinds.masters.dark import DARK_KIND
from ccdflow.run.context import PlanContext
from ccdflow.run.raw_frames.header_store import HeaderStore
from ccdflow.run.raw_frames.rows import Facts, Row


def row(file, degrees=None, **fields):
    facts = {"temperature": "" if degrees is None else degrees, "type": "bias", "date_obs": ""}
    facts |= {name: fields.pop(name) for name in ("date_obs", "type") if name in fields}
    usual = {"status": "ok", "gone": False, "geometry": "g", "fingerprint": file}
    usual |= {"night": "2024-03-01", "camera": "cam"}
    return SimpleNamespace(file=file, facts=facts, **usual | fields)


@pytest.mark.parametrize(
    ("kind", "shared", "name"),
    [
        (BIAS_KIND, [], "bias_cam"),
        (BIAS_KIND, [("ccdsum", "2 2"), ("gain", "None"), ("readmode", "")], "bias_cam_2x2"),
        (BIAS_KIND, [("ccdsum", " 1 1 ")], "bias_cam_1x1"),
        (DARK_KIND, [("exptime", "300.0")], "dark_cam_300s"),
    ],
)
def test_the_name_has_the_values_that_its_frames_share(kind, shared, name):
    assert grouping.name_of_group(kind, "cam", shared) == name


def split(kind, rows):
    parts = grouping.split_by_sensor(kind, rows)
    return {shared: [each.file for each in part] for shared, part in parts}


def test_frames_taken_before_the_detector_was_cold_are_another_group():
    rows = [row("a", 10.0), row("b", -20.0), row("c", -19.8), row("d", -20.2), row("e")]
    assert split(BIAS_KIND, rows) == {
        (("degrees", "10C"),): ["a"],
        (("degrees", "-20C"),): ["b", "c", "d"],
        (("degrees", "unknown"),): ["e"],
    }


def test_a_drift_of_degrees_without_a_gap_splits_nothing():
    rows = [row(str(number), -20.0 + 4.9 * number) for number in range(4)]
    assert split(BIAS_KIND, rows) == {(): ["0", "1", "2", "3"]}
    # Darks are split by their temperature in another place.
    assert split(DARK_KIND, [row("a", 10.0), row("b", -20.0)]) == {(): ["a", "b"]}


def members(rows, *, outdated=(), records=None):
    context = SimpleNamespace(
        store=SimpleNamespace(rows={each.file: each for each in rows}),
        settings={"types": ["bias", "dark", "flat", "science"]},
        outdated_files=set(outdated),
        earlier_record=(records or {}).get,
    )
    return [each.file for each in grouping.possible_members(BIAS_KIND, context)]


def test_members_are_sorted_by_time_and_only_of_the_type():
    rows = [
        row("b", date_obs="2024-03-01T22:00:00"),
        row("a", date_obs="2024-03-01T23:00:00"),
        row("dark", date_obs="2024-03-01T21:00:00", type="dark"),
        row("unread", geometry=""),
        row("coming", status="arriving"),
        row("bad", date_obs="2024-03-01T23:30:00", status="set aside"),
    ]
    assert members(rows) == ["b", "a", "bad"]


def test_of_copies_the_first_is_a_member():
    rows = [row("a", fingerprint="same"), row("b", fingerprint="same"), row("c")]
    assert members(rows) == ["a", "c"]


def test_a_frame_whose_raw_file_is_gone_stays_unless_its_night_is_reduced_anew():
    gone, here = row("a", gone=True), row("b")
    # No other frame of its night and camera has a raw file.
    assert members([gone, row("b", night="2024-03-02")]) == ["a", "b"]
    # Another frame has one, and the reduced frame of this one is not as it would be made now.
    assert members([gone, here]) == ["b"]
    # The same frame has a raw file under another name.
    assert members([gone, row("c", fingerprint="a", night="2024-03-02")]) == ["c"]


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (0.0, -0.0), (1.5, "1.5")])
def test_equal_values_in_two_spellings_are_grouped_as_each_alone(one, other, tmp_path):
    """Groups compare header values as written: 1 and 1.0 make two groups, 1.5 and "1.5" one."""
    facts = {"type": "bias", "night": "2024-03-01", "gain": one}
    rows = [
        Row(f"{number}.fits", (), Facts.of({**facts, "gain": gain}), "cam", "g", "r", str(number))
        for number, gain in enumerate((one, other, one))
    ]
    store = HeaderStore({row.file: row for row in rows}, {"g": {"shape": [4, 6]}, "r": {}})
    store.shared["g"] |= {"layout": "image", "raw_shapes": [[0, [4, 6]]], "amplifiers": []}
    settings = {"types": "all", "bias": {"group_by": ["gain", "night"]}}
    context = PlanContext(
        settings=settings, raw=tmp_path, results=tmp_path, store=store, ledger={}, chain=CHAIN
    )
    groups = grouping.groups_of(BIAS_KIND, context).values()
    files = {dict(group.shared)["gain"]: list(group.files) for group in groups}
    expected = {str(one): ["0.fits", "2.fits"], str(other): ["1.fits"]}
    same = {str(one): ["0.fits", "1.fits", "2.fits"]}
    assert files == (same if str(one) == str(other) else expected)
