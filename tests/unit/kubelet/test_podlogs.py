"""The logs of pods on disk, and the links to them."""

import os
from pathlib import Path
from typing import Any

from wherry.kubelet import podlogs
from wherry.kubelet.config import KubeletConfig


def config(root: Path) -> KubeletConfig:
    return KubeletConfig(node_name="n", root=root / "state", run=root / "run", log_root=root / "pods")


def logged(settings: KubeletConfig, name: str, uid: str, container_id: str) -> dict[str, Any]:
    """Make a pod with the log of one container, and the link to it."""
    pod = {"metadata": {"name": name, "namespace": "ns", "uid": uid}}
    log = settings.log_directory("ns", name, uid) / "c" / "0.log"
    log.parent.mkdir(parents=True)
    log.write_text(f"of {name}")
    podlogs.link(settings, pod, container="c", container_id=container_id, log=str(log))
    return pod


def test_a_link_says_whose_log_it_is_and_goes_with_it(tmp_path: Path) -> None:
    settings = config(tmp_path)
    pod = logged(settings, "a", "1", "x")
    logged(settings, "ab", "2", "y")
    assert (tmp_path / "containers/a_ns_c-x.log").read_text() == "of a"
    podlogs.remove(settings, pod)
    assert (os.listdir(tmp_path / "pods"), os.listdir(tmp_path / "containers")) == (["ns_ab_2"], ["ab_ns_c-y.log"])


def test_a_pod_of_the_same_name_keeps_its_log(tmp_path: Path) -> None:
    settings = config(tmp_path)
    pod = logged(settings, "a", "1", "x")
    logged(settings, "a", "2", "y")
    podlogs.remove(settings, pod)
    assert os.listdir(tmp_path / "containers") == ["a_ns_c-y.log"]


def test_logs_go_by_the_uids_of_their_pods(tmp_path: Path) -> None:
    settings = config(tmp_path)
    for number in ("1", "2", "3"):
        logged(settings, f"p{number}", number, number)
    podlogs.remove_all(settings.log_root, ["1", "3", "unknown"])
    assert (os.listdir(tmp_path / "pods"), os.listdir(tmp_path / "containers")) == (["ns_p2_2"], ["p2_ns_c-2.log"])
