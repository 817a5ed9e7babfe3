"""Expansion, service variables and references in a container's environment."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.kubelet.fakes import container, make_pod
from wherry.api.resources import Resource
from wherry.kubelet.downward import Facts
from wherry.kubelet.env import ConfigError, make_environment, service_variables
from wherry.kubelet.envfile import value_of
from wherry.kubelet.expansion import expand

FACTS = Facts(node_name="n", host_ips=("192.0.2.1",), pod_ips=("10.0.0.1",), allocatable={"cpu": "4", "memory": "1Gi"})


def environment(objects: dict[str, Any] | None = None, *, volume: Path = Path("/"), **members: Any) -> dict[str, str]:
    async def lookup(resource: Resource, name: str) -> Any:
        return (objects or {}).get(f"{resource.plural}/{name}")

    app = container("app", **members)
    pod = make_pod(containers=[app], metadata={"name": "web", "namespace": "default", "labels": {"a": "b"}})

    async def files(ref: dict[str, Any]) -> str | None:
        return await value_of(ref, {"volume": str(volume)})

    found, _ = asyncio.run(make_environment(pod, app, lookup=lookup, services=[], facts=FACTS, files=files))
    return found


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(A)", "1"), ("$$(A)", "$(A)"), ("$$$(A)", "$1"), ("$(B)", "$(B)"), ("$A", "$A"), ("$(A", "$(A"), ("$$", "$"),
        ("x$(A)y$(A)", "x1y1"), ("$", "$"),
    ],
)  # fmt: skip
def test_references_expand_and_dollars_escape(text: str, result: str) -> None:
    assert expand(text, {"A": "1"}) == result


@given(st.text(alphabet="abc()", max_size=20))
def test_text_without_dollars_stays(text: str) -> None:
    assert expand(text, {"a": "1"}) == text


def test_later_variables_see_earlier_ones_and_sources() -> None:
    config = {"data": {"X": "from-config", "bad key": "kept"}}
    found = environment(
        {"configmaps/c": config, "secrets/s": {"data": {"k": "c2VjcmV0"}}},
        envFrom=[{"prefix": "P_", "configMapRef": {"name": "c"}}],
        env=[
            {"name": "A", "value": "$(P_X)"},
            {"name": "B", "value": "$(A)-$(C)"},
            {"name": "C", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "k", "optional": True}}},
        ],
    )
    assert found == {
        "P_X": "from-config", "P_bad key": "kept", "A": "from-config", "B": "from-config-$(C)", "C": "secret",
        "LABEL": "b", "IP": "10.0.0.1", "CPU": "4", "MEM": "1024",
    }  # fmt: skip


def test_missing_reference_names_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="couldn't find key k in ConfigMap default/c"):
        environment(
            {"configmaps/c": {"data": {}}},
            env=[{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}],
        )


_FILE = """\
# a comment
  ADDRESS = 'https://host/?a=b # not a comment'

LINES='one
 two'
EMPTY=''
ADDRESS='later'
"""


def _from_file(key: str, **more: Any) -> list[dict[str, Any]]:
    ref = {"volumeName": "volume", "path": "deep/env", "key": key, **more}
    return [{"name": key, "valueFrom": {"fileKeyRef": ref}}]


def test_variables_come_out_of_files_literally(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "env").write_text(_FILE)
    for key, value in {"ADDRESS": "later", "LINES": "one\n two", "EMPTY": ""}.items():
        assert environment(volume=tmp_path, env=_from_file(key)) == {key: value}
    assert environment(volume=tmp_path, env=_from_file("NONE", optional=True)) == {}
    with pytest.raises(ConfigError, match='environment variable key "NONE" not found in file "deep/env"'):
        environment(volume=tmp_path, env=_from_file("NONE"))


@pytest.mark.parametrize("line", ["A=bare", 'A="double"', "A='one''two'", "A='a'$B", "A='open", "'a'='b'", "word"])
def test_what_a_shell_would_read_differently_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "env").write_text(f"\n{line}\nB='b'\n")
    with pytest.raises(ConfigError, match="couldn't parse env file: invalid environment variable format at line 2"):
        environment(volume=tmp_path, env=_from_file("B"))


def test_a_file_of_variables_lies_within_its_volume_and_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "volume" / "deep").mkdir(parents=True)
    (tmp_path / "secret").write_text("KEY='stolen'\n")
    path = tmp_path / "volume" / "deep" / "env"
    assert environment(volume=tmp_path / "volume", env=_from_file("KEY", optional=True)) == {}
    path.symlink_to("../../secret")
    with pytest.raises(ConfigError, match="not within volume path"):
        environment(volume=tmp_path / "volume", env=_from_file("KEY", optional=True))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="not a regular file"):
        environment(volume=tmp_path / "volume", env=_from_file("KEY"))


def test_services_of_the_namespace_become_variables() -> None:
    def service(name: str, namespace: str, ip: str) -> dict[str, Any]:
        ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
        return {"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": ip, "ports": ports}}

    services = [
        service("kubernetes", "default", "10.96.0.1"),
        service("redis-master", "apps", "10.96.0.2"),
        service("headless", "apps", "None"),
        service("elsewhere", "other", "10.96.0.3"),
    ]
    pod = make_pod(metadata={"name": "web", "namespace": "apps"})
    found = service_variables(pod, services)
    assert found["REDIS_MASTER_SERVICE_HOST"] == "10.96.0.2"
    assert found["REDIS_MASTER_SERVICE_PORT_HTTP"] == "80"
    assert found["REDIS_MASTER_PORT_80_TCP"] == found["REDIS_MASTER_PORT"] == "tcp://10.96.0.2:80"
    assert found["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
    assert not any(name.startswith(("HEADLESS", "ELSEWHERE")) for name in found)
    pod["spec"]["enableServiceLinks"] = False
    assert {name.partition("_")[0] for name in service_variables(pod, services)} == {"KUBERNETES"}
