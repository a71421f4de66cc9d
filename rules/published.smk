"""Products by their names: as targets of a run, and for `snakemake --report`.

The output of the other rules is the record that a job leaves, not the product (why:
docs/decisions/records-as-outputs.md). The input of this rule is the record of a product, and its output the
product. In views the other rules have the products themselves as outputs, and this file is not included.
"""


rule product:
    """Name of a product -> the product, by way of the rule that makes it."""
    input:
        record=record_by_name,
    output:
        product=report(update(f"{RESULTS}/{{product}}"), category=category_of),
    log:
        f"{RESULTS}/{paths.LOGS}/{{product}}.log",
    wildcard_constraints:
        product=rf"({'|'.join(paths.PRODUCT_FOLDERS)})/.+|[^/.]+\.(csv|html)",
    localrule: True
    run:
        check_made(output.product)
