"""Warnings about parts of a pod that get in each other's way: ports, and the files of one volume."""

import json
from typing import Any

Obj = dict[str, Any]


def port_warnings(spec: Obj, path: str) -> list[str]:
    """Return the warnings about ports that two containers, or one, define twice."""
    out: list[str] = []
    seen: dict[tuple[Any, Any], list[tuple[str, Obj]]] = {}
    names: dict[str, str] = {}
    same_names: list[str] = []
    for group in ("initContainers", "containers"):
        for i, container in enumerate(spec.get(group) or ()):
            for j, port in enumerate(container.get("ports") or ()):
                at = f"{path}.{group}[{i}].ports[{j}]"
                if port.get("hostIP") and not port.get("hostPort"):
                    out.append(f"{at}: hostIP set without hostPort: {_go_port(port)}")
                others = seen.setdefault((port.get("containerPort"), port.get("protocol")), [])
                found = ((other, _overlap(port, theirs)) for other, theirs in others)
                out += [f"{at}: {how} port definition with {other}" for other, how in found if how]
                others.append((at, port))
                if group == "containers" or container.get("restartPolicy") == "Always":
                    same_names += _same_name(port.get("name") or "", at, names)
    return out + same_names


def _go_port(port: Obj) -> str:
    """Upstream shows its internal form of a port."""
    name, own, protocol = port.get("name", ""), port.get("containerPort", 0), port.get("protocol", "")
    return f"{{Name:{name} HostPort:0 ContainerPort:{own} Protocol:{protocol} HostIP:{port['hostIP']}}}"


def _overlap(one: Obj, other: Obj) -> str:
    (ip, number), (other_ip, other_number) = ((p.get("hostIP") or "", p.get("hostPort") or 0) for p in (one, other))
    if (ip, number) == (other_ip, other_number):
        return "duplicate"
    if not number or not other_number:
        return "overlapping"
    return "dangerously ambiguous" if number == other_number and bool(ip) != bool(other_ip) else ""


def _same_name(name: str, at: str, names: dict[str, str]) -> list[str]:
    first = names.setdefault(name, at) if name else at
    if first == at:
        return []
    detail = f"services and probes that select ports by name will use {first}"
    return [f'{at}: duplicate port name "{name}" with {first}, {detail}']


def overlapping_paths(volume: Obj) -> list[str]:
    """Return the warnings about files of a volume that have the same path, or one that is a directory of another."""
    name = json.dumps(volume.get("name", ""))
    for member, kind, key in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")):
        source = volume.get(member)
        if source is not None:
            begin = f"volume {name} ({kind} {json.dumps(source.get(key, ''))}): overlapping paths: "
            return [begin + pair for pair in _overlaps([(p, "") for p in _paths(source)])]
    if volume.get("downwardAPI") is not None:
        found = _overlaps([(p, "") for p in _paths(volume["downwardAPI"])])
        return [f"volume {name} (DownwardAPI): overlapping paths: {pair}" for pair in found]
    out: list[str] = []
    files: list[tuple[str, str]] = []
    for projection in (volume.get("projected") or {}).get("sources") or ():
        if not projection:
            out.append(f"volume {name} (Projected) has no sources provided")
        files += _projected(projection)
    return out + [f"volume {name} (Projected): overlapping paths: {pair}" for pair in _overlaps(files)]


def _paths(source: Obj) -> list[str]:
    return [item.get("path", "") for item in source.get("items") or ()]


def _projected(projection: Obj) -> list[tuple[str, str]]:
    for member, kind in (("configMap", "ConfigMap"), ("secret", "Secret")):
        if projection.get(member) is not None:
            label = f" ({kind} {json.dumps(projection[member].get('name', ''))})"
            return [(p, label) for p in _paths(projection[member])]
    if projection.get("downwardAPI") is not None:
        return [(p, " (DownwardAPI)") for p in _paths(projection["downwardAPI"])]
    token = projection.get("serviceAccountToken")
    return [] if token is None else [(token.get("path", ""), " (ServiceAccountToken)")]


def _overlaps(files: list[tuple[str, str]]) -> list[str]:
    out: list[str] = []
    trimmed = [(path.rstrip("/"), label) for path, label in files]
    for i, (path, label) in enumerate(trimmed):
        for other, theirs in trimmed[:i]:
            if path and other and (f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/")):
                out.append(f"{json.dumps(path)}{label} with {json.dumps(other)}{theirs}")
    return out
