"""Formats in the schemas of CustomResourceDefinitions that nobody knows, and that are therefore ignored."""

import json
from typing import Any

from wherry.api.structural.formats import unknown_formats

Obj = dict[str, Any]


def _definition(obj: Obj, old: Obj | None) -> list[str]:
    before = set(_formats(old)) if old is not None else set()
    return [f"unrecognized format {json.dumps(name)}" for name in _formats(obj) if name not in before]


def _formats(obj: Obj) -> list[str]:
    schemas = [(version.get("schema") or {}).get("openAPIV3Schema") for version in obj["spec"].get("versions") or ()]
    return list(dict.fromkeys(name for schema in schemas if schema for name in unknown_formats(schema)))


WARNINGS = {("apiextensions.k8s.io", "customresourcedefinitions"): _definition}
