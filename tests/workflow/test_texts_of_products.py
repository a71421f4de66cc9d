"""Texts that name other products: they are those of a run from scratch, whatever came before."""

import pytest
from archive import check_records
from sandbox import SMALL_FRAME, Sandbox, products
from stand_ins import use_stand_ins

NIGHTS = ("2024-03-01", "2024-03-02")
NUMBERS = {"BIAS": 2, "DARK": 3, "FLAT": 2, "OBJECT": 1}
LIGHT = {"FLAT": 20000, "OBJECT": 500}
FEW_MEMBERS = {"minimum": 9}
# Pages without pictures: their texts are what is compared.
WHOLE_CHAIN = {
    "pictures": {"per_type": 0},
    "bias": {"minimum": 2},
    "dark": {"minimum": 2},
    "flat": {"minimum": 2},
}


@pytest.fixture
def sandbox(tmp_path, monkeypatch):
    use_stand_ins(monkeypatch)
    made = Sandbox(tmp_path / "box", dict(WHOLE_CHAIN))
    for night in NIGHTS:
        for kind, number in NUMBERS.items():
            for place in range(number):
                put(made, night, kind, place)
    return made


def put(sandbox, night, kind, number):
    sandbox.put(
        f"{night}/{kind.lower()}{number}.fits.gz", number, kind=kind, camera="alpha",
        night=night, size=SMALL_FRAME, light=LIGHT.get(kind, 300),
    )  # fmt: skip


# (settings, the frame of the first night that goes bad)
CASES = [
    ({"bias": {"enabled": False}, "dark": {"minimum": 3}}, "dark0"),
    ({"bias": FEW_MEMBERS}, "bias0"),
    ({"dark": FEW_MEMBERS}, "dark0"),
    ({"dark": FEW_MEMBERS, "bias": FEW_MEMBERS}, "bias0"),
    ({"flat": FEW_MEMBERS}, "flat0"),
    ({"flat": FEW_MEMBERS, "calibrate": {"missing": "refuse"}}, "flat0"),
    ({"dark": FEW_MEMBERS, "calibrate": {"missing": "refuse"}}, "dark0"),
    ({"bias": FEW_MEMBERS, "calibrate": {"direction": "nearest"}}, "bias0"),
]


@pytest.mark.torture
@pytest.mark.parametrize(("config", "bad"), CASES[1:])
def test_any_master_that_is_refused_for_another_reason(sandbox, config, bad):
    """Every kind of master names the other reason, not the number of its frames."""
    check_another_reason(sandbox, config, bad)


def test_a_master_that_is_refused_for_another_reason(sandbox):
    check_another_reason(sandbox, *CASES[0])


@pytest.mark.parametrize(("direction", "other"), [("causal", "2024-02-28"), ("nearest", NIGHTS[1])])
def test_the_next_master_is_named_although_no_frame_waits(tmp_path, monkeypatch, direction, other):
    """The frame keeps its bias; of another night comes the runner-up, the last job to be done."""
    use_stand_ins(monkeypatch)
    config = {"calibrate": {"direction": direction}, "dark": {"enabled": False}}
    sandbox = Sandbox(tmp_path / "box", {**WHOLE_CHAIN, **config, "flat": {"enabled": False}})
    night = NIGHTS[0]
    for number in range(4):
        put(sandbox, night, "BIAS", number)
    put(sandbox, night, "OBJECT", 0)
    sandbox.run()
    for number in range(2):
        put(sandbox, other, "BIAS", 10 + number)
    made = sandbox.run(cores=1, takes_last_first=True).jobs
    assert "associations.csv" in made
    assert not [product for product in made if product.startswith("calibrated/")]
    assert list(sandbox.plan().plan.jobs) == []
    row = dict(
        zip(*(line.split(",") for line in reasons_of(sandbox).splitlines()[:2]), strict=True)
    )
    assert row["master"] == f"combined/{night}/bias_alpha_40x24.fits"
    assert row["runner_up"] == f"combined/{other}/bias_alpha_40x24.fits"


def check_another_reason(sandbox, config, bad):
    """Products made without the master are those of a run from scratch; none is left over."""
    sandbox.config |= config
    sandbox.run()
    before = reasons_of(sandbox)
    file = f"{NIGHTS[0]}/{bad}.fits.gz"
    sandbox.write(file, b"no frame")
    sandbox.run()
    assert list(sandbox.plan().plan.jobs) == []
    assert reasons_of(sandbox) != before
    check_as_from_scratch(sandbox)
    # The frame comes back, and so do the reasons of the first run.
    put(sandbox, NIGHTS[0], bad[:-1].upper(), int(bad[-1]))
    sandbox.run()
    assert reasons_of(sandbox) == before
    check_as_from_scratch(sandbox)


def reasons_of(sandbox):
    """Return why each step of each frame has no master, by the table."""
    return (sandbox.results / "associations.csv").read_text()


def check_as_from_scratch(sandbox):
    clean = sandbox.clean()
    clean.run(cores=1)
    wanted = products(clean.results)
    assert products(sandbox.results) == wanted
    check_records(sandbox, clean, set(wanted))
