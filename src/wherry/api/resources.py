"""The table of built-in resources: what the API definitions do not say.

The rows are ``data/resources.tsv`` (group, version, plural, singular, kind, scope, verbs, short names, categories;
a subresource is a row ``plural/sub``). ``TABLE`` holds them all; the constants below name those that Wherry's own
components use. Custom resources make `Resource` objects of the same shape at run time.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources as package_data
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wherry.api.structural.kind import CustomKind


@dataclass(frozen=True, slots=True)
class Subresource:
    """One subresource: its kind may be another than the parent's (``Scale``, ``Eviction``, ``TokenRequest``)."""

    name: str
    kind: str
    group: str
    version: str
    verbs: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """One served resource in one version. Compared by identity: take it from a table."""

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    verbs: frozenset[str]
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: Mapping[str, Subresource] = field(default_factory=dict)
    custom: "CustomKind | None" = None
    """What its CustomResourceDefinition says; None for a built-in kind."""

    @property
    def api_version(self) -> str:
        """``v1`` or ``apps/v1``: the ``apiVersion`` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind(self) -> str:
        """The kind of its lists."""
        return self.custom.list_kind if self.custom is not None else f"{self.kind}List"

    @property
    def group_resource(self) -> str:
        """``pods`` or ``deployments.apps``: how messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of the collection, an object or a subresource; without a plural, of the group version."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        if self.plural:
            parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)

    def __repr__(self) -> str:
        return f"<Resource {self.plural}.{self.version}.{self.group or 'core'}>"


class ResourceTable:
    """Resources by (group, version, plural) and by (group, version, kind)."""

    def __init__(self, rows: Iterable[Resource] = ()) -> None:
        self._by_plural: dict[tuple[str, str, str], Resource] = {}
        self._by_kind: dict[tuple[str, str, str], Resource] = {}
        for row in rows:
            self.add(row)

    def add(self, resource: Resource) -> None:
        """Add or replace one resource."""
        self._by_plural[resource.group, resource.version, resource.plural] = resource
        self._by_kind[resource.group, resource.version, resource.kind] = resource

    def remove(self, resource: Resource) -> None:
        """Remove one resource; nothing happens when it is not there."""
        self._by_plural.pop((resource.group, resource.version, resource.plural), None)
        self._by_kind.pop((resource.group, resource.version, resource.kind), None)

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        return self._by_plural.get((group, version, plural))

    def find_kind(self, group: str, version: str, kind: str) -> Resource | None:
        return self._by_kind.get((group, version, kind))

    def for_object(self, api_version: str, kind: str) -> Resource | None:
        """Return the resource of an object's ``apiVersion`` and ``kind``."""
        group, _, version = api_version.rpartition("/")
        return self._by_kind.get((group, version, kind))

    def __iter__(self) -> Iterator[Resource]:
        return iter(list(self._by_plural.values()))

    def __len__(self) -> int:
        return len(self._by_plural)


def _load() -> ResourceTable:
    text = (package_data.files("wherry.api") / "data" / "resources.tsv").read_text()
    rows = [line.split("\t") for line in text.splitlines()[1:] if line]
    subresources: dict[tuple[str, str, str], dict[str, Subresource]] = {}
    for group, version, plural, _, shown, _, verbs, *_ in rows:
        parent, _, sub = plural.partition("/")
        if sub:
            # A kind of another group than the parent's names it: ``Scale (autoscaling/v1)``.
            kind, _, foreign = shown.rstrip(")").partition(" (")
            of_group, _, of_version = foreign.rpartition("/") if foreign else (group, "", version)
            subresources.setdefault((group, version, parent), {})[sub] = Subresource(
                sub, kind, of_group, of_version, frozenset(verbs.split(","))
            )
    table = ResourceTable()
    for group, version, plural, singular, kind, namespaced, verbs, short, categories in rows:
        if "/" not in plural:
            table.add(
                Resource(
                    group,
                    version,
                    plural,
                    singular,
                    kind,
                    namespaced == "true",
                    frozenset(verbs.split(",")),
                    tuple(short.split(",")) if short else (),
                    tuple(categories.split(",")) if categories else (),
                    subresources.get((group, version, plural), {}),
                )
            )
    return table


TABLE = _load()
BUILTIN_GROUPS = frozenset(resource.group for resource in TABLE)


def builtin(group: str, version: str, plural: str) -> Resource:
    """Return one built-in resource. Raises KeyError when there is none."""
    found = TABLE.find(group, version, plural)
    if found is None:
        raise KeyError(f"{group}/{version} {plural}")
    return found


CONFIGMAPS = builtin("", "v1", "configmaps")
ENDPOINTS = builtin("", "v1", "endpoints")
EVENTS = builtin("", "v1", "events")
LIMITRANGES = builtin("", "v1", "limitranges")
NAMESPACES = builtin("", "v1", "namespaces")
NODES = builtin("", "v1", "nodes")
PERSISTENTVOLUMECLAIMS = builtin("", "v1", "persistentvolumeclaims")
PERSISTENTVOLUMES = builtin("", "v1", "persistentvolumes")
PODS = builtin("", "v1", "pods")
REPLICATIONCONTROLLERS = builtin("", "v1", "replicationcontrollers")
RESOURCEQUOTAS = builtin("", "v1", "resourcequotas")
SECRETS = builtin("", "v1", "secrets")
SERVICEACCOUNTS = builtin("", "v1", "serviceaccounts")
SERVICES = builtin("", "v1", "services")
CONTROLLERREVISIONS = builtin("apps", "v1", "controllerrevisions")
DAEMONSETS = builtin("apps", "v1", "daemonsets")
DEPLOYMENTS = builtin("apps", "v1", "deployments")
REPLICASETS = builtin("apps", "v1", "replicasets")
STATEFULSETS = builtin("apps", "v1", "statefulsets")
HORIZONTALPODAUTOSCALERS = builtin("autoscaling", "v2", "horizontalpodautoscalers")
CRONJOBS = builtin("batch", "v1", "cronjobs")
JOBS = builtin("batch", "v1", "jobs")
CERTIFICATESIGNINGREQUESTS = builtin("certificates.k8s.io", "v1", "certificatesigningrequests")
RUNTIMECLASSES = builtin("node.k8s.io", "v1", "runtimeclasses")
LEASES = builtin("coordination.k8s.io", "v1", "leases")
ENDPOINTSLICES = builtin("discovery.k8s.io", "v1", "endpointslices")
IPADDRESSES = builtin("networking.k8s.io", "v1", "ipaddresses")
SERVICECIDRS = builtin("networking.k8s.io", "v1", "servicecidrs")
INGRESSES = builtin("networking.k8s.io", "v1", "ingresses")
INGRESSCLASSES = builtin("networking.k8s.io", "v1", "ingressclasses")
NETWORKPOLICIES = builtin("networking.k8s.io", "v1", "networkpolicies")
PODDISRUPTIONBUDGETS = builtin("policy", "v1", "poddisruptionbudgets")
CLUSTERROLES = builtin("rbac.authorization.k8s.io", "v1", "clusterroles")
CLUSTERROLEBINDINGS = builtin("rbac.authorization.k8s.io", "v1", "clusterrolebindings")
ROLES = builtin("rbac.authorization.k8s.io", "v1", "roles")
ROLEBINDINGS = builtin("rbac.authorization.k8s.io", "v1", "rolebindings")
DEVICECLASSES = builtin("resource.k8s.io", "v1", "deviceclasses")
RESOURCECLAIMS = builtin("resource.k8s.io", "v1", "resourceclaims")
RESOURCECLAIMTEMPLATES = builtin("resource.k8s.io", "v1", "resourceclaimtemplates")
RESOURCESLICES = builtin("resource.k8s.io", "v1", "resourceslices")
PRIORITYCLASSES = builtin("scheduling.k8s.io", "v1", "priorityclasses")
STORAGECLASSES = builtin("storage.k8s.io", "v1", "storageclasses")
CSINODES = builtin("storage.k8s.io", "v1", "csinodes")
VOLUMEATTACHMENTS = builtin("storage.k8s.io", "v1", "volumeattachments")
VOLUMEATTRIBUTESCLASSES = builtin("storage.k8s.io", "v1", "volumeattributesclasses")
CUSTOMRESOURCEDEFINITIONS = builtin("apiextensions.k8s.io", "v1", "customresourcedefinitions")
APISERVICES = builtin("apiregistration.k8s.io", "v1", "apiservices")
