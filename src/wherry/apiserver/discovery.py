"""Discovery: which groups, versions and resources there are, plain and aggregated."""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
import yaml

from wherry.api import schema
from wherry.api.protobuf import encode_body, envelope, message
from wherry.api.resources import Resource, Subresource
from wherry.apiserver.registry import Registry

Object = dict[str, Any]

JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

# Groups of an upstream server in the order of their priority; others follow by name.
_ORDER = (
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
)


@dataclass(frozen=True, slots=True)
class Document:
    """One discovery answer."""

    body: bytes
    media: str = JSON
    etag: str = ""
    varies: bool = False


class Discovery:
    """Makes the documents from the registry's table and keeps them until it changes.

    `remotes` holds the resources of aggregated servers by group and version, None of one that does not answer.
    """

    def __init__(self, registry: Registry, *, server_address: Callable[[], str]) -> None:
        self._registry = registry
        self._server_address = server_address
        self._known: dict[tuple[str, str], Document | None] = {}
        self.remotes: dict[str, dict[str, list[Object] | None]] = {}
        registry.on_table_change.append(self.forget)

    def forget(self) -> None:
        """Drop the documents: the table changed."""
        self._known.clear()

    def document(self, path: str, accept: str) -> Document | None:
        """Return the document of a discovery path, None when nothing is served there."""
        form = _aggregated_form(accept) if path.strip("/") in ("api", "apis") else ""
        key = (path.strip("/"), form)
        if key not in self._known:
            self._known[key] = self._make(*key)
        return self._known[key]

    def _make(self, path: str, form: str) -> Document | None:
        parts = path.split("/")
        if form:
            return self._aggregated(parts[0], form)
        if path == "api":
            return _plain(self._api_versions(), varies=True)
        if path == "apis":
            groups = [self.group(name) for name in self.groups()]
            return _plain({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}, varies=True)
        if parts[0] == "api" and len(parts) == 2:
            return self._resources("", parts[1])
        if parts[0] == "apis" and len(parts) == 2 and parts[1] in self.groups():
            return _plain({"kind": "APIGroup", "apiVersion": "v1", **self.group(parts[1])})
        if parts[0] == "apis" and len(parts) == 3 and parts[1]:
            return self._resources(parts[1], parts[2])
        return None

    def _api_versions(self) -> Object:
        addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": self._server_address()}]
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}

    def groups(self) -> list[str]:
        """Return the named groups in order of priority."""
        present = {r.group for r in self._registry.table} - {""} | self.remotes.keys()
        known = [name for name in _ORDER if name in present]
        return known + sorted(present - set(known))

    def versions(self, group: str) -> list[str]:
        """Return the versions of a group, the preferred one first."""
        served = {r.version for r in self._registry.table if r.group == group}
        return sorted(served | self.remotes.get(group, {}).keys(), key=version_priority)

    def group(self, name: str) -> Object:
        """Return the APIGroup of a group without its type."""
        versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in self.versions(name)]
        return {"name": name, "versions": versions, "preferredVersion": versions[0]}

    def paths(self) -> list[str]:
        """Return the paths of groups and versions."""
        out = []
        for group in self.groups():
            out.append(f"/apis/{group}")
            out.extend(f"/apis/{group}/{version}" for version in self.versions(group))
        return out

    def _of(self, group: str, version: str) -> list[Resource]:
        return sorted(
            (r for r in self._registry.table if (r.group, r.version) == (group, version)), key=lambda r: r.plural
        )

    def _resources(self, group: str, version: str) -> Document | None:
        rows = [row for resource in self._of(group, version) for row in self._rows(resource)]
        if not rows:
            return None
        name = f"{group}/{version}" if group else version
        body: Object = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": rows}
        if not group:
            del body["apiVersion"]
        return _plain(body)

    def _rows(self, resource: Resource) -> list[Object]:
        row: Object = {
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": _verbs(resource),
        }
        if resource.short_names:
            row["shortNames"] = list(resource.short_names)
        if resource.categories:
            row["categories"] = list(resource.categories)
        if "watch" in resource.verbs:  # what is stored; component statuses are made up when asked for
            row["storageVersionHash"] = storage_hash(self._registry.stored(resource))
        rows = [row]
        for sub in _subresources(resource):
            entry: Object = {
                "name": f"{resource.plural}/{sub.name}",
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": sub.kind,
                "verbs": sorted(sub.verbs),
            }
            if (sub.group, sub.version) != (resource.group, resource.version):
                entry.update(group=sub.group, version=sub.version)
            rows.append(entry)
        return rows

    def _aggregated(self, root: str, form: str) -> Document:
        names = [""] if root == "api" else self.groups()
        items = [self._aggregated_group(name) for name in names]
        version, media = form.split(" ", 1)
        body = {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"apidiscovery.k8s.io/{version}",
            "metadata": {},
            "items": items,
        }
        raw = orjson.dumps(body)
        etag = f'"{hashlib.sha512(raw).hexdigest().upper()}"'
        if media == PROTOBUF:
            raw = envelope(f"apidiscovery.k8s.io/{version}", "APIGroupDiscoveryList", encode_groups(items))
        else:
            raw += b"\n"
        return Document(raw, f"{media};g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList", etag, varies=True)

    def _aggregated_group(self, name: str) -> Object:
        metadata: Object = {"name": name} if name else {}
        versions = [self._aggregated_version(name, version) for version in self.versions(name)]
        return {"metadata": metadata, "versions": versions}

    def _aggregated_version(self, group: str, version: str) -> Object:
        remotes = self.remotes.get(group, {})
        if version in remotes:
            resources = remotes[version]
            return {
                "version": version,
                "resources": resources or [],
                "freshness": "Current" if resources is not None else "Stale",
            }
        resources = [_discovered(r) for r in self._of(group, version)]
        return {"version": version, "resources": resources, "freshness": "Current"}


_CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")


def _verbs(resource: Resource) -> list[str]:
    """Return the verbs in the order in which they are published."""
    if resource.custom is not None:
        # While its definition is being deleted, a resource is published as one that nobody changes.
        terminating = "create" not in resource.verbs
        return [verb for verb in _CUSTOM_VERBS if not (terminating and verb in ("patch", "update", "create"))]
    return sorted(resource.verbs)


def _subresources(resource: Resource) -> list[Subresource]:
    if resource.custom is not None:
        return list(resource.subresources.values())
    return sorted(resource.subresources.values(), key=lambda s: s.name)


def _discovered(resource: Resource) -> Object:
    def kind(group: str, version: str, name: str) -> Object:
        builtin = resource.custom is None and group == resource.group and version == resource.version
        # Built-in kinds leave out the group and version that the surrounding document says.
        return {"group": "" if builtin else group, "version": "" if builtin else version, "kind": name}

    row: Object = {
        "resource": resource.plural,
        "responseKind": kind(resource.group, resource.version, resource.kind),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": _verbs(resource),
    }
    if resource.short_names:
        row["shortNames"] = list(resource.short_names)
    if resource.categories:
        row["categories"] = list(resource.categories)
    subresources = [
        {"subresource": s.name, "responseKind": kind(s.group, s.version, s.kind), "verbs": sorted(s.verbs)}
        for s in _subresources(resource)
    ]
    if subresources:
        row["subresources"] = subresources
    return row


def _aggregated_form(accept: str) -> str:
    """Return version and media type of the aggregated form that is asked for before a plain one, else ''.

    The beta of that form is gone (the gate AggregatedDiscoveryRemoveBetaType).
    """
    for clause in accept.split(","):
        media, *rest = (part.strip() for part in clause.split(";"))
        params = dict(part.partition("=")[::2] for part in rest)
        if params.get("as") == "APIGroupDiscoveryList" and params.get("g") == "apidiscovery.k8s.io":
            if params.get("v") == "v2" and media in (JSON, PROTOBUF):
                return f"{params['v']} {media}"
        elif media in (JSON, "*/*") and "as" not in params:
            return ""
    return ""


def _plain(obj: Object, *, varies: bool = False) -> Document:
    return Document(orjson.dumps(obj, option=orjson.OPT_APPEND_NEWLINE), varies=varies)


@lru_cache(maxsize=256)
def in_form(body: bytes, media: str) -> bytes:
    """Return a plain document in another media type than JSON: YAML or protobuf."""
    obj = orjson.loads(body)
    if media == YAML:
        return yaml.dump(obj, Dumper=_DUMPER, sort_keys=True, default_flow_style=False, allow_unicode=True).encode()
    inner = encode_body({**obj, "apiVersion": "v1"}, schema.load())
    assert inner is not None
    return envelope("v1", obj["kind"], inner)


def storage_hash(resource: Resource) -> str:
    """Return the ``storageVersionHash`` of the resource that stores an object."""
    text = f"{resource.group}/{resource.version}/{resource.kind}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


def version_priority(version: str) -> tuple[int, int, int, str]:
    """Sort key: stable versions first, then beta, then alpha, higher numbers first (apimachinery ``version``)."""
    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if match is None:
        return (3, 0, 0, version)
    major, stage, minor = match.groups()
    return ({None: 0, "beta": 1, "alpha": 2}[stage], -int(major), -int(minor or 0), "")


def encode_groups(items: list[Object]) -> bytes:
    """Return APIGroupDiscoveryList's members in protobuf (apidiscovery ``generated.proto``)."""
    return message([(1, []), *[(2, _group_fields(item)) for item in items]])


def _group_fields(item: Object) -> list[tuple[int, Any]]:
    fields: list[tuple[int, Any]] = [(1, [(1, item["metadata"].get("name", ""))])]
    for version in item["versions"]:
        parts: list[tuple[int, Any]] = [(1, version["version"])]
        parts += [(2, _resource_fields(resource)) for resource in version["resources"]]
        fields.append((2, [*parts, (3, version["freshness"])]))
    return fields


def _kind_fields(kind: Object) -> list[tuple[int, Any]]:
    return [(1, kind["group"]), (2, kind["version"]), (3, kind["kind"])]


def _resource_fields(resource: Object) -> list[tuple[int, Any]]:
    fields: list[tuple[int, Any]] = [
        (1, resource["resource"]),
        (2, _kind_fields(resource["responseKind"])),
        (3, resource["scope"]),
        (4, resource["singularResource"]),
    ]
    fields += [(5, verb) for verb in resource["verbs"]]
    fields += [(6, name) for name in resource.get("shortNames", ())]
    fields += [(7, name) for name in resource.get("categories", ())]
    for sub in resource.get("subresources", ()):
        parts: list[tuple[int, Any]] = [(1, sub["subresource"]), (2, _kind_fields(sub["responseKind"]))]
        fields.append((8, [*parts, *[(4, verb) for verb in sub["verbs"]]]))
    return fields
