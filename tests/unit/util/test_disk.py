"""What a directory holds."""

import os
from pathlib import Path

from wherry.util import disk


def test_files_directories_and_links_are_inodes_and_a_second_name_is_none(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "file").write_bytes(bytes(64 * 1024))
    os.link(tmp_path / "deep" / "file", tmp_path / "deep" / "again")
    (tmp_path / "link").symlink_to("/nowhere")
    found = disk.usage(str(tmp_path))
    assert found.inodes == 5
    assert found.size >= 64 * 1024
    assert found.size < 128 * 1024
    assert disk.usage(str(tmp_path / "none")) == disk.DiskUsage()
