"""Every real frame of shared/data: what it is, where its pixels lie, at which level.

The levels were worked out with numpy alone, from the columns named in shared/FACTS.md.
"""

import warnings
from pathlib import Path

import ccdproc
import numpy as np
import pytest
from astropy import units
from astropy.nddata import CCDData
from real_frame_files import CAMERAS, DATA, needs_data, read
from small_frames import run_jobs

from ccdflow.camera.cameras import generic_camera, identify
from ccdflow.camera.reduction_marks import refuse_reduced
from ccdflow.errors import FrameError
from ccdflow.frame.reduction import reduce_frame

SAAO = Path(ccdproc.__file__).parent / "tests" / "data" / "a8280271.fits"


def reduce_file(path, **settings):
    """Camera, facts, geometry, and the reduced image of a file."""
    headers, arrays = read(path)
    file = f"{path.parent.name}/{path.name}"
    refuse_reduced(headers, file=file)
    camera = identify(headers, CAMERAS, file=file)
    geometry = camera.geometry(headers, file=file)
    stored = {hdu: (arrays[hdu], 0) for hdu, _ in geometry.raw_shapes}
    result = reduce_frame(stored, geometry, camera.recipe(settings))
    (image,) = result.images
    return camera, camera.describe(headers, file=file), geometry, image.data.copy(), result


FRAMES = {
    # folder: (camera, shape, {file: type})
    "kast_blue_2015": (
        "kast_blue",
        (350, 2048),
        {"b1": "arc", "b24": "science", "b27": "science", "b28": "science", "b29": "science"}
        | {f"b{i}": "flat" for i in range(2, 14)}
        | {f"b{i}": "bias" for i in range(14, 24)},
    ),
    "isis_blue_2016": (
        "isis_blue",
        (4099, 483),
        {"r2324566": "arc", "r2324594": "bias", "r2324596": "bias"}
        | {f"r23245{i}": "flat" for i in range(80, 90)}
        | {f"r23246{i}": "science" for i in (52, 53, 56)},
    ),
    "saao_ste3": ("saao_ste3", (520, 512), {"a8280271": "science"}),
    "goodman_focus": (
        "goodman_red",
        (400, 4092),
        {"im_g_SDSS": "other", "sp_400m1": "other", "sp_400m2": "other"},
    ),
    "vbo_uags_2025": (
        "vbo_uags",
        (400, 1340),
        {f"02jan2025_bias{i}": "bias" for i in range(1, 7)}
        | {f"02jan2025_comp{i}": "arc" for i in range(1, 7)}
        | {f"02jan2025_dft{i}": "flat" for i in range(1, 4)}
        | {f"02jan2025_obj{i}": "science" for i in range(1, 4)}
        | {f"05jan2025_{name}": "arc" for name in ("Comp1", "Comp2")}
        | {f"05jan2025_{name}": "bias" for name in ("bias1", "bias2")},
    ),
}
NIGHTS = {
    "kast_blue_2015": "2015-05-19",
    "isis_blue_2016": "2016-02-09",
    "saao_ste3": "2013-07-12",
    "goodman_focus": "2019-05-15",
}


def stem(path):
    """Return the name of a file without its endings."""
    return path.name.partition(".")[0]


@needs_data
@pytest.mark.parametrize("folder", sorted(FRAMES))
def test_every_frame_is_recognised_typed_and_dated(folder):
    camera_name, shape, types = FRAMES[folder]
    types_read = {}
    for path in sorted((DATA / folder).iterdir()):
        headers, _ = read(path)
        file = f"{folder}/{path.name}"
        refuse_reduced(headers, file=file)
        camera = identify(headers, CAMERAS, file=file)
        facts = camera.describe(headers, file=file)
        types_read[stem(path)] = facts.type
        assert camera.name == camera_name
        assert camera.geometry(headers, file=file).shape == shape
        # Two nights share the folder of the VBO: the name of the file tells them apart as well.
        night = NIGHTS.get(folder) or f"2025-01-{path.name[:2]}"
        assert facts.night == night
    assert types_read == types


@needs_data
@pytest.mark.parametrize(
    ("name", "levels", "medians"),
    [
        # Levels of columns 2050 to 2080 and 2081 to 2111; medians of columns 1 to 1024, 1025 on.
        ("b14", (943.07, 965.23), (1, 1)),
        ("b10", (948.75, 980.22), (1954, 22198)),
        ("b27", (941.09, 962.16), (17, 30)),
    ],
)
def test_kast_has_two_amplifiers_of_two_levels(name, levels, medians):
    *_, image, result = reduce_file(DATA / "kast_blue_2015" / f"{name}.fits.gz")
    assert [result.overscans[a].level for a in ("left", "right")] == pytest.approx(levels, abs=0.01)
    assert [np.median(image[:, :1024]), np.median(image[:, 1024:])] == list(medians)


@needs_data
def test_the_amplifiers_of_kast_join_without_a_step():
    """In the mean of ten biases 40 columns on either side of the seam agree within the noise."""
    images = [
        reduce_file(DATA / "kast_blue_2015" / f"b{i}.fits.gz")[3].astype(float)
        for i in range(14, 24)
    ]
    columns = np.mean(images, axis=(0, 1))
    # The raw step is 22 adu. 350 rows, 10 frames, 40 columns leave 0.01 adu of the pixels' 3 adu,
    # the rows' levels (medians of 31 columns) 0.01 each, but raw pixels and so those medians are
    # whole or half adu: 0.15.
    assert columns[1024:1064].mean() - columns[984:1024].mean() == pytest.approx(0, abs=0.15)


@needs_data
@pytest.mark.parametrize(
    ("name", "level", "median"),
    [
        ("r2324594", 2179, -3),
        ("r2324596", 2178, -3),
        ("r2324583", 2180, 3704),
        ("r2324653", 2181, 10),
    ],
)
def test_isis_has_one_level_from_the_rows_above(name, level, median):
    _, facts, geometry, image, result = reduce_file(DATA / "isis_blue_2016" / f"{name}.fit.gz")
    (amplifier,) = geometry.amplifiers
    assert (amplifier.hdu, amplifier.along) == (1, "frame")
    assert amplifier.overscan[0].to_fits() == "[98:483,4105:4190]"
    assert result.overscans["LH"].level == level
    assert np.median(image) == median
    assert facts.ccdsum == "2 1"
    assert (amplifier.gain, amplifier.read_noise) == (1.2, 5.0)


@needs_data
def test_isis_without_profile_has_a_remedy():
    headers, _ = read(DATA / "isis_blue_2016" / "r2324594.fit.gz")
    with pytest.raises(FrameError, match=r"386 of the 483 columns.*along: frame"):
        generic_camera(headers).geometry(headers, file="a.fit.gz")


@needs_data
@pytest.mark.parametrize(
    ("name", "level", "median"),
    [("sp_400m1", 493, 37), ("sp_400m2", 492, 72), ("im_g_SDSS", 492, 1)],
)
def test_goodman_has_its_level_in_columns_6_to_49(name, level, median):
    *_, image, result = reduce_file(DATA / "goodman_focus" / f"{name}.fits")
    assert result.overscans["A"].level == pytest.approx(level, abs=0.7)
    assert np.median(image) == pytest.approx(median, abs=1)
    # The first row of the strip reads 1197 in sp_400m1; the data of that row are like any other.
    assert np.median(image[0]) == pytest.approx(np.median(image[1]), abs=2)


@needs_data
def test_goodman_without_profile_is_refused():
    """TRIMSEC keeps 4142 columns of a chip of 4096."""
    headers, _ = read(DATA / "goodman_focus" / "sp_400m1.fits")
    with pytest.raises(FrameError, match=r"more pixels than the detector.*make new-camera"):
        generic_camera(headers).geometry(headers, file="a.fits")


@needs_data
@pytest.mark.parametrize(("name", "median"), [("02jan2025_bias1", 1162), ("05jan2025_bias1", 1211)])
def test_vbo_keeps_its_pixels(name, median):
    path = DATA / "vbo_uags_2025" / f"{name}.fits"
    *_, image, result = reduce_file(path)
    np.testing.assert_array_equal(image, read(path)[1][0])
    assert np.median(image) == median
    assert result.overscans == {"A": None}


@pytest.mark.parametrize("profile", [True, False])
def test_saao_equals_ccdproc_to_the_last_bit(profile):
    headers, arrays = read(SAAO)
    camera = identify(headers, CAMERAS if profile else (), file=SAAO.name)
    geometry = camera.geometry(headers, file=SAAO.name)
    result = reduce_frame({0: (arrays[0], 0)}, geometry, camera.recipe({"dtype": "float64"}))
    frame = CCDData(arrays[0], unit=units.adu, header=headers[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = ccdproc.subtract_overscan(frame, fits_section=headers[0]["BIASSEC"], median=True)
        wanted = ccdproc.trim_image(wanted, fits_section=headers[0]["TRIMSEC"])
    np.testing.assert_array_equal(result.images[0].data, wanted.data)
    assert wanted.shape == (520, 512)
    assert camera.name == ("saao_ste3" if profile else "ste3_ccd")
    assert result.overscans["A"].level == pytest.approx(214.073, abs=0.001)
    assert np.median(wanted.data[:512]) == 86
    # Rows 513 to 520, which TRIMSEC keeps, are dark.
    assert np.median(wanted.data[512:]) == 4


@needs_data
def test_efosc2_whose_strip_has_six_columns(tmp_path):
    """Five biases, combined; what the pixels of a row share is not raised, as it was five times."""
    names = [
        path for path in sorted((DATA / "efosc2_2022").iterdir()) if "2022-01-26T19:0" in path.name
    ]
    (tmp_path / "raw").mkdir()
    for path in names:
        (tmp_path / "raw" / path.name).symlink_to(path)
    types = "types: [{type: bias, imagetyp: DARK, exptime: {max: 0}}]\n"
    cameras = {"efosc": "recognise: {INSTRUME: EFOSC}\n" + types}
    run = run_jobs(tmp_path / "raw", tmp_path / "results", cameras, reduction={"model": "auto"})
    (combined,) = (r for r in run.records.values() if r.kind == "bias")
    assert (len(names), combined.status, len(combined.data["members"])) == (5, "made", 5)

    def row_noise(image):
        """Return the noise that the pixels of a row share, adu."""
        steps = np.diff(image.mean(axis=1))
        return 1.4826 * np.median(np.abs(steps - np.median(steps))) / 2**0.5

    for path in names:
        _, arrays = read(path)
        raw = arrays[0][:1024, :1024].astype(float)
        by_row = raw - np.median(arrays[0][:1024, 1024:], axis=1, keepdims=True)
        (hdu,) = run.open(f"reduced/{path.name.removesuffix('.gz')}")
        assert hdu.header["OSCMODEL"] == "polynomial"
        assert row_noise(hdu.data.astype(float)) < 1.1 * row_noise(raw)
        assert row_noise(by_row) > 10 * row_noise(raw)
        assert hdu.data.astype(float).mean(axis=1).std() < raw.mean(axis=1).std()
