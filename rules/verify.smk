"""Products made again by ccdproc from their own headers: `snakemake verify` (docs/verify.md)."""

from ccdflow import commandline
from ccdflow.run.noted_products import noted


rule verify:
    """Products, and what their headers name -> verification.csv. It makes no product."""
    log:
        f"{RESULTS}/{paths.LOGS}/verify.log",
    localrule: True
    threads: all_cores
    params:
        folders=[Path(SETTINGS["raw"]), Path(RESULTS)],
        every=SETTINGS["verify_all"],
        expected=SETTINGS["verify_expected"],
    run:
        # Only here, as no other rule needs ccdproc; another interpreter would cost 0.8 s.
        from ccdflow.verify.command import report

        how = {"every": params.every, "expected": params.expected, "threads": threads}
        verify = partial(report, *params.folders, **how)
        if commandline.run(lambda _: verify(noted=noted(RESULTS)), lambda _: None):
            raise WorkflowError("not all products are verified: see the lines above")
