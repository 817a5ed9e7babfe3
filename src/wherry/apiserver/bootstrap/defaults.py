"""The RBAC objects that Kubernetes ships (``data/rbac.json``)."""

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources as package_data
from typing import Any


@cache
def rbac_objects() -> Sequence[dict[str, Any]]:
    """Return the default roles and bindings, shared: roles come before the bindings to them."""
    text = (package_data.files("wherry.apiserver") / "data" / "rbac.json").read_text()
    objects = json.loads(text)
    return sorted(objects, key=lambda obj: obj["kind"].endswith("Binding"))


@cache
def node_rules() -> Sequence[dict[str, Any]]:
    """Return the rules of the ClusterRole ``system:node``."""
    found = (o for o in rbac_objects() if o["kind"] == "ClusterRole" and o["metadata"]["name"] == "system:node")
    return tuple(next(found)["rules"])
