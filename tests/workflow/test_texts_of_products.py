"""Texts that name other products: they are those of a run from scratch, whatever came before."""

import pytest
from archive import check_records
from sandbox import SMALL, Sandbox, products
from stand_ins import use_stand_ins

NIGHTS = ("2024-03-01", "2024-03-02")
NUMBERS = {"BIAS": 2, "DARK": 3, "FLAT": 2, "OBJECT": 1}
LIGHT = {"FLAT": 20000, "OBJECT": 500}
FEW = {"minimum": 9}
# Pages without pictures: their texts are what is compared.
ALL = {
    "pictures": {"per_type": 0},
    "bias": {"minimum": 2},
    "dark": {"minimum": 2},
    "flat": {"minimum": 2},
}


@pytest.fixture
def box(tmp_path, monkeypatch):
    use_stand_ins(monkeypatch)
    made = Sandbox(tmp_path / "box", dict(ALL))
    for night in NIGHTS:
        for kind, number in NUMBERS.items():
            for place in range(number):
                put(made, night, kind, place)
    return made


def put(box, night, kind, number):
    box.put(
        f"{night}/{kind.lower()}{number}.fits.gz", number, kind=kind, camera="alpha",
        night=night, size=SMALL, light=LIGHT.get(kind, 300),
    )  # fmt: skip


# (settings, the frame of the first night that goes bad)
CASES = [
    ({"bias": {"enabled": False}, "dark": {"minimum": 3}}, "dark0"),
    ({"bias": FEW}, "bias0"),
    ({"dark": FEW}, "dark0"),
    ({"dark": FEW, "bias": FEW}, "bias0"),
    ({"flat": FEW}, "flat0"),
    ({"flat": FEW, "calibrate": {"missing": "refuse"}}, "flat0"),
    ({"dark": FEW, "calibrate": {"missing": "refuse"}}, "dark0"),
    ({"bias": FEW, "calibrate": {"direction": "nearest"}}, "bias0"),
]


@pytest.mark.torture
@pytest.mark.parametrize(("config", "bad"), CASES[1:])
def test_any_master_that_is_refused_for_another_reason(box, config, bad):
    """As below, with every kind of master."""
    check_another_reason(box, config, bad)


def test_a_master_that_is_refused_for_another_reason(box):
    check_another_reason(box, *CASES[0])


@pytest.mark.parametrize(("direction", "other"), [("causal", "2024-02-28"), ("nearest", NIGHTS[1])])
def test_the_next_master_is_told_although_no_frame_waits_for_it(
    tmp_path, monkeypatch, direction, other
):
    """The frame keeps its bias; of another night comes the runner-up, the last job to be done."""
    use_stand_ins(monkeypatch)
    config = {"calibrate": {"direction": direction}, "dark": {"enabled": False}}
    box = Sandbox(tmp_path / "box", {**ALL, **config, "flat": {"enabled": False}})
    night = NIGHTS[0]
    for number in range(4):
        put(box, night, "BIAS", number)
    put(box, night, "OBJECT", 0)
    box.run()
    for number in range(2):
        put(box, other, "BIAS", 10 + number)
    made = box.run(cores=1, last_first=True).jobs
    assert "associations.csv" in made
    assert not [product for product in made if product.startswith("calibrated/")]
    assert list(box.plan().plan.jobs) == []
    row = dict(zip(*(line.split(",") for line in reasons_of(box).splitlines()[:2]), strict=True))
    assert row["master"] == f"combined/{night}/bias_alpha_40x24.fits"
    assert row["runner_up"] == f"combined/{other}/bias_alpha_40x24.fits"


def check_another_reason(box, config, bad):
    """Those who go without it are made as from scratch; nothing is left over, nothing differs."""
    box.config |= config
    box.run()
    before = reasons_of(box)
    file = f"{NIGHTS[0]}/{bad}.fits.gz"
    box.write(file, b"no frame")
    box.run()
    assert list(box.plan().plan.jobs) == []
    assert reasons_of(box) != before
    same_as_from_scratch(box)
    # The frame comes back, and with it what was said before.
    put(box, NIGHTS[0], bad[:-1].upper(), int(bad[-1]))
    box.run()
    assert reasons_of(box) == before
    same_as_from_scratch(box)


def reasons_of(box):
    """Return why each step of each frame has no master, by the table."""
    return (box.results / "associations.csv").read_text()


def same_as_from_scratch(box):
    clean = box.clean()
    clean.run(cores=1)
    wanted = products(clean.results)
    assert products(box.results) == wanted
    check_records(box, clean, set(wanted))
