"""``files/atomic_write.Part`` writes all files but small pictures, proved whole by a checksum."""

import ast
import errno
from pathlib import Path

import pytest
from library_trees import modules, nodes

from ccdflow.files import atomic_write
from ccdflow.run import lock

SCRIPTS = Path(__file__).parents[2] / "scripts"
# Other places that may write or rename, how often, and why.
ALLOWED_CALLS = {
    # The writer itself; small pictures, whose checksums tell whether they are whole.
    ("ccdflow/files/atomic_write.py", "open"): 2,
    ("ccdflow/files/atomic_write.py", "replace"): 1,
    # A product is moved aside as it is; to another disk it is copied into a Part.
    ("ccdflow/run/products/removal.py", "replace"): 1,
    ("ccdflow/run/products/removal.py", "copy2"): 1,
    # Files that are locked: nothing is written to them.
    ("ccdflow/run/lock.py", "open"): 1,
    ("ccdflow/run/batches/claims.py", "open"): 1,
    # A table, and arrays, are written to memory.
    ("ccdflow/kinds/measuring/pixel_tables.py", "writeto"): 1,
    ("ccdflow/kinds/measuring/counted_nights.py", "savez"): 1,
    # Arrays are written to a Part.
    ("ccdflow/simulate/files.py", "savez"): 1,
    # The null device, in the place of a terminal that is closed.
    ("ccdflow/command_lines.py", "open"): 1,
    ("ccdflow/run/under_snakemake/lasting_streams.py", "open"): 2,
    ("ccdflow/run/under_snakemake/lasting_streams.py", "fdopen"): 1,
    # A telescope writes half a frame first.
    ("ccdflow/simulate/frame_arrivals.py", "open"): 1,
}
WRITING_FUNCTIONS = {
    "write_text", "write_bytes", "tofile", "writeto", "savefig", "savez", "savez_compressed",
    "savetxt", "copy", "copy2", "copyfile", "copytree", "move", "symlink_to", "hardlink_to",
    "mkstemp", "NamedTemporaryFile", "fdopen",
}  # fmt: skip
MODULES = ("os", "shutil", "np", "numpy", "tempfile", "io")
FLAGS = ("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND")
OWN_FUNCTIONS = {"atomic_write.write_text"}


def writes(call):
    """Return the name of what a call writes or renames with, '' for any other call."""
    function = call.func
    name = getattr(function, "attr", getattr(function, "id", ""))
    owner = getattr(getattr(function, "value", None), "id", "")
    if f"{owner}.{name}" in OWN_FUNCTIONS:
        return ""
    if name in ("replace", "rename", "link", "renames"):
        # Of a text it takes two arguments, of a date or a dataclass named ones.
        is_path = isinstance(function, ast.Attribute) and len(call.args) == 1
        return name if owner == "os" or (is_path and not call.keywords) else ""
    if name == "open":
        where = 1 if isinstance(function, ast.Name) or owner in MODULES else 0
        modes = [
            *call.args[where : where + 1],
            *(k.value for k in call.keywords if k.arg == "mode"),
        ]
        text = ast.unparse(modes[0]) if modes else ""
        is_write = (
            bool(set(text) & set("wax+")) if text[:1] in "'\"" else any(f in text for f in FLAGS)
        )
        return name if text and is_write and owner != "fits" else ""
    if name == "copy" and owner not in MODULES[1:2]:
        return ""
    if name == "write_text" and isinstance(function, ast.Name):
        return ""
    return name if name in WRITING_FUNCTIONS else ""


def writing_calls():
    counts = {}
    for module in modules():
        for node in nodes(module.tree):
            if isinstance(node, ast.Call) and (name := writes(node)):
                key = module.path.relative_to(SCRIPTS).as_posix(), name
                counts[key] = counts.get(key, 0) + 1
    return counts


def test_nothing_else_writes_or_renames():
    assert writing_calls() == ALLOWED_CALLS


@pytest.mark.parametrize(
    "text",
    [
        "os.replace(a, b)", "os.rename(a, b)", "path.rename(b)", "part.replace(path)",
        "open(p, 'w')", "open(p, mode='ab')", "path.open('r+b')", "os.open(p, os.O_RDWR)",
        "p.write_text('x')", "p.write_bytes(b)", "np.savetxt(p, a)", "hdus.writeto(p)",
        "np.savez('x.npz', a=a)", "np.savez_compressed(p, a)", "numpy.savez(p, a)",
        "shutil.copy(a, b)", "os.open(p, flags | os.O_CREAT)", "io.open(p, 'x')",
    ],
)  # fmt: skip
def test_each_way_to_write_is_seen(text):
    assert writes(ast.parse(text).body[0].value)


@pytest.mark.parametrize(
    "text",
    ["open(p)", "p.open('rb')", "text.replace('a', 'b')", "date.replace(tzinfo=UTC)",
     "replace(record, x=1)", "os.open(p, os.O_RDONLY)", "fits.open(p, memmap=True)",
     "atomic_write.write_text(p, t)", "array.copy()"],
)  # fmt: skip
def test_a_reader_is_not_taken_for_a_writer(text):
    assert not writes(ast.parse(text).body[0].value)


@pytest.mark.parametrize("buffered", [True, False])
def test_a_part_that_is_not_kept_leaves_the_former_file(tmp_path, buffered):
    path = tmp_path / "a" / "b.fits"
    atomic_write.write_whole(path, [b"old"])
    with pytest.raises(ZeroDivisionError), atomic_write.Part(path, is_buffered=buffered) as part:
        part.write(bytes(100 // (part.file.write(b"new") - 3)))
    with atomic_write.Part(path, is_buffered=buffered) as part:
        part.write(b"nobody asks for it")
    assert path.read_bytes() == b"old"
    with atomic_write.Part(path, is_buffered=buffered) as part:
        part.write(b"abc")
        part.write_at(b"X", 1)
        assert path.read_bytes() == b"old"
        part.keep()
    assert path.read_bytes() == b"aXc"
    assert list(path.parent.iterdir()) == [path]


def test_a_part_that_cannot_be_given_its_name_leaves_nothing(tmp_path):
    (tmp_path / "b" / "c").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        atomic_write.write_whole(tmp_path / "b", [b"x"])
    assert list(tmp_path.iterdir()) == [tmp_path / "b"]


def test_a_note_that_may_not_be_written_is_named(tmp_path):
    error = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / ".ccdflow" / "lock"))
    line = str(lock.error_of_writing(tmp_path, error))
    assert line.startswith(f"{tmp_path}/.ccdflow/lock: the results folder cannot be written")
    full = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "x.part"))
    assert str(lock.error_of_writing(tmp_path, full)).startswith(f"{tmp_path}: ")


def test_a_file_is_written_directly_and_never_through_a_link(tmp_path, monkeypatch):
    path, other = tmp_path / "new" / "a.png", tmp_path / "other"
    atomic_write.write_directly(path, b"first")
    assert path.read_bytes() == b"first"
    other.write_bytes(b"of somebody else")
    path.unlink()
    path.symlink_to(other)
    atomic_write.write_directly(path, b"second")
    assert (path.read_bytes(), path.is_symlink()) == (b"second", False)
    assert other.read_bytes() == b"of somebody else"

    def write_to_full_disk(file, data):
        file.write(data[:2])
        raise OSError(errno.ENOSPC, "no space left on the device")

    monkeypatch.setattr(atomic_write, "write_all", write_to_full_disk)
    for each in (path, path.with_name("b.png")):
        with pytest.raises(OSError, match="no space left on the device") as caught:
            atomic_write.write_directly(each, b"third")
        assert caught.value.filename == str(each)
    assert [(each.name, each.read_bytes()) for each in path.parent.iterdir()] == [
        ("a.png", b"second")
    ]
