"""Nights that are added one after the other, by the command line: older frames stay as they are."""

import csv
import random
from datetime import datetime, timedelta

import pytest
from chain_runs import take


def grades(results):
    """Return {calibrated frame: the worst grade of its steps}."""
    with (results / "associations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    worst = {}
    for row in rows:
        worst[row["frame"]] = max(worst.get(row["frame"], "A"), row["grade"])
    return worst


@pytest.mark.parametrize("nights", [pytest.param(20, marks=pytest.mark.torture)])
def test_an_added_night_makes_no_older_frame_again_that_had_all_it_needed(
    tmp_path, run_workflow, snapshot, nights
):
    """Frames that lacked a master may take that of a later night: nights lack types of frames."""
    rng, results = random.Random(nights), tmp_path / "results"
    (tmp_path / "cameras").mkdir()
    evening, kept, lacking, served = datetime(2024, 3, 1, 17), {}, set(), 0
    for number in range(nights):
        evening += timedelta(days=rng.randint(1, 40))
        chain = take(
            tmp_path, evening=evening, folder=f"n{number:02}", seed=number,
            biases=rng.choice([0, 4, 12]),
            darks=rng.choice([(), ((60.0, 4),), ((60.0, 9), (20.0, 3))]),
            flats=rng.choice([(), (("g", 4),), (("g", 8), ("r", 4))]),
            science=(("g", 60.0, 1), ("r", 20.0, 1)),
        )  # fmt: skip
        (tmp_path / "cameras" / "simcam.yaml").write_text(chain.profile)
        config = [f"cameras={tmp_path / 'cameras'}"]
        run = run_workflow(tmp_path / "raw", results, config=config)
        assert run.status == 0, run.output
        files = {
            f"calibrated/{name}": own for name, own in snapshot(results / "calibrated").items()
        }
        assert {name: files[name] for name in kept} == kept
        now = grades(results)
        served += sum(now[name] != "C" for name in lacking)
        # Frames of grade C lack a master, or have a dark that is too short.
        lacking = {name for name in files if now[name] == "C"}
        kept = {name: own for name, own in files.items() if name not in lacking}
    assert len(kept) > nights / 2
    # Added nights did serve older frames that lacked a master.
    assert served > 0
