"""Checks that keep pods away from the host: its namespaces, paths, ports and addresses."""

from collections.abc import Iterator

from wherry.apiserver.admission.podsecurity.checks import (
    BASELINE,
    Check,
    Object,
    Version,
    Violation,
    containers,
    named,
    plural,
    quoted,
)


def _namespaces(meta: Object, spec: Object) -> Violation | None:
    used = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    return Violation("host namespaces", ", ".join(used)) if used else None


def _paths(meta: Object, spec: Object) -> Violation | None:
    volumes = [volume["name"] for volume in spec.get("volumes") or () if volume.get("hostPath") is not None]
    return Violation("hostPath volumes", named(volumes, "volume")) if volumes else None


def _ports(meta: Object, spec: Object) -> Violation | None:
    bad, ports = [], set()
    for container in containers(spec):
        used = {str(port["hostPort"]) for port in container.get("ports") or () if port.get("hostPort")}
        if used:
            bad.append(container["name"])
            ports |= used
    if not bad:
        return None
    verb, what = plural(len(bad), "uses", "use"), plural(len(ports), "hostPort")
    return Violation("hostPort", f"{named(bad)} {verb} {what} {', '.join(sorted(ports))}")


def _handlers(container: Object) -> Iterator[Object]:
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        yield container.get(probe) or {}
    for event in ("postStart", "preStop"):
        yield (container.get("lifecycle") or {}).get(event) or {}


def _addresses(meta: Object, spec: Object) -> Violation | None:
    bad: set[str] = set()
    hosts: set[str] = set()
    for container in containers(spec):
        for handler in _handlers(container):
            used = {(handler.get(action) or {}).get("host") or "" for action in ("httpGet", "tcpSocket")} - {""}
            if used:
                bad.add(container["name"])
                hosts |= used
    if not bad:
        return None
    verb, what = plural(len(bad), "uses", "use"), plural(len(hosts), "probe or lifecycle host")
    return Violation("probe or lifecycle host", f"{named(sorted(bad))} {verb} {what} {quoted(sorted(hosts))}")


CHECKS = (
    Check("hostNamespaces", BASELINE, (Version(0, _namespaces),)),
    Check("hostPathVolumes", BASELINE, (Version(0, _paths),)),
    Check("hostPorts", BASELINE, (Version(0, _ports),)),
    Check("hostProbesAndHostLifecycle", BASELINE, (Version(34, _addresses),)),
)
