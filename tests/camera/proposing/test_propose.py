"""The proposal finds in the pixels what a simulator, or an observatory, put there."""

import re
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from astropy.io import fits

import new_camera
from ccdflow import simulate
from ccdflow.camera.cameras import identify
from ccdflow.camera.profiles import load_camera, load_cameras
from ccdflow.camera.proposing.findings import sentences_on_image
from ccdflow.camera.proposing.lit_columns import measure_axis
from ccdflow.camera.proposing.proposal import propose
from ccdflow.camera.sections import Region
from ccdflow.errors import FrameError, UserError

DATA = Path(__file__).parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real frames in {DATA}")
# As wide as the LFC, and high enough for its seventh leaked column to show in a bias.
LFC = replace(simulate.LFC, ny=160)


def simulate_frame(camera, name, *, seed=3):
    """Return the header and the pixels of a frame of the guide's night."""
    frame = next(one for one in simulate.guide_frames() if one.file == name)
    detector = simulate.draw_guide_detector(camera, seed=seed)
    realisation = simulate.realise(camera, frame, seed=seed)
    response = (
        simulate.flat_response(camera, frame.filter, seed=seed) if realisation.signal else None
    )
    raw = simulate.render(camera, detector, frame, realisation, response=response)
    return fits.Header(simulate.header_cards(camera, frame, seed=seed)), raw


BIAS, FLAT, OBJECT = "ccd.001.0.fits.gz", "ccd.014.0.fits.gz", "ccd.037.0.fits.gz"


def sections_of_amplifier(proposal):
    """Return data and overscan of the only amplifier, as FITS sections."""
    (seen,) = proposal.images_seen
    ((_, data, strips),) = seen.amplifiers
    return data.to_fits(), [strip.to_fits() for strip in strips]


def as_profile(proposal, folder):
    path = folder / "probe.yaml"
    path.write_text(proposal.yaml, encoding="utf-8")
    return load_camera(path)


# -- the LFC ----------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [(FLAT,), (BIAS,), (OBJECT,), (BIAS, FLAT), (FLAT, BIAS)])
def test_the_overscan_of_the_lfc_is_that_which_the_guide_found_by_eye(names, tmp_path):
    header, *frames = [part for name in names for part in simulate_frame(LFC, name)][:2]
    other = [simulate_frame(LFC, names[1])[1]] if len(names) == 2 else None
    proposal = propose([header], frames, other_arrays=other, file="a.fits")
    assert sections_of_amplifier(proposal) == ("[1:2048,1:160]", ["[2056:2080,1:160]"])
    findings = " ".join(proposal.findings)
    assert "BIASSEC [2049:2080,1:159] is wrong: it is 1 of 160 rows too short" in findings
    assert "columns 2049 to 2055 of it do not hold the level alone" in findings
    assert "light leaks in; left out" in findings
    (amplifier,) = as_profile(proposal, tmp_path).geometry([header], file="a.fits").amplifiers
    assert amplifier.overscan[0].to_fits() == "[2056:2080,1:160]"


def test_a_camera_without_filters_is_not_asked_for_one():
    header, flat = simulate_frame(LFC, FLAT)
    del header["FILTER"]
    lines = propose([header], [flat], file="a.fits").yaml.splitlines()
    expected_line = (
        "# No card was found for filter: name it here; a camera without filters needs none."
    )
    assert expected_line in lines


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("leaked", [0, 4])
def test_a_sound_header_needs_no_profile(side, leaked):
    camera = replace(
        LFC,
        nx=300,
        overscan_side=side,
        n_leaked=leaked,
        has_usable_biassec=True,
        instrument="PROBE",
    )
    header, flat = simulate_frame(camera, FLAT)
    proposal = propose([header], [flat], file="a.fits")
    expected_section = camera.section(camera.usable_overscan_columns)
    assert sections_of_amplifier(proposal) == (
        camera.section(camera.data_columns),
        [expected_section],
    )
    assert proposal.findings[-1].startswith("The header alone gives the same")
    assert any("BIASSEC" in finding and "agrees" in finding for finding in proposal.findings)


# -- other cameras, made up -------------------------------------------------------------------


def lit(ny, nx, *, seed, light=900.0, level=1000.0, noise=4.0, gain=1.5):
    """Return a frame with light on every pixel: level, read noise and photon noise, whole adu."""
    rng = np.random.default_rng(seed)
    light = np.broadcast_to(light, (ny, nx))
    photons = rng.poisson(np.maximum(light, 0) * gain) / gain
    return np.round(level + photons + rng.normal(0, noise, (ny, nx))).astype(np.uint16)


def header_of(image, **cards):
    frame_header = fits.Header({"NAXIS": 2, "NAXIS1": image.shape[1], "NAXIS2": image.shape[0]})
    frame_header.update({"INSTRUME": "PROBE", "IMAGETYP": "flat"} | cards)
    return frame_header


def test_columns_that_leave_the_level_of_a_strip_are_named_with_their_figures():
    light, level = np.repeat([900, 0], [100, 40]), np.full(140, 1000)
    level[[115, 116, 130]] += [40, 90, -60]
    image = lit(200, 140, light=light, level=level, seed=5)
    proposal = propose([header_of(image)], [image], file="a.fits")
    sentences = " ".join(text for text in proposal.findings if "left out" in text)
    form = r"Column (\d+) is (\d+\.\d) adu (above|below) it; left out\."
    figures = re.findall(form, sentences)
    assert [(column, side) for column, _, side in figures] == [
        ("116", "above"), ("117", "above"), ("131", "below"),
    ]  # fmt: skip
    assert [float(height) for _, height, _ in figures] == pytest.approx([40, 90, 60], abs=1)


def test_two_amplifiers_with_their_strips_one_after_the_other(tmp_path):
    """As Kast, with an uneven division that only the bias shows."""
    light = np.zeros(260)
    light[:220] = 900
    level = np.full(260, 1000.0)
    level[100:220] = level[240:] = 1060
    flat = lit(120, 260, light=light, level=level, seed=1)
    bias = lit(120, 260, light=0, level=level, seed=2)
    header = header_of(flat)
    proposal = propose([header], [bias], other_arrays=[flat], file="a.fits")
    (seen,) = proposal.images_seen
    assert [(d.to_fits(), [s.to_fits() for s in strips]) for _, d, strips in seen.amplifiers] == [
        ("[1:100,1:120]", ["[221:240,1:120]"]),
        ("[101:220,1:120]", ["[241:260,1:120]"]),
    ]
    geometry = as_profile(proposal, tmp_path).geometry([header], file="a.fits")
    assert geometry.shape == (120, 220)
    proposal = propose([header], [flat], file="a.fits")
    assert proposal.images_seen[0].amplifiers[0][1].to_fits() == "[1:110,1:120]"
    assert "a bias as well would show" in " ".join(proposal.findings)


def test_strips_of_two_levels_of_one_amplifier():
    """The bias has no step in its data, so the second strip is not another amplifier's."""
    light = np.zeros(260)
    light[:220] = 900
    level = np.full(260, 1000.0)
    level[240:] = 1060
    flat = lit(120, 260, light=light, level=level, seed=1)
    bias = lit(120, 260, light=0, level=level, seed=2)
    proposal = propose([header_of(flat)], [bias], other_arrays=[flat], file="a.fits")
    assert sections_of_amplifier(proposal)[0] == "[1:220,1:120]"
    assert "are not of two amplifiers" in " ".join(proposal.findings)


def test_overscan_in_the_middle():
    light = np.full(300, 700.0)
    light[140:160] = 0
    level = np.where(np.arange(300) < 150, 1000.0, 1030.0)
    proposal = propose(
        [header_of(np.zeros((90, 300)))], [lit(90, 300, light=light, level=level, seed=5)], file="a"
    )
    (seen,) = proposal.images_seen
    assert [(d.to_fits(), [s.to_fits() for s in strips]) for _, d, strips in seen.amplifiers] == [
        ("[1:140,1:90]", ["[141:150,1:90]"]),
        ("[161:300,1:90]", ["[151:160,1:90]"]),
    ]


def test_dark_rows_above_the_data_are_proposed_as_overscan():
    light = np.full((200, 1), 500.0)
    light[180:] = 0
    flat = lit(200, 130, light=light, seed=6)
    assert sections_of_amplifier(propose([header_of(flat)], [flat], file="a")) == (
        "[1:130,1:180]",
        ["[1:130,181:200]"],
    )


def test_a_proposal_without_overscan_has_a_note(tmp_path):
    flat = lit(100, 150, seed=7)
    proposal = propose([header_of(flat)], [flat], file="a.fits")
    assert "there is no overscan, or it is of no use" in " ".join(proposal.findings)
    assert "overscan: none" in proposal.yaml
    camera = as_profile(proposal, tmp_path)
    assert camera.geometry([header_of(flat)], file="a.fits").amplifiers[0].along == "none"


def test_an_unlit_border_is_no_overscan():
    """Light that fades towards an edge leaves columns as dark as overscan."""
    light = 900 * np.clip(np.arange(200) / 120 - 0.3, 0, 1)
    flat, bias = lit(150, 200, light=light, seed=8), lit(150, 200, light=0, seed=9)
    proposal = propose([header_of(flat)], [bias], other_arrays=[flat], file="a.fits")
    assert sections_of_amplifier(proposal) == ("[1:200,1:150]", [])
    assert "unlit detector, no overscan" in " ".join(proposal.findings)


def test_a_bias_alone_does_not_tell_overscan_from_data(tmp_path):
    bias = lit(100, 150, light=0, seed=10)
    header = header_of(bias, IMAGETYP="bias")
    proposal = propose([header], [bias], file="a.fits")
    assert "better give a flat as well" in proposal.findings[0]
    assert "overscan: none" not in proposal.yaml
    as_profile(proposal, tmp_path)


def test_four_extensions_are_proposed_as_parts_of_one_image(tmp_path):
    headers = [fits.Header({"NAXIS": 0, "INSTRUME": "PROBE", "IMAGETYP": "flat"})]
    arrays = [None]
    for index in range(4):
        light = np.full(60, 800.0)
        light[48:] = 0
        arrays.append(lit(100, 60, light=light, level=1000 + 20 * index, seed=20 + index))
        x, y = 48 * (index % 2), 100 * (index // 2)
        headers.append(header_of(arrays[-1], DETSEC=f"[{x + 1}:{x + 48},{y + 1}:{y + 100}]"))
    proposal = propose(headers, arrays, file="a.fits")
    geometry = as_profile(proposal, tmp_path).geometry(headers, file="a.fits")
    assert (geometry.shape, geometry.layout) == ((200, 96), "image")
    assert [a.overscan[0].to_fits() for a in geometry.amplifiers] == ["[49:60,1:100]"] * 4
    # One finding and one entry for what all of them share, and their levels as the first's.
    assert re.fullmatch(
        r"HDU 1 to 4: Columns 49 to 60 hold the level alone: \d+\.\d adu, noise [34]\.\d adu: used "
        r"as overscan\. \(The numbers are those of HDU 1\.\)",
        proposal.findings[0],
    )
    assert proposal.yaml.count("hdu:") == 1


def test_too_faint_a_frame_leaves_the_sections_to_the_header():
    """As LRIS: a star in one extension, no light next to the overscan the header tells of."""
    headers, arrays = [fits.Header({"NAXIS": 0, "PRECOL": 6, "POSTPIX": 12})], [None]
    for index in range(2):
        light = np.zeros(80)
        light[30:36] = 60 * index
        arrays.append(lit(150, 80, light=light, level=1000 + 50 * index, seed=30 + index))
        headers.append(header_of(arrays[-1], DATASEC="[7:68,1:150]", IMAGETYP="object"))
    proposal = propose(headers, arrays, file="a.fits")
    assert [seen.amplifiers[0][1].to_fits() for seen in proposal.images_seen] == [
        "[7:68,1:150]"
    ] * 2
    assert {seen.amplifiers[0][2][0].to_fits() for seen in proposal.images_seen} == {
        "[69:80,1:150]"
    }
    assert "The values below are the header's" in proposal.findings[0]
    assert "The header alone gives the same" in proposal.findings[-1]


def test_a_proposal_notes_overscan_that_light_trails_into():
    """As Kast red: each column after the data holds a little less than the one before."""
    light = np.full(232, 6000.0)
    light[200:] = 150 * 0.9 ** np.arange(32)
    flat, bias = lit(250, 232, light=light, seed=40), lit(250, 232, light=0, seed=41)
    proposal = propose([header_of(flat)], [bias], other_arrays=[flat], file="a.fits")
    assert sections_of_amplifier(proposal)[0] == "[1:200,1:250]"
    assert "light trails into them, and the level is not sure" in proposal.findings[0]


def test_frames_of_different_size_are_refused():
    flat, bias = lit(100, 150, seed=1), lit(100, 151, seed=1)
    with pytest.raises(
        UserError, match=r"not of the same size .found .*; allowed: .\d+, \d+.; give"
    ):
        propose([header_of(flat)], [flat], other_arrays=[bias], file="a.fits")
    with pytest.raises(FrameError, match="no image"):
        propose([fits.Header({"NAXIS": 0})], [None], file="a.fits")


def test_pixels_are_not_changed():
    flat = lit(60, 90, seed=11)
    before = flat.copy()
    propose([header_of(flat)], [flat], file="a.fits")
    np.testing.assert_array_equal(flat, before)


# -- real frames ------------------------------------------------------------------------------


@needs_data
@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("saao_ste3/a8280271.fits",), [("[17:528,1:512]", ["[3:16,1:512]"])]),
        (("goodman_focus/sp_400m1.fits",), [("[51:4142,1:400]", ["[7:50,1:400]"])]),
        (("goodman_focus/sp_400m2.fits",), [("[51:4142,1:400]", ["[7:50,1:400]"])]),
        (
            ("kast_blue_2015/b14.fits.gz", "kast_blue_2015/b10.fits.gz"),
            [
                ("[1:1024,1:350]", ["[2050:2080,1:350]"]),
                ("[1025:2048,1:350]", ["[2081:2111,1:350]"]),
            ],
        ),
        (
            ("isis_blue_2016/r2324594.fit.gz", "isis_blue_2016/r2324583.fit.gz"),
            [("[1:483,1:4099]", ["[1:483,4101:4200]"])],
        ),
        (
            ("vbo_uags_2025/02jan2025_bias1.fits", "vbo_uags_2025/02jan2025_dft3.fits"),
            [("[1:1340,1:400]", [])],
        ),
    ],
)
def test_profiles_proposed_for_real_cameras_are_right(names, wanted):
    headers, images = new_camera.read_hdus(DATA / names[0])
    other = new_camera.read_hdus(DATA / names[1])[1] if len(names) == 2 else None
    (seen,) = propose(headers, images, other_arrays=other, file=names[0]).images_seen
    sections = [(d.to_fits(), [s.to_fits() for s in strips]) for _, d, strips in seen.amplifiers]
    assert sections == wanted


def test_a_profile_leaves_to_a_sound_header_its_sections(tmp_path):
    """With regions of its own it would refuse the camera's other windows and binnings."""
    light = np.full(60, 800.0)
    light[48:] = 0
    flat = lit(100, 60, light=light, seed=50)
    header = header_of(flat, BIASSEC="[49:60,1:100]", DATASEC="[1:48,1:100]")
    camera = as_profile(propose([header], [flat], file="a.fits"), tmp_path)
    assert (camera.amplifiers, camera.size) == ((), (None, None))
    window = header_of(flat[:40], BIASSEC="[49:60,1:40]", DATASEC="[1:48,1:40]")
    assert camera.geometry([window], file="a.fits").shape == (40, 48)


def test_the_only_image_may_stand_in_any_hdu(tmp_path):
    """A compressed frame has it in the first extension, the same frame uncompressed has not."""
    light = np.full(60, 800.0)
    light[48:] = 0
    flat = lit(100, 60, light=light, seed=66)
    headers = [fits.Header({"NAXIS": 0}), header_of(flat)]
    camera = as_profile(propose(headers, [None, flat], file="a.fits.fz"), tmp_path)
    for one in (headers, headers[1:]):
        assert camera.geometry(one, file="a").amplifiers[0].overscan[0].to_fits() == "[49:60,1:100]"


def test_pixels_that_are_not_finite_and_axes_of_length_1():
    light = np.full((120, 1), 800.0)
    light[:12] = 0
    flat = lit(120, 90, light=light, seed=51).astype(np.float32)
    flat[50:53, 40:43] = np.nan
    flat[:, 7] = np.inf
    bias = lit(120, 90, light=0, seed=52).astype(np.float32)
    bias[:3, :3] = np.nan
    header = header_of(flat)
    header["NAXIS"], header["NAXIS3"] = 3, 1
    for one, other in ((flat, bias), (bias, flat)):
        proposal = propose(
            [header], [one[np.newaxis]], other_arrays=[other[np.newaxis]], file="a.fits"
        )
        assert sections_of_amplifier(proposal) == ("[1:90,13:120]", ["[1:90,1:12]"])


@pytest.mark.parametrize("value", [0, 65535])
def test_an_extension_that_is_dead_or_saturated_is_left_to_the_header(value):
    light = np.full(60, 800.0)
    light[48:] = 0
    flats = [None, lit(100, 60, light=light, seed=53), lit(100, 60, light=light, seed=54)]
    biases = [None, *(lit(100, 60, light=0, seed=55 + i) for i in range(2))]
    flats[2][:, :48] = biases[2][:, :48] = value
    cards = {"BIASSEC": "[49:60,1:100]", "DATASEC": "[1:48,1:100]"}
    headers = [fits.Header({"NAXIS": 0})]
    headers += [header_of(flats[1], DETSEC=f"[{x + 1}:{x + 48},1:100]", **cards) for x in (0, 48)]
    proposal = propose(headers, biases, other_arrays=flats, file="a.fits")
    assert "HDU 2: All or most of this image is at one value" in " ".join(proposal.findings)
    assert [one.amplifiers[0][2][0].to_fits() for one in proposal.images_seen] == [
        "[49:60,1:100]"
    ] * 2
    assert "The header alone gives the same" in proposal.findings[-1]


def test_rows_are_found_beside_a_level_that_drifts():
    """As IMACS: overscan at the right and above, and a BIASSEC that is the corner of both."""
    light = np.full((190, 160), 800.0)
    light[160:], light[:, 128:] = 0, 0
    level = 1000 + 8 * np.sin(np.arange(190) / 9)[:, np.newaxis]
    flat = lit(190, 160, light=light, level=level, seed=57)
    header = header_of(flat, BIASSEC="[129:160,161:190]", DATASEC="[1:128,1:160]")
    assert sections_of_amplifier(propose([header], [flat], file="a.fits")) == (
        "[1:128,1:160]",
        ["[129:160,1:160]"],
    )


def test_amplifiers_with_their_strips_on_either_side():
    """As a chip of DECam without its cards; only the bias tells that there are two."""
    light = np.full(200, 800.0)
    light[:30] = light[170:] = 0
    level = np.where(np.arange(200) < 96, 1000.0, 1150.0)
    flat = lit(120, 200, light=light, level=level, seed=58)
    bias = lit(120, 200, light=0, level=level, seed=59)
    (seen,) = propose([header_of(flat)], [bias], other_arrays=[flat], file="a.fits").images_seen
    assert [(d.to_fits(), [s.to_fits() for s in strips]) for _, d, strips in seen.amplifiers] == [
        ("[31:96,1:120]", ["[1:30,1:120]"]),
        ("[97:170,1:120]", ["[171:200,1:120]"]),
    ]
    proposal = propose([header_of(flat)], [flat], file="a.fits")
    assert "a bias as well would show" in " ".join(proposal.findings)
    level = np.where(np.arange(200) < 30, 1020.0, 1000.0)
    flat = lit(120, 200, light=light, level=level, seed=60)
    bias = lit(120, 200, light=0, level=level, seed=61)
    assert (
        sections_of_amplifier(propose([header_of(flat)], [bias], other_arrays=[flat], file="a"))[0]
        == "[31:170,1:120]"
    )


def test_a_proposal_names_the_part_of_a_strip_that_the_header_uses():
    light = np.full(200, 800.0)
    light[:30] = light[170:] = 0
    level = np.where(np.arange(200) < 100, 1000.0, 1150.0)
    sections = {"DATASECA": "[31:100,1:120]", "BIASSECA": "[5:30,1:120]"}
    sections |= {"DATASECB": "[101:170,1:120]", "BIASSECB": "[171:198,1:120]"}
    flat = lit(120, 200, light=light, level=level, seed=64)
    findings = " ".join(propose([header_of(flat, **sections)], [flat], file="a.fits").findings)
    assert "noise 4.0 adu: 5 to 30 used as overscan" in findings
    assert "171 to 198 used as overscan" in findings
    assert "not used" not in findings


def test_a_step_in_a_bias_is_no_light():
    """The right amplifier is noisier and its level is higher, but there is no light in a bias."""
    right = np.arange(240) >= 120
    level, noise = np.where(right, 1200.0, 1000.0), np.where(right, 7.0, 4.0)
    bias = lit(200, 240, light=0, level=level, noise=noise, seed=65)
    proposal = propose([header_of(bias, IMAGETYP="zero")], [bias], file="a.fits")
    assert "better give a flat as well" in proposal.findings[0]
    assert not re.search("leaks|fades", " ".join(proposal.findings))


def test_amplifiers_one_above_the_other_are_the_headers():
    """As KCWI: the same columns are overscan of both, so pixels show one amplifier."""
    light = np.full(100, 800.0)
    light[80:] = 0
    level = np.where(np.arange(140) < 70, 1000.0, 1200.0)[:, np.newaxis]
    flat = lit(140, 100, light=light, level=level, seed=62)
    sections = {"DSEC1": "[1:80,1:70]", "BSEC1": "[81:100,1:70]"}
    sections |= {"DSEC2": "[1:80,71:140]", "BSEC2": "[81:100,71:140]"}
    proposal = propose([header_of(flat, **sections)], [flat], file="a.fits")
    assert [data.to_fits() for _, data, _ in proposal.images_seen[0].amplifiers] == [
        "[1:80,1:70]",
        "[1:80,71:140]",
    ]
    sections["BSEC2"] = "[61:80,71:140]"
    sections["DSEC2"] = "[1:60,71:140]"
    proposal = propose([header_of(flat, **sections)], [flat], file="a.fits")
    assert sections_of_amplifier(proposal)[0] == "[1:80,1:140]"


# -- the command ------------------------------------------------------------------------------


def test_the_command_writes_a_profile_and_its_picture(tmp_path, capsys):
    header, flat = simulate_frame(LFC, FLAT)
    frame = tmp_path / "flat.fits"
    fits.PrimaryHDU(flat, header).writeto(frame, output_verify="silentfix")
    out, picture = tmp_path / "mine.yaml", tmp_path / "mine.png"
    assert new_camera.main([str(frame), "--out", str(out), "--picture", str(picture)]) == 0
    output = capsys.readouterr().out
    assert "Columns 2056 to 2080 hold the level alone" in output
    assert output.splitlines()[-1] == (
        f"Runs read these frames by {new_camera.CAMERAS / 'lfc.yaml'}: if the new sections are"
        " better, write them into that file, as it has more lines than these."
    )
    # The profile would lose the site and keywords of the other one.
    assert "move the profile" not in output
    assert load_camera(out).name == "mine"
    image = matplotlib.image.imread(picture)
    assert image.shape[0] > 400
    # Paper is light, and something is drawn on it.
    assert np.median(image[..., :3]) > 0.9
    assert image[..., :3].std() > 0.05
    assert new_camera.main([str(frame), "--out", str(out)]) == 1
    assert "the file exists already" in capsys.readouterr().err


@pytest.mark.parametrize("names", [("images", "table"), ("table", "images")])
def test_an_image_in_one_file_and_a_table_in_the_other_are_different_hdus(tmp_path, capsys, names):
    flat = lit(100, 60, light=np.full(60, 800.0), seed=63)
    table = fits.BinTableHDU.from_columns([fits.Column("A", "J", array=np.arange(3))])
    for name, last in (("images", fits.ImageHDU(flat)), ("table", table)):
        hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(flat), last])
        hdus.writeto(tmp_path / f"{name}.fits")
    frames = [str(tmp_path / f"{name}.fits") for name in names]
    assert new_camera.main([*frames, "--out", str(tmp_path / "mine.yaml")]) == 1
    assert "the two files do not have the same HDUs" in capsys.readouterr().err
    assert not (tmp_path / "mine.yaml").exists()


def test_the_command_writes_a_profile_that_does_not_fit_and_reports_it(tmp_path, capsys):
    """DETSEC is of other pixels than those that light reaches: the user has to decide."""
    light = np.full(60, 800.0)
    light[44:] = 0
    hdus = [fits.PrimaryHDU()]
    for x in (0, 48):
        flat = lit(100, 60, light=light, seed=63 + x)
        cards = {"INSTRUME": "PROBE", "IMAGETYP": "flat", "DETSEC": f"[{x + 1}:{x + 48},1:100]"}
        hdus.append(fits.ImageHDU(flat, fits.Header(cards)))
    fits.HDUList(hdus).writeto(tmp_path / "flat.fits")
    profile_path = tmp_path / "mine.yaml"
    assert new_camera.main([str(tmp_path / "flat.fits"), "--out", str(profile_path)]) == 0
    assert "does not fit the frame; correct it: DETSEC" in capsys.readouterr().out
    (both,) = load_camera(profile_path).amplifiers
    assert both.hdu == "*"
    assert profile_path.with_suffix(".png").exists()


def test_the_command_names_files_that_are_no_frames(tmp_path, capsys):
    path = tmp_path / "notes.fits"
    path.write_text("not a frame")
    assert new_camera.main([str(path), "--out", str(tmp_path / "a.yaml")]) == 1
    assert "notes.fits: cannot be read as FITS" in capsys.readouterr().err
    assert new_camera.main([str(tmp_path / "absent.fits")]) == 1
    assert "absent.fits" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]


# -- frames that used to be taken for something else -------------------------------------------


def test_a_frame_that_is_bright_all_over_is_not_called_dark():
    """40,000 adu without a dark edge, and a BIASSEC that light falls on as well."""
    light = np.full(150, 39000.0)
    frame = lit(100, 150, light=light, seed=70)
    header = header_of(frame, IMAGETYP="object", BIASSEC="[131:150,1:100]", TRIMSEC="[1:130,1:100]")
    findings = propose([header], [frame], file="a.fits").findings
    assert findings[0].startswith("This frame is bright, 40")
    assert not any("There is no light" in one for one in findings)
    plain = propose([header_of(frame, IMAGETYP="object")], [frame], file="a.fits")
    assert "overscan: none" in plain.yaml
    assert plain.findings
    assert not any("no light" in one for one in plain.findings)


@pytest.mark.parametrize(
    "cards",
    [{}, {"DETSIZE": "[1:300,1:240]"}, {"DNAXIS2": 240}],
    ids=["wide", "DETSIZE", "DNAXIS2"],
)
def test_the_unlit_detector_beside_a_slit_is_no_overscan(cards):
    """The slit ends at rows 61 and 180, or, where a card knows the chip, 8 rows below its top."""
    light = np.full((240, 300), 900.0)
    if cards:
        light[232:] = 0
    else:
        light[:60], light[180:] = 0, 0
    frame = lit(240, 300, light=light, seed=71)
    proposal = propose([header_of(frame, IMAGETYP="flat", **cards)], [frame], file="a.fits")
    assert sections_of_amplifier(proposal) == ("[1:300,1:240]", [])
    assert "unlit detector, as beside a slit" in proposal.findings[0]


def test_sixteen_amplifiers_are_one_entry(tmp_path):
    """As LSST: each a little different at the edge of its light, all with one set of regions."""
    headers = [fits.Header({"NAXIS": 0, "INSTRUME": "PROBE", "IMAGETYP": "flat"})]
    arrays = [None]
    for index in range(16):
        light = np.full(80, 900.0)
        light[60 + index % 2 :] = 0
        arrays.append(lit(100, 80, light=light, level=1000 + 9 * index, seed=80 + index))
        headers.append(header_of(arrays[-1], EXTNAME=f"SEG{index:02d}"))
    proposal = propose(headers, arrays, file="a.fits")
    assert len(proposal.yaml.splitlines()) < 25
    geometry = as_profile(proposal, tmp_path).geometry(headers, file="a.fits", layout="extensions")
    assert [a.hdu for a in geometry.amplifiers] == list(range(1, 17))
    assert len({a.name for a in geometry.amplifiers}) == 16
    assert {a.data.to_fits() for a in geometry.amplifiers} == {"[1:60,1:100]"}
    assert {a.overscan[0].to_fits() for a in geometry.amplifiers} == {"[62:80,1:100]"}


def test_a_narrow_strip_is_never_proposed_without_a_word():
    light = np.full(150, 800.0)
    light[147:] = 0
    flat = lit(400, 150, light=light, seed=72)
    proposal = propose([header_of(flat, IMAGETYP="flat")], [flat], file="a.fits")
    assert sections_of_amplifier(proposal) == ("[1:147,1:400]", ["[148:150,1:400]"])
    # sqrt(pi / (2 n)) of a pixel's noise, as of the median of many pixels, is 0.72 for 3.
    assert any("A strip of 3 is too narrow" in one and "72 %" in one for one in proposal.findings)


def test_a_seam_that_is_seen_is_not_called_the_headers():
    """As Kast red's window: the chip's middle, column 112, is not that of the window."""
    right = np.arange(440) >= 112
    strips = np.r_[np.full(32, 1000.0), np.full(32, 1020.0)]
    level = np.r_[np.where(right, 1020.0, 1000.0), strips]
    light = np.r_[np.full(440, 900.0), np.zeros(64)]
    flat = lit(300, 504, light=light, level=level, seed=73)
    bias = lit(300, 504, light=0, level=level, seed=74)
    cards = {"DATASEC": "[1:440,1:300]", "COVER": 32, "AMPSROW": 2, "CRVAL1U": 400}
    for more, same in (({}, False), ({"DNAXIS1": 1024}, True)):
        header = header_of(flat, **cards, **more)
        proposal = propose([header], [bias], other_arrays=[flat], file="a.fits")
        (seen,) = proposal.images_seen
        assert [d.to_fits() for _, d, _ in seen.amplifiers] == ["[1:112,1:300]", "[113:440,1:300]"]
        assert any("The header alone gives the same" in one for one in proposal.findings) is same


def test_two_windows_of_one_camera_get_two_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    profile_names = []
    for number, nx in enumerate((150, 120)):
        light = np.full(nx, 800.0)
        light[nx - 20 :] = 0
        flat = lit(100, nx, light=light, seed=75 + number)
        fits.writeto(tmp_path / f"{nx}.fits", flat, fits.Header({"INSTRUME": "PROBE"}))
        cameras = tmp_path / "cameras"
        cameras.mkdir(exist_ok=True)
        given = {"profile_path": None, "picture_path": tmp_path / "p.png", "cameras": cameras}
        lines = new_camera.new_camera(tmp_path / f"{nx}.fits", None, **given)
        (profile,) = (line.removeprefix("Profile: ") for line in lines if "Profile:" in line)
        profile_names.append(profile)
        Path(profile).rename(cameras / profile)
    assert profile_names == ["probe.yaml", "probe_120x100.yaml"]
    both = load_cameras(cameras)
    for nx in (150, 120):
        headers, _ = new_camera.read_hdus(tmp_path / f"{nx}.fits")
        camera = identify(headers, both, file="a")
        assert camera.geometry(headers, file="a").shape == (100, nx - 20)


def test_a_short_bias_section_of_data_that_begin_higher_up_is_counted_in_rows():
    """Data of rows 11 to 50, a BIASSEC of 37 of these 40 rows."""
    data, strip = Region(10, 50, 0, 20), Region(10, 50, 20, 24)
    claimed = {"BIASSEC": Region(10, 47, 20, 24)}
    axes = [measure_axis(lit(50, 24, light=0, seed=1), name) for name in ("columns", "rows")]
    texts = sentences_on_image(*axes, [("A", data, (strip,))], claimed, has_light=False)
    assert "The header's BIASSEC [21:24,11:47] is wrong: it is 3 of 40 rows too short." in texts
