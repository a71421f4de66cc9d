"""Products by their names: as targets of a run, and for `snakemake --report`.

What makes a product leaves a record, and that is what the other rules are about (why:
docs/decisions/records-as-outputs.md). This rule only leads from a name to its record; in views the other rules
have the products themselves.
"""


rule product:
    """Name of a product -> the product, by way of the rule that makes it."""
    input:
        record_by_name,
    output:
        report(update(f"{RESULTS}/{{product}}"), category=category_of),
    log:
        f"{RESULTS}/{paths.LOGS}/{{product}}.log",
    wildcard_constraints:
        product=rf"({'|'.join(paths.FOLDERS)})/.+|[^/.]+\.(csv|html)",
    localrule: True
    run:
        check_made(output[0])
