"""Products made again by ccdproc from their own headers: `snakemake verify` (docs/verify.md)."""

import subprocess


rule verify:
    """Products, and what their headers name -> verification.csv. It makes no product."""
    log:
        f"{RESULTS}/{paths.LOGS}/verify.log",
    localrule: True
    threads: all_cores
    params:
        program=str(SNAKEFILE.parent / "scripts" / "verify.py"),
        folders=[f"raw={SETTINGS['raw']}", f"results={RESULTS}"],
        every=["--all"] if SETTINGS["verify_all"] else [],
    run:
        command = [sys.executable, params.program, *params.folders, *params.every]
        if subprocess.run([*command, "--cores", str(threads)], check=False).returncode:
            raise WorkflowError("not all products are verified: see the lines above")
