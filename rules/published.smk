"""Products by their own names: as targets of a run, and for `snakemake --report`.

What makes a product leaves a record, and that is what the other rules are about (why:
docs/architecture.md). This rule only leads from a name to its record.
"""


rule product:
    input:
        record_by_name,
    output:
        report(update(f"{RESULTS}/{{product}}"), category=category_of),
    log:
        f"{DONE}/{{product}}.log",
    wildcard_constraints:
        product=r"(reduced|combined|calibrated|nights)/.+|[^/.]+\.(csv|html)",
    run:
        check_made(output[0], log[0])
