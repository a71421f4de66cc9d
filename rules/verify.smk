"""Products made again by ccdproc from their own headers: `snakemake verify` (docs/verify.md)."""


rule verify:
    """Products, and what their headers name -> verification.csv. It makes no product."""
    log:
        # A results folder that cannot be written to gets no log.
        [f"{RESULTS}/{paths.LOGS}/verify.log"] if host.can_write(f"{RESULTS}/{paths.LOGS}") else [],
    localrule: True
    threads: all_cores
    params:
        folders=[Path(SETTINGS["raw"]), Path(RESULTS)],
        all_products=SETTINGS["verify_all"],
        expected=SETTINGS["verify_expected"],
    run:
        verify(
            params.folders,
            verifies_all_products=params.all_products,
            expected=params.expected,
            threads=threads,
        )
