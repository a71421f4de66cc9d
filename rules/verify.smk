"""Products made again by ccdproc from their own headers: `snakemake verify` (docs/verify.md)."""


rule verify:
    """Products, and what their headers name -> verification.csv. It makes no product."""
    localrule: True
    threads: all_cores
    params:
        program=f"{SNAKEFILE.parent}/scripts/verify.py",
        folders=[f"raw={SETTINGS['raw']}", f"results={RESULTS}"],
        every="--all" if SETTINGS["verify_all"] else [],
    shell:
        "{sys.executable:q} {params.program:q} {params.folders:q} {params.every} --cores {threads}"
