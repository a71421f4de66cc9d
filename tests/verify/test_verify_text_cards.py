"""Raw frames with texts that astropy takes for records: from the raw folder to their verdicts."""

import chain_runs
from astropy.io import fits
from chain_runs import FEW_FRAMES, edit

from ccdflow.verify import selection, verdicts

# With numbers that astropy writes otherwise (1.5), and those that it cannot read.
CARDS = {"OBJECT": "field: 12", "PROPOSAL": "a.b: 1.50", "OBSERVER": "x: 1D3", "GRISM": "n: 1E400"}
SCIENCE_RULE = 'types: [{type: science, imagetyp: "Light: 1"}]\n'


def test_texts_like_records_reach_the_products_and_are_verified(tmp_path):
    chain = chain_runs.take(tmp_path, **FEW_FRAMES)
    for file in chain.files_of_type("science") + chain.files_of_type("flat"):
        edit(chain.raw / file, **CARDS)
    for file in chain.files_of_type("science"):
        edit(chain.raw / file, IMAGETYP="Light: 1")
    for file in chain.files_of_type("science", filter="g") + chain.files_of_type(
        "flat", filter="g"
    ):
        edit(chain.raw / file, FILTER="g: 2")
    done = chain_runs.run(tmp_path, chain, chain.profile + SCIENCE_RULE)
    row = done.context.store.rows["science_g1.fits"]
    facts = row.facts
    assert (facts["type"], facts["filter"], facts["object"]) == ("science", "g: 2", "field: 12")
    products = selection.files_of(tmp_path / "results")
    science_products = [product for product in products if product.endswith("science_g1.fits")]
    assert len(science_products) == 2
    raw_header = fits.getheader(chain.raw / "science_g1.fits")
    for product in science_products:
        header = fits.getheader(tmp_path / "results" / product)
        for keyword in (*CARDS, "FILTER", "IMAGETYP"):
            assert header.cards[keyword].image == raw_header.cards[keyword].image
    assert fits.getheader(tmp_path / "results" / science_products[0])["OBSERVER"] == "x: 1D3"
    flats = [product for product in products if "/flat_" in product and "combined" in product]
    headers = [fits.getheader(tmp_path / "results" / product) for product in flats]
    assert sorted(header["FILTER"] for header in headers) == ["g: 2", "r"]
    outcomes = [
        verdicts.verify(p, raw=chain.raw, results=tmp_path / "results", compares_all_rows=True)
        for p in products
        if p.startswith(("reduced/", "calibrated/", "combined/"))
    ]
    assert {(each.verdict, each.reason) for each in outcomes} == {("verified", "")}
    assert len(outcomes) > 20
