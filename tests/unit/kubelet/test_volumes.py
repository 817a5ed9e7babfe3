"""Volume content: atomic swaps, modes, and sub-paths that stay within their volume."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from wherry.kubelet.volumes import atomic, nfs, subpath
from wherry.kubelet.volumes.atomic import File
from wherry.kubelet.volumes.plugin import VolumeError


def test_payload_is_swapped_at_once_and_old_files_go(tmp_path: Path) -> None:
    assert atomic.write(tmp_path, {"a": File(b"1", 0o644), "dir/b": File(b"2", 0o400)})
    before = os.readlink(tmp_path / "..data")
    assert (tmp_path / "a").read_bytes() == b"1"
    assert (tmp_path / "dir/b").stat().st_mode & 0o777 == 0o400
    assert atomic.write(tmp_path, {"a": File(b"3", 0o644)})
    assert (tmp_path / "a").read_bytes() == b"3"
    assert not (tmp_path / "dir").exists() and not (tmp_path / "dir").is_symlink()
    assert not (tmp_path / before).exists()


def test_equal_payload_changes_nothing(tmp_path: Path) -> None:
    payload = {"a": File(b"1", 0o644)}
    atomic.write(tmp_path, payload)
    before = os.readlink(tmp_path / "..data")
    assert not atomic.write(tmp_path, payload)
    assert os.readlink(tmp_path / "..data") == before


def test_changed_mode_is_a_change(tmp_path: Path) -> None:
    atomic.write(tmp_path, {"a": File(b"1", 0o644)})
    assert atomic.write(tmp_path, {"a": File(b"1", 0o600)})
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def resolve(volume: Path, path: str) -> str:
    descriptor = subpath._open_or_make(str(volume), path)
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def test_sub_path_is_made_and_follows_links_within_the_volume(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    assert resolve(volume, "new/deep") == str(volume / "new/deep")
    (volume / "link").symlink_to("new")
    assert resolve(volume, "link/deep") == str(volume / "new/deep")


@pytest.mark.parametrize("target", ["../outside", "/etc", "new/../../outside"])
def test_sub_path_never_leaves_its_volume(tmp_path: Path, target: str) -> None:
    volume = tmp_path / "volume"
    (volume / "new").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (volume / "trap").symlink_to(target)
    with pytest.raises(VolumeError, match="not within volume path"):
        resolve(volume, "trap/x" if target != "/etc" else "trap")
    assert not (tmp_path / "outside/x").exists()


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Stands in for the host's mount: tells what arguments it got, fails for the server `gone`."""
    program, file = tmp_path / "bin/mount", tmp_path / "arguments"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >>{file}\ncase "$*" in *gone*) echo no such host; exit 32;; esac\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return file.read_text


async def test_an_nfs_export_is_mounted_with_the_options_of_its_volume(tmp_path: Path, said: Callable[[], str]) -> None:
    directory = str(tmp_path / "volumes/one")
    source = {"server": "fd00::2", "path": "/export"}
    assert await nfs.mount_export(source, directory, read_only=True, options=["nfsvers=4.1"]) == directory
    assert said() == f"-t nfs -o nfsvers=4.1,ro [fd00::2]:/export {directory}\n"


@pytest.mark.usefixtures("said")
async def test_a_failed_nfs_mount_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "volumes/one"
    with pytest.raises(VolumeError) as caught:
        await nfs.mount_export({"server": "gone", "path": "/x"}, str(directory))
    assert str(caught.value) == (
        "mount failed: exit status 32\nMounting command: mount\n"
        f"Mounting arguments: -t nfs gone:/x {directory}\nOutput: no such host\n"
    )
    assert os.listdir(directory.parent) == []
