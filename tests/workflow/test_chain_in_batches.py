"""Calibrated frames whose masters other batches make are those of a run without batches."""

import small_chain


def products(results):
    return {
        path.relative_to(results).as_posix(): path.read_bytes()
        for path in results.rglob("*")
        if path.is_file() and ".ccdflow" not in path.parts
    }


def test_batches_make_the_same_bytes(run_workflow, tmp_path):
    # Three batches of nine or ten frames: no master has all its frames in the batch it is made for.
    chain = small_chain.make(tmp_path / "raw" / "one", biases=11)
    (tmp_path / "cameras").mkdir()
    (tmp_path / "cameras" / "simcam.yaml").write_text(chain.profile)
    contents = []
    for name, more in (("whole", ()), ("batches", ("frames_per_batch=10",))):
        folder = f"cameras={tmp_path / 'cameras'}"
        run = run_workflow(tmp_path / "raw", tmp_path / name, config=[folder, *more])
        assert run.status == 0, run.output
        contents.append(products(tmp_path / name))
    assert contents[0] == contents[1]
    assert sum(name.startswith("calibrated/") for name in contents[0]) == len(
        chain.files_of_type("science")
    )
    assert sum(name.startswith("combined/") for name in contents[0]) == 5
