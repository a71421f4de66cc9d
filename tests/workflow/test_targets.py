"""Products that are asked for by name, or again though they are current."""

from __future__ import annotations

import pytest

from ccdflow import simulate

COMBINED_BIAS = "combined/2016-01-15/bias_lfc_128x258_1x1_g1.1.fits"


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    simulate.simulate_night(folder, camera=simulate.LFC.scale_by(0.0625))
    return folder


@pytest.fixture(scope="module")
def whole_results(raw, tmp_path_factory, run_workflow):
    """The results of a run that made everything."""
    results = tmp_path_factory.mktemp("whole")
    run = run_workflow(raw, results)
    assert run.status == 0, run.output
    return results


def products(snapshot, results):
    """The products asked for, without the small picture that the job of a frame leaves."""
    contents = snapshot(results, has_times=False).items()
    return {
        name: content
        for name, content in contents
        if not name.startswith(".ccdflow/") and "/frames/" not in name
    }


def test_a_product_by_its_name_is_made_with_its_needs_and_nothing_else(
    raw, whole_results, tmp_path, run_workflow, snapshot
):
    results = tmp_path / "results"
    one = run_workflow(raw, results, f"{results}/reduced/darks/ccd.013.0.fits")
    assert one.status == 0, one.output
    assert one.lines[0] == "1 of 24 frames to reduce: 1 new; night 2016-01-15"
    made = products(snapshot, results)
    assert set(made) == {"inventory.csv", "reduced/darks/ccd.013.0.fits"}
    # The last lines are on this product alone: nothing on masters that were not asked for.
    assert one.lines[2:] == ["the product is made; 46 other products are not up to date"]

    planned = run_workflow(raw, results, "-n", f"{results}/{COMBINED_BIAS}")
    # The dark's folder has a bias, too.
    assert planned.jobs == {"reduce": 7, "combine": 1, "product": 1}
    run = run_workflow(raw, results, f"{results}/{COMBINED_BIAS}")
    assert run.status == 0, run.output
    made = products(snapshot, results)
    assert len(made) == 1 + 1 + 7 + 1
    assert made.items() <= products(snapshot, whole_results).items()

    before = snapshot(results / "reduced")
    again = run_workflow(raw, results, f"{results}/{COMBINED_BIAS}")
    assert again.status == 0, again.output
    assert again.lines[0] == "nothing to do: all products asked for are up to date"
    assert snapshot(results / "reduced") == before


def test_a_master_by_its_name_that_is_refused_has_its_reason_and_the_second_time_one_line(
    raw, tmp_path, run_workflow
):
    results = tmp_path / "results"
    flat = "combined/2016-01-15/flat_lfc_128x258_1x1_g1.1_g.fits"
    config = ["flat={minimum: 9}"]
    run = run_workflow(raw, results, f"{results}/{flat}", config=config)
    assert run.status != 0
    line = (
        f"no combined flat: {flat}: 3 frames, fewer than the minimum of 9; take 6 more, or add"
        " flat='{minimum: 3}' to --config"
    )
    assert run.lines[-2:] == [line, "the product is not made; 31 other products are not up to date"]
    again = run_workflow(raw, results, f"{results}/{flat}", config=config)
    assert again.status != 0
    assert again.lines == [f"{line}; correct its frames or settings, and run again"]
    # The remedy of the line, as it stands there.
    assert run_workflow(raw, results, f"{results}/{flat}", config=["flat={minimum: 3}"]).status == 0
    assert (results / flat).is_file()


def test_a_product_that_there_cannot_be_is_one_line(raw, tmp_path, run_workflow):
    results = tmp_path / "results"
    run = run_workflow(raw, results, f"{results}/reduced/ccd.999.0.fits")
    assert run.status != 0
    assert f"ccdflow: {results}/reduced/ccd.999.0.fits: there is no such product" in run.output
    assert "Traceback" not in run.output


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["reduced/ccd.001.0.fits"],
            "reduced/ccd.001.0.fits: is neither a rule nor a product; allowed: a product with its"
            " folder {results}; write {results}/reduced/ccd.001.0.fits",
        ),
        (
            ["{raw}/darks/ccd.013.0.fits.gz"],
            "{raw}/darks/ccd.013.0.fits.gz: is neither a rule nor a product; allowed: a product"
            " with its folder {results}; write {results}/reduced/darks/ccd.013.0.fits",
        ),
        (
            ["calibrat"],
            "calibrat: is neither a rule nor a product; allowed: a product with its folder"
            " {results}; -n lists the products",
        ),
        (
            ["combine"],
            "a rule of single products is no target; to make all its products again put -R before"
            " it, or name products with their folder, as -n lists them",
        ),
        (
            ["-R", "combin"],
            "-R: is neither a rule nor a product (found 'combin'); allowed: a rule of --list-rules,"
            " or a product with its folder {results}; correct the name",
        ),
    ],
)
def test_a_name_that_is_none_is_one_line(raw, whole_results, run_workflow, arguments, line):
    """Snakemake's own line is 'if you use input functions ...', and for -R it has none."""
    places = {"raw": raw, "results": whole_results}
    arguments = [argument.format(**places) for argument in arguments]
    run = run_workflow(raw, whole_results, *arguments)
    assert run.status != 0
    assert run.lines == [line.format(**places)]
    assert "No rule to produce" not in run.output


@pytest.mark.parametrize(
    ("option", "remade"),
    [
        # The table says which masters turned out to be refused: it waits for what is combined.
        (("-R", "combine"), {"combine": 1, "associations_table": 1}),
        pytest.param(("-F",), {
                   "reduce": 24, "combine": 1, "picture": 1, "quality_picture": 1, "page": 1,
                   "bias_table": 1, "index_page": 1, "combine_darks": 3, "combine_flats": 2,
                   "calibrate": 2, "masters_picture": 1, "calibrated_picture": 1, "dark_table": 1,
                   "contact_sheet": 1, "flat_table": 1, "associations_table": 1,
                   "measure_detector": 1, "bad_pixels": 1, "detector_table": 1,
                   "trends": 1}, marks=pytest.mark.torture),
    ],
)  # fmt: skip
def test_forced_products_are_made_again_to_the_same_bytes(
    raw, whole_results, run_workflow, snapshot, option, remade
):
    planned = run_workflow(raw, whole_results, "-n", *option)
    assert planned.jobs == {**remade, "all": 1}
    before = snapshot(whole_results)
    run = run_workflow(raw, whole_results, *option)
    assert run.status == 0, run.output
    after = snapshot(whole_results)
    assert len(after) == len(before) > 20
    assert {n: c[0] for n, c in after.items() if not n.startswith(".ccdflow/")} == {
        n: c[0] for n, c in before.items() if not n.startswith(".ccdflow/")
    }
    touched = {name for name in after if after[name] != before.get(name)}
    assert (COMBINED_BIAS in touched, "reduced/ccd.001.0.fits" in touched) == (True, "-F" in option)
