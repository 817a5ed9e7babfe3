"""PolicyRules as data: what a rule matches, and whether some rules cover others.

Rules of matching: rbac.authorization.k8s.io/v1 PolicyRule; of covering and wording: kube-apiserver's component-helpers
``auth/rbac/validation``.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Rule = Mapping[str, Any]

FULL_AUTHORITY: tuple[Rule, ...] = (
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
)


def matches_resource(rule: Rule, verb: str, group: str, resource: str, subresource: str = "") -> bool:
    """Tell whether `rule` is about a verb on a resource, whatever the name."""
    return (
        _has(rule.get("verbs"), verb)
        and _has(rule.get("apiGroups"), group)
        and _matches_plural(rule.get("resources") or (), resource, subresource)
    )


def matches_path(rule: Rule, verb: str, path: str) -> bool:
    """Tell whether `rule` is about a verb on a path that is no resource."""
    return _has(rule.get("verbs"), verb) and any(_matches_url(url, path) for url in rule.get("nonResourceURLs") or ())


def names(rule: Rule) -> Sequence[str]:
    """Return the names that `rule` is restricted to; empty is no restriction."""
    return rule.get("resourceNames") or ()


def _has(values: Sequence[str] | None, value: str) -> bool:
    return values is not None and (value in values or "*" in values)


def _matches_plural(plurals: Sequence[str], resource: str, subresource: str) -> bool:
    if not subresource:
        return resource in plurals or "*" in plurals
    return "*" in plurals or f"{resource}/{subresource}" in plurals or f"*/{subresource}" in plurals


def _matches_url(pattern: str, path: str) -> bool:
    if pattern.endswith("*"):
        return path.startswith(pattern.rstrip("*"))
    return pattern == path


def missing(owned: Sequence[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """Return what `wanted` grants beyond `owned`, as rules of one verb on one resource or path each."""
    return [part for rule in wanted for part in _parts(rule) if not any(_covers(own, part) for own in owned)]


def _parts(rule: Rule) -> Iterable[Rule]:
    """Break a rule down; each part has one member in each list (ValidateRole refuses rules with empty ones)."""
    for group in rule.get("apiGroups") or ():
        for resource in rule.get("resources") or ():
            for verb in rule.get("verbs") or ():
                part = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                if not names(rule):
                    yield part
                for name in names(rule):
                    yield {**part, "resourceNames": [name]}
    for url in rule.get("nonResourceURLs") or ():
        for verb in rule.get("verbs") or ():
            yield {"nonResourceURLs": [url], "verbs": [verb]}


def _covers(own: Rule, part: Rule) -> bool:
    if not _has(own.get("verbs"), part["verbs"][0]):
        return False
    if "nonResourceURLs" in part:
        url = part["nonResourceURLs"][0]
        return any(each == url or _matches_url(each, url) for each in own.get("nonResourceURLs") or ())
    resource, _, subresource = part["resources"][0].partition("/")
    if not _has(own.get("apiGroups"), part["apiGroups"][0]):
        return False
    if not _matches_plural(own.get("resources") or (), resource, subresource):
        return False
    return not names(own) or (bool(names(part)) and names(part)[0] in names(own))


def describe(parts: Iterable[Rule]) -> list[str]:
    """Return `parts` as upstream words them, verbs of one resource together, sorted."""
    simple: dict[tuple[str, str, Sequence[str]], dict[str, Any]] = {}
    others: list[Rule] = []
    for part in parts:
        if "nonResourceURLs" in part:
            others.append(part)
            continue
        key = (part["apiGroups"][0], part["resources"][0], tuple(names(part)))
        found = simple.setdefault(key, {**part, "verbs": []})
        found["verbs"].extend(part["verbs"])
    return sorted({_compact(rule) for rule in (*others, *simple.values())})


_WORDS = {
    "apiGroups": "APIGroups",
    "resources": "Resources",
    "nonResourceURLs": "NonResourceURLs",
    "resourceNames": "ResourceNames",
    "verbs": "Verbs",
}


def _compact(rule: Rule) -> str:
    return "{" + ", ".join(f"{word}:{quoted(rule[key])}" for key, word in _WORDS.items() if rule.get(key)) + "}"


def quoted(values: Iterable[str]) -> str:
    """Render strings as Go's ``%q`` does: ``["a" "b"]``."""
    return "[" + " ".join(json.dumps(value, ensure_ascii=False) for value in values) + "]"
