from test_damaged_notes import *
import difflib
def test_a(sandbox):
    path = sandbox.results / paths.LEDGER
    rng = np.random.default_rng([0, DAMAGES.index("cut"), 0])
    before = path.read_bytes()
    after = damaged(before, "cut", rng, 0)
    lost = lost_names(before, after)
    print("LOST", sorted(lost))
    pb = products(sandbox.results)
    path.write_bytes(after)
    o = sandbox.run()
    print("JOBS", o.jobs)
    pa = products(sandbox.results)
    for n in pa:
        if pa[n]!=pb[n]:
            for l in difflib.unified_diff(pb[n].decode().split("\n"), pa[n].decode().split("\n"), n=0): print(l[:300])
    o=sandbox.run(); print("AGAIN", o.jobs)
    for n in pb:
        if products(sandbox.results)[n]!=pb[n]: print("DIFF still", n)
    assert 0
def test_b(sandbox_with_late_notes):
    sandbox=sandbox_with_late_notes
    path = sandbox.results / paths.LATE_NOTES
    rng = np.random.default_rng([0, DAMAGES.index("cut")])
    before = path.read_bytes()
    after = damaged(before, "cut", rng, 0)
    lost = lost_names(before, after)
    print("LOST", sorted(lost))
    path.write_bytes(after)
    w = sandbox.plan().plan
    print([(j.product, j.reason) for j in w.jobs.values()])
    o = sandbox.run()
    print("JOBS", o.jobs)
    w = sandbox.plan().plan
    print([(j.product, j.reason) for j in w.jobs.values()])
    print([l for l in path.read_bytes().split(b"\n")] if path.exists() else "no late")
    assert 0
