"""A profile's overscan in frames without one: sections that the header states, and `size`."""

from pathlib import Path

import pytest
from camera_headers import header, profile

from ccdflow.camera.cameras import identify
from ccdflow.camera.geometry import LIT_STRIP_BY_CARD
from ccdflow.camera.profiles import load_cameras
from ccdflow.errors import FrameError

# The profile of a chip of 2048 x 40 with 32 columns of overscan at the right, as the LFC's.
COLUMNS = """
recognise: {{INSTRUME: PROBE}}
{more}
amplifiers: [{{data: {{python: "[:, :-32]"}}, overscan: {{python: "[:, -25:]"}}}}]
"""
LEFT_COLUMNS = """
recognise: {{INSTRUME: PROBE}}
{more}
amplifiers: [{{data: {{python: "[:, 50:]"}}, overscan: {{python: "[:, 5:49]"}}}}]
"""
ROWS = """
recognise: {{INSTRUME: PROBE}}
{more}
amplifiers: [{{data: {{python: "[:-20, :]"}}, overscan: {{python: "[-16:, :]"}}}}]
"""


def strip_of(tmp_path, text, made, **more):
    """Return the FITS section of the overscan that a profile takes in a frame."""
    lines = "\n".join(f"{key}: {value}" for key, value in more.items())
    camera = profile(tmp_path, text.format(more=lines))
    frame_geometry = camera.geometry([made], file="a.fits")
    assert frame_geometry.notes == ()
    (amplifier,) = frame_geometry.amplifiers
    return amplifier.overscan[0].to_fits()


CONTRADICTED_CARDS = {
    # Frames without their strip, or with part of it, by DATASEC or BIASSEC.
    "trimmed": (COLUMNS, 2048, 40, {"DATASEC": "[1:2048,1:40]"}, "DATASEC"),
    "trimmed, BIASSEC of before": (COLUMNS, 2048, 40, {"BIASSEC": "[2049:2080,1:39]"}, "BIASSEC"),
    "trimmed, all cards of before": (
        COLUMNS, 2048, 40,
        {"DATASEC": "[1:2048,1:40]", "TRIMSEC": "[1:2048,1:40]", "BIASSEC": "[2049:2080,1:40]"},
        "DATASEC",
    ),
    "trimmed within a window": (COLUMNS, 1000, 40, {"DATASEC": "[1:1000,1:40]"}, "DATASEC"),
    "12 of 32 columns left": (COLUMNS, 2060, 40, {"DATASEC": "[1:2048,1:40]"}, "DATASEC"),
    "binned, and its overscan as well": (
        COLUMNS, 1040, 20, {"CCDSUM": "2 2", "DATASEC": "[1:1024,1:20]"}, "DATASEC",
    ),
    "prescan trimmed": (LEFT_COLUMNS, 4096, 40, {"DATASEC": "[1:4096,1:40]"}, "DATASEC"),
    "rows trimmed": (ROWS, 60, 4100, {"DATASEC": "[1:60,1:4100]"}, "DATASEC"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTRADICTED_CARDS)
def test_a_strip_that_holds_data_by_the_header_sets_the_frame_aside(tmp_path, case):
    text, nx, ny, cards, keyword = CONTRADICTED_CARDS[case]
    frame_header = header(nx, ny, INSTRUME="PROBE", **cards)
    with pytest.raises(
        FrameError, match="the overscan of the camera's profile holds data"
    ) as caught:
        strip_of(tmp_path, text, frame_header)
    error = caught.value
    axis, length = ("NAXIS2", ny) if text is ROWS else ("NAXIS1", nx)
    size = f"[null, {ny}]" if text is ROWS else f"[{nx}, null]"
    assert (error.file, error.keyword, error.value) == ("a.fits", keyword, cards[keyword])
    assert error.allowed.startswith("a section without the ")
    assert f"recognised by {axis}: {length} (`overscan: none`" in error.remedy
    # The remedy that it names: the profile says that it is made for this size.
    assert f"write `size: {size}` into the profile" in error.remedy
    assert strip_of(tmp_path, text, frame_header, size=size)


# Cards that need not be about this frame, so that good frames may have them.
DOUBTED_CARDS = {
    # Of a camera whose strip counts among the columns of its chip, or of a trimmed frame.
    "all of the chip, by CCDSEC": (COLUMNS, 2048, 40, {"CCDSEC": "[1:2048,1:40]"}, "CCDSEC"),
    "all of the chip, by DETSEC": (COLUMNS, 2048, 40, {"DETSEC": "[2049:4096,1:40]"}, "DETSEC"),
    "binned, all by CCDSEC": (
        COLUMNS, 1024, 20, {"CCDSUM": "2 2", "CCDSEC": "[1:2048,1:40]"}, "CCDSEC",
    ),
    # Of a window whose camera writes the cards of the whole chip, or of a frame that was cut.
    "DATASEC of all windows": (COLUMNS, 1032, 40, {"DATASEC": "[1:2048,1:40]"}, "DATASEC"),
    "binned, of all windows": (
        COLUMNS, 548, 20, {"CCDSUM": "2 2", "DATASEC": "[1:2048,1:40]"}, "DATASEC",
    ),
    "BIASSEC of all windows": (COLUMNS, 1032, 40, {"BIASSEC": "[2049:2080,1:40]"}, "BIASSEC"),
    "rows of all windows": (ROWS, 60, 3000, {"DATASEC": "[1:60,1:4100]"}, "DATASEC"),
}  # fmt: skip


@pytest.mark.parametrize("case", DOUBTED_CARDS)
def test_a_card_that_need_not_be_about_the_frame_warns_alone(tmp_path, case):
    text, nx, ny, cards, keyword = DOUBTED_CARDS[case]
    frame_header = header(nx, ny, INSTRUME="PROBE", **cards)
    camera = profile(tmp_path, text.format(more=""))
    (note,) = camera.geometry([frame_header], file="a.fits").notes
    assert note.table_text.startswith(
        f"warning: {keyword}: the overscan of the camera's profile may hold data by this card"
        f" (found {cards[keyword]}, allowed: a section without the "
    )
    assert note.mark == LIT_STRIP_BY_CARD
    axis, length = ("NAXIS2", ny) if text is ROWS else ("NAXIS1", nx)
    size = f"[null, {ny}]" if text is ROWS else f"[{nx}, null]"
    assert f"recognised by {axis}: {length} (`overscan: none`" in note.text
    assert f"write `size: {size}` into the profile" in note.text
    sized = profile(tmp_path, text.format(more=f"size: {size}"))
    assert sized.geometry([frame_header], file="a.fits").notes == ()


SOUND_CARDS = {
    "whole": (COLUMNS, 2080, 40, {"DATASEC": "[1:2048,1:40]"}, "[2056:2080,1:40]"),
    "a window of rows": (COLUMNS, 2080, 10, {"DATASEC": "[1:2048,1:40]"}, "[2056:2080,1:10]"),
    "a window of columns with overscan": (
        COLUMNS, 1032, 40, {"DATASEC": "[1:1000,1:40]"}, "[1008:1032,1:40]",
    ),
    "binned, overscan of 32 columns": (
        COLUMNS, 1056, 20, {"CCDSUM": "2 2", "DATASEC": "[1:1024,1:20]"}, "[1032:1056,1:20]",
    ),
    "binned, its section of the chip's pixels": (
        COLUMNS, 1056, 20, {"CCDSUM": "2 2", "DATASEC": "[1:2048,1:40]"}, "[1032:1056,1:20]",
    ),
    # Two of the 25 columns of the strip at most are data: they hardly move a median.
    "a column too many": (COLUMNS, 2080, 40, {"DATASEC": "[1:2057,1:40]"}, "[2056:2080,1:40]"),
    "CCDSEC of the data": (COLUMNS, 2080, 40, {"CCDSEC": "[1:2048,1:40]"}, "[2056:2080,1:40]"),
    "TRIMSEC is all": (COLUMNS, 2080, 40, {"TRIMSEC": "[1:2080,1:40]"}, "[2056:2080,1:40]"),
    "BIASSEC": (COLUMNS, 2080, 40, {"BIASSEC": "[2049:2080,1:39]"}, "[2056:2080,1:40]"),
    "unreadable": (COLUMNS, 2080, 40, {"DATASEC": "all"}, "[2056:2080,1:40]"),
    "no card": (COLUMNS, 2048, 40, {}, "[2024:2048,1:40]"),
    # The header contradicts itself; the profile decides.
    "DATASEC is all, but not BIASSEC": (
        COLUMNS, 2080, 40, {"DATASEC": "[1:2080,1:40]", "BIASSEC": "[2049:2080,1:39]"},
        "[2056:2080,1:40]",
    ),
    "DATASEC is all, but not TRIMSEC": (
        COLUMNS, 2080, 40, {"DATASEC": "[1:2080,1:40]", "TRIMSEC": "[1:2048,1:40]"},
        "[2056:2080,1:40]",
    ),
    "CCDSEC is all, but not TRIMSEC": (
        LEFT_COLUMNS, 2080, 40, {"CCDSEC": "[1:2080,1:40]", "TRIMSEC": "[51:2080,1:40]"},
        "[6:49,1:40]",
    ),
    "prescan": (LEFT_COLUMNS, 4142, 40, {"DATASEC": "[51:4142,1:40]"}, "[6:49,1:40]"),
    "rows": (ROWS, 60, 4120, {"DATASEC": "[1:60,1:4100]"}, "[1:60,4105:4120]"),
}  # fmt: skip


@pytest.mark.parametrize("case", SOUND_CARDS)
def test_a_strip_that_no_card_contradicts_is_taken(tmp_path, case):
    text, nx, ny, cards, expected_strip = SOUND_CARDS[case]
    assert strip_of(tmp_path, text, header(nx, ny, INSTRUME="PROBE", **cards)) == expected_strip


def test_the_remedy_for_a_wrong_card_leaves_frames_of_other_sizes_alone(tmp_path):
    """`size` goes into a copy of the profile, which only frames of this size take."""
    for name, more in (("all", ""), ("copy", "size: [1032, null]")):
        (tmp_path / f"{name}.yaml").write_text(COLUMNS.format(more=more), "utf-8")
    cameras = load_cameras(tmp_path)
    for nx, name, strip in ((1032, "copy", "[1008:1032,1:9]"), (2080, "all", "[2056:2080,1:9]")):
        headers = [header(nx, 9, INSTRUME="PROBE", DATASEC="[1:2048,1:9]")]
        camera = identify(headers, cameras, file="a.fits")
        assert camera.name == name
        assert camera.geometry(headers, file="a.fits").amplifiers[0].overscan[0].to_fits() == strip


def test_two_amplifiers_that_share_a_section(tmp_path):
    text = """
recognise: {INSTRUME: PROBE}
amplifiers:
  - {name: L, data: {python: "[:, 0:100]"}, overscan: {python: "[:, -40:-20]"}}
  - {name: R, data: {python: "[:, 100:200]"}, overscan: {python: "[:, -20:]"}}
"""
    camera = profile(tmp_path, text)
    fine = header(240, 9, INSTRUME="PROBE", DATASEC="[1:200,1:9]", DETSIZE="[1:240,1:9]")
    assert len(camera.geometry([fine], file="a.fits").amplifiers) == 2
    cut = header(220, 9, INSTRUME="PROBE", DATASEC="[1:200,1:9]")
    with pytest.raises(FrameError, match=r"DATASEC: .* amplifier L has its overscan at \[181:200,"):
        camera.geometry([cut], file="a.fits")


def test_a_strip_that_a_card_gives_follows_the_header(tmp_path):
    text = "recognise: {{INSTRUME: PROBE}}\n{more}\namplifiers: [{{data: {{keyword: TRIMSEC}},"
    text += " overscan: {{keyword: BIASSEC}}}}]\n"
    frame_header = header(
        50, 9, INSTRUME="PROBE", DATASEC="[1:50,1:9]", TRIMSEC="[1:40,1:9]", BIASSEC="[41:50,1:9]"
    )
    assert strip_of(tmp_path, text, frame_header) == "[41:50,1:9]"


def test_the_profiles_that_come_along_give_a_size_or_have_cards_that_tell():
    """A profile with neither would need pixels to know an overscan from data."""
    free = {
        camera.name
        for camera in load_cameras(Path(__file__).parents[2] / "config" / "cameras")
        if camera.size == (None, None)
        and any(s.form != "keyword" for a in camera.amplifiers for s in a.overscan)
    }
    # Each frame of the LFC has DATASEC, CCDSEC and BIASSEC.
    assert free == {"lfc"}
