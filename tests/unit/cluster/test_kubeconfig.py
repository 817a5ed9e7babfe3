"""Merging a context into the user's kubeconfig."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from wherry.cluster import kubeconfig
from wherry.cluster.config import ClusterError

OTHERS = """
apiVersion: v1
kind: Config
current-context: work
preferences: {colors: true}
clusters: [{name: work, cluster: {server: https://work.example}}]
contexts: [{name: work, context: {cluster: work, user: me, namespace: team}}]
users: [{name: me, user: {token: secret}}]
"""


def entries(server: str = "https://127.0.0.1:6443", name: str = "wherry") -> dict[str, Any]:
    return {
        "clusters": [{"name": name, "cluster": {"server": server}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "users": [{"name": name, "user": {}}],
        "current-context": name,
    }


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SUDO_UID", "SUDO_GID", "SUDO_USER"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "kube" / "config"


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content


def test_a_new_file_is_readable_by_its_owner_only(path: Path) -> None:
    kubeconfig.merge(path, entries())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read(path)["current-context"] == "wherry"


def test_other_contexts_and_preferences_stay(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(OTHERS)
    kubeconfig.merge(path, entries())
    content = read(path)
    assert [c["name"] for c in content["contexts"]] == ["work", "wherry"]
    assert content["users"][0] == {"name": "me", "user": {"token": "secret"}}
    assert content["preferences"] == {"colors": True}


def test_merging_twice_replaces_the_entries(path: Path) -> None:
    kubeconfig.merge(path, entries("https://127.0.0.1:1"))
    kubeconfig.merge(path, entries("https://127.0.0.1:2"))
    assert read(path)["clusters"] == [{"name": "wherry", "cluster": {"server": "https://127.0.0.1:2"}}]


def test_removing_a_context_leaves_the_others(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(OTHERS)
    kubeconfig.merge(path, entries())
    kubeconfig.remove(path, "wherry")
    content = read(path)
    assert [c["name"] for c in content["clusters"]] == ["work"]
    assert content["current-context"] == ""


@pytest.mark.parametrize("damaged", ["a: [", "- a\n- b\n"])
def test_a_file_that_is_no_kubeconfig_is_refused_and_kept(path: Path, damaged: str) -> None:
    path.parent.mkdir()
    path.write_text(damaged)
    with pytest.raises(ClusterError, match="KUBECONFIG"):
        kubeconfig.merge(path, entries())
    assert path.read_text() == damaged
    assert os.listdir(path.parent) == ["config"]


def test_a_locked_file_is_named_with_the_remedy(path: Path) -> None:
    path.parent.mkdir()
    lock = path.with_name("config.lock")
    lock.touch()
    with pytest.raises(ClusterError, match=r"remove .*config\.lock"):
        kubeconfig.merge(path, entries())
