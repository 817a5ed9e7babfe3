"""No archive reaches anything outside of its layer's directory."""

import gzip
import hashlib
import io
import os
import stat
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry.images.compression import zstd
from wherry.images.layers import unpack
from wherry.images.protocol import ImageError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: owners and whiteouts")

Entry = tuple[str, bytes, str]


def _tar(*entries: Entry, change: Callable[[tarfile.TarInfo], None] | None = None) -> bytes:
    """Return a tar of (name, type, contents or link)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, value in entries:
            member = tarfile.TarInfo(name)
            member.type, member.mode = kind, 0o755
            data = value.encode() if kind == tarfile.REGTYPE else b""
            member.size, member.linkname = len(data), "" if data else value
            if change is not None:
                change(member)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _unpack(directory: Path, data: bytes, **options: int) -> Path:
    blob = directory / "blob"
    blob.write_bytes(data)
    target = directory / "layer"
    unpack(str(blob), str(target), diff_id=f"sha256:{hashlib.sha256(data).hexdigest()}", **options)
    return target


REG, DIR, SYM, LNK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def test_files_links_modes_and_times_arrive(tmp_path: Path) -> None:
    def change(member: tarfile.TarInfo) -> None:
        member.mtime = 1_000_000
        if member.name == "bin/su":
            member.mode, member.uid = 0o4755, 7

    data = _tar(
        ("bin", DIR, ""), ("bin/su", REG, "x"), ("bin/hard", LNK, "bin/su"), ("s", SYM, "/bin/su"), change=change
    )
    layer = _unpack(tmp_path, data)
    su = os.stat(layer / "bin/su")
    assert (stat.S_IMODE(su.st_mode), su.st_uid, su.st_nlink, su.st_mtime) == (0o4755, 7, 2, 1_000_000)
    assert os.readlink(layer / "s") == "/bin/su"
    assert os.stat(layer / "bin").st_mtime == 1_000_000


def test_whiteouts_become_those_of_overlayfs(tmp_path: Path) -> None:
    layer = _unpack(tmp_path, _tar(("etc/.wh.passwd", REG, ""), ("var/.wh..wh..opq", REG, "")))
    removed = os.lstat(layer / "etc/passwd")
    assert stat.S_ISCHR(removed.st_mode) and removed.st_rdev == 0
    assert os.getxattr(layer / "var", "trusted.overlay.opaque") == b"y"


@pytest.mark.parametrize(
    "entries",
    [
        [("../evil", REG, "x")],
        [("a/../../evil", REG, "x")],
        [(".wh...", REG, "")],
        [("a/.wh...", REG, "")],
        [("link", LNK, "../../evil")],
        [("link", LNK, "/")],
    ],
)
def test_a_path_that_leads_out_is_refused(tmp_path: Path, entries: list[Entry]) -> None:
    with pytest.raises(ImageError):
        _unpack(tmp_path, _tar(*entries))
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("target", ["/", "..", "../..", "/etc/..", "OUT"])
def test_a_link_leads_nowhere_but_into_the_layer(tmp_path: Path, target: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    target = target.replace("OUT", str(outside))
    entries: list[Entry] = [("to", SYM, target), ("to/written", REG, "x"), ("stolen", LNK, "to/secret")]
    try:
        layer = _unpack(tmp_path, _tar(*entries))
    except ImageError:
        layer = tmp_path / "layer"
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert os.stat(outside / "secret").st_nlink == 1
    assert not (layer / "stolen").exists()
    assert not (tmp_path / "written").exists() and not Path("/written").exists()


@pytest.mark.parametrize(
    "compress", [gzip.compress, zstd.compress, lambda data: zstd.compress(data[:700]) + zstd.compress(data[700:])]
)
def test_compressed_layers_are_unpacked_and_damaged_ones_refused(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    data = _tar(("file", REG, "text"))
    diff_id = f"sha256:{hashlib.sha256(data).hexdigest()}"
    blob, layer = tmp_path / "blob", tmp_path / "layer"
    packed = compress(data)
    blob.write_bytes(packed)
    unpack(str(blob), str(layer), diff_id=diff_id)
    assert (layer / "file").read_text() == "text"
    for wrong in (packed[:-5], packed[:40] + b"damage" + packed[46:]):
        blob.write_bytes(wrong)
        with pytest.raises(ImageError):
            unpack(str(blob), str(tmp_path / hashlib.sha256(wrong).hexdigest()), diff_id=diff_id)


def test_a_damaged_or_exchanged_layer_is_refused(tmp_path: Path) -> None:
    data = _tar(("a", REG, "x" * 5000))
    (tmp_path / "blob").write_bytes(data)
    with pytest.raises(ImageError, match="not sha256:00"):
        unpack(str(tmp_path / "blob"), str(tmp_path / "one"), diff_id="sha256:" + "0" * 64)
    with pytest.raises(ImageError):
        _unpack(tmp_path, data[:1500])


def test_a_layer_whose_digest_is_known_unpacks_as_any_other(tmp_path: Path) -> None:
    texts = {"d/large": "large " * 20_000, "d/small": "x", "d/empty": "", "last": "y" * 70_000}
    data = _tar(("d", DIR, ""), *((name, REG, text) for name, text in texts.items()), ("d/.wh.gone", REG, ""))
    layer = _unpack(tmp_path, data, known=True)
    assert {name: (layer / name).read_text() for name in texts} == texts
    assert stat.S_ISCHR((layer / "d/gone").stat().st_mode)
    (tmp_path / "blob").write_bytes(data[:100_000])
    with pytest.raises(ImageError, match="unexpected end of data"):
        unpack(str(tmp_path / "blob"), str(tmp_path / "cut"), diff_id="", known=True)


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="more than 1000 bytes"):
        _unpack(tmp_path, _tar(("a", REG, "x" * 600), ("b", REG, "x" * 600)), most_bytes=1000)


def test_overlay_attributes_cannot_be_forged(tmp_path: Path) -> None:
    def change(member: tarfile.TarInfo) -> None:
        member.pax_headers = {"SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.user.mine": "yes"}

    layer = _unpack(tmp_path, _tar(("d", DIR, ""), change=change))
    assert os.listxattr(layer / "d") == ["user.mine"]


_names = st.lists(st.sampled_from(["a", "b", "..", ".", "", ".wh.a", ".wh..", ".wh..wh..opq"]), min_size=1, max_size=4)
_paths = st.tuples(st.sampled_from(["", "/"]), _names).map(lambda parts: parts[0] + "/".join(parts[1]))
_entries = st.tuples(_paths.filter(bool), st.sampled_from([REG, DIR, SYM, LNK]), _paths)


@settings(max_examples=150, deadline=None)
@given(st.lists(_entries, max_size=8))
def test_nothing_outside_changes_whatever_the_archive_says(entries: list[Entry]) -> None:
    with tempfile.TemporaryDirectory() as name:
        base = Path(name, "base")
        (base / "in").mkdir(parents=True)
        (base / "a").write_text("mine")
        (base / "b").mkdir()
        before = _snapshot(base)
        try:
            _unpack(base / "in", _tar(*entries))
        except ImageError:
            pass
        assert _snapshot(base) == before
        assert sorted(path.name for path in (base / "in").iterdir()) in (["blob"], ["blob", "layer"])


def _snapshot(base: Path) -> list[tuple[str, int, int]]:
    paths = [base / "a", base / "b", *(base / "b").iterdir()]
    names = sorted(path.name for path in base.iterdir())
    return [(",".join(names), 0, 0)] + [(str(p), os.lstat(p).st_mode, os.lstat(p).st_nlink) for p in paths]
