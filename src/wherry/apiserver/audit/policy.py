"""The audit policy: the first rule that matches a request decides (``audit.k8s.io/v1`` Policy)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wherry.apiserver.attributes import Attributes

NONE, METADATA, REQUEST, REQUEST_RESPONSE = "None", "Metadata", "Request", "RequestResponse"
LEVELS = (NONE, METADATA, REQUEST, REQUEST_RESPONSE)
RECEIVED, STARTED, COMPLETE, PANIC = "RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"
_VERSIONS = ("audit.k8s.io/v1",)

Object = Mapping[str, Any]


class PolicyError(ValueError):
    """The policy file cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Decision:
    """How a request is audited."""

    level: str
    omit_stages: frozenset[str] = frozenset()
    omit_managed_fields: bool = False

    @property
    def wants_request(self) -> bool:
        return self.level in (REQUEST, REQUEST_RESPONSE)

    @property
    def wants_response(self) -> bool:
        return self.level == REQUEST_RESPONSE


_NOTHING = Decision(NONE)


class Policy:
    """Decides about requests by the rules of one Policy object. Raises PolicyError for one that is none."""

    def __init__(self, obj: Object) -> None:
        if obj.get("kind") != "Policy" or obj.get("apiVersion") not in _VERSIONS:
            raise PolicyError(f"an audit policy is a Policy of {_VERSIONS[0]}, this is {obj.get('kind')!r}")
        self._rules: Sequence[Object] = obj.get("rules") or ()
        if not self._rules:
            raise PolicyError("an audit policy has at least one rule")
        self._stages = frozenset(obj.get("omitStages") or ())
        self._omit_managed = bool(obj.get("omitManagedFields"))
        for at, rule in enumerate(self._rules):
            if rule.get("level") not in LEVELS:
                raise PolicyError(f"rules[{at}].level: {rule.get('level')!r} is none of {', '.join(LEVELS)}")
            if rule.get("nonResourceURLs") and (rule.get("resources") or rule.get("namespaces")):
                raise PolicyError(f"rules[{at}].nonResourceURLs: rules cannot apply to both resources and paths")

    @classmethod
    def load(cls, path: Path) -> "Policy":
        """Read a policy file (YAML or JSON). Raises PolicyError, OSError."""
        import yaml  # policies are rare: their parser is not for everybody to load

        try:
            obj = yaml.safe_load(path.read_text())
        except yaml.YAMLError as error:
            raise PolicyError(f"{path}: {error}") from None
        if not isinstance(obj, dict):
            raise PolicyError(f"{path} holds no object")
        return cls(obj)

    def decide(self, attributes: Attributes) -> Decision:
        """Return how a request is audited; not at all when no rule matches."""
        for rule in self._rules:
            if _matches(rule, attributes):
                omit = rule.get("omitManagedFields")
                return Decision(
                    rule["level"],
                    self._stages | frozenset(rule.get("omitStages") or ()),
                    self._omit_managed if omit is None else bool(omit),
                )
        return _NOTHING


def _matches(rule: Object, a: Attributes) -> bool:
    if rule.get("users") and a.user.name not in rule["users"]:
        return False
    if rule.get("userGroups") and not set(rule["userGroups"]) & set(a.user.groups):
        return False
    if rule.get("verbs") and a.verb not in rule["verbs"]:
        return False
    if rule.get("namespaces") or rule.get("resources"):
        return bool(a.resource) and _is_of(rule, a)
    if rule.get("nonResourceURLs"):
        return not a.resource and any(_is_path(pattern, a.path) for pattern in rule["nonResourceURLs"])
    return True


def _is_of(rule: Object, a: Attributes) -> bool:
    if rule.get("namespaces") and a.namespace not in rule["namespaces"]:
        return False
    groups: Iterable[Object] = rule.get("resources") or ()
    if not groups:
        return True
    return any(
        (group.get("group") or "") == a.group
        and (not group.get("resources") or any(_is_resource(one, a) for one in group["resources"]))
        and (not group.get("resourceNames") or a.name in group["resourceNames"])
        for group in groups
    )


def _is_resource(pattern: str, a: Attributes) -> bool:
    named = f"{a.resource}/{a.subresource}" if a.subresource else a.resource
    if pattern in ("*", named):
        return True
    if pattern.startswith("*/"):
        return bool(a.subresource) and pattern[2:] == a.subresource
    return pattern.endswith("/*") and pattern[:-2] == a.resource


def _is_path(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))
