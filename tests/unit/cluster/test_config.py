"""Cluster settings."""

from pathlib import Path

import pytest

from wherry.cluster import config as configs
from wherry.cluster.config import ClusterConfig, ClusterError


@pytest.fixture(autouse=True)
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configs, "STATE_ROOT", tmp_path / "state")


def make(name: str, index: int = 0) -> ClusterConfig:
    pods, services = configs.ranges(index)
    return ClusterConfig(
        name=name, index=index, kubernetes_version="1.36", api_port=6443, kubelet_port=10250, node_name=name,
        node_address="192.0.2.2", pod_cidr=pods, service_cidr=services,
    )  # fmt: skip


def test_settings_come_back_as_they_were_saved() -> None:
    config = make("wherry")
    config.save()
    assert configs.load("wherry") == config
    assert configs.existing() == [config]


def test_an_unknown_cluster_has_none() -> None:
    assert configs.load("absent") is None


def test_damaged_settings_name_the_remedy() -> None:
    make("wherry").save()
    configs.Paths("wherry").config.write_text("{")
    with pytest.raises(ClusterError, match="wherry delete --name wherry"):
        configs.load("wherry")


def test_clusters_of_one_machine_have_ranges_of_their_own() -> None:
    ranges = [r for index in range(20) for r in configs.ranges(index)]
    assert len(set(ranges)) == len(ranges)


@pytest.mark.parametrize("name", ["", "Upper", "-a", "a-", "a" * 21, "a/b", "a.b"])
def test_names_that_cannot_be_paths_or_links_are_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="cluster name"):
        configs.check_name(name)


def test_the_context_of_the_default_cluster_has_the_plain_name() -> None:
    assert make("wherry").context == "wherry"
    assert make("two", 1).context == "wherry-two"


def test_well_known_addresses_lie_in_the_service_range() -> None:
    assert make("two", 1).kubernetes_service_ip == "10.97.0.1"
    assert make("two", 1).dns_service_ip == "10.97.0.10"
