"""Every one-shot case of `cases`, all pods at once."""

import re
from typing import Any

import pytest

from tests.e2e.conformance.world import World
from tests.e2e.node.cases import CASES, OBJECTS, Object, pod

_NAMES = {title: f"case-{number}" for number, title in enumerate(CASES)}


@pytest.fixture(scope="module")
def started(world: World) -> World:
    """The namespace with all objects and pods created."""
    for plural, obj in OBJECTS:
        world.api.create(f"{world.core}/{plural}", obj)
    world.api.wait(f"{world.core}/serviceaccounts/default", bool)
    for title, name in _NAMES.items():
        world.api.create(f"{world.core}/pods", pod(name, CASES[title]))
    return world


@pytest.mark.parametrize("title", CASES)
def test_case(started: World, title: str) -> None:
    case = CASES[title]
    ended = started.ended(_NAMES[title], seconds=60)
    log = started.log(_NAMES[title]) if case.says else ""
    assert ended["status"]["phase"] == case.phase, f"{ended['status']}\n{log}"
    for pattern in case.says:
        assert re.search(pattern, log, re.MULTILINE), f"{pattern!r} in:\n{log}"
    for path, value in case.status.items():
        assert _at(ended["status"], path) == value, f"{path} of {ended['status']}"


def _at(status: Object, path: str) -> Any:
    found: Any = status
    for part in path.split("."):
        if isinstance(found, list):
            found = found[int(part)] if int(part) < len(found) else None
        else:
            found = (found or {}).get(part)
    return found
