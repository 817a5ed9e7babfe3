"""Selectors, quantities and patches agree with independent implementations of the same rules."""

import copy
from decimal import Decimal
from fractions import Fraction
from typing import Any

import jsonpatch
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wherry.api import quantity, schema
from wherry.api.errors import Invalid
from wherry.api.patch import apply_json, apply_merge, apply_strategic
from wherry.api.selectors import labels

utils = pytest.importorskip("kubernetes.utils", reason="needs the dependency group clients")

KEYS = ["a", "b", "example.com/c"]
VALUES = ["", "x", "y-1", "7", "12"]
OPERATORS = ["In", "NotIn", "Exists", "DoesNotExist"]
REQUIREMENTS = st.builds(
    lambda key, operator, values: (
        {"key": key, "operator": operator} | ({"values": values} if operator in ("In", "NotIn") else {})
    ),
    st.sampled_from(KEYS),
    st.sampled_from(OPERATORS),
    st.lists(st.sampled_from(VALUES), min_size=1, max_size=3, unique=True),
)
SETS = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))


def holds(requirement: dict[str, Any], have: dict[str, str]) -> bool:
    """Evaluate one requirement as the documentation of label selectors says it."""
    key, values = requirement["key"], requirement.get("values")
    return {
        "In": lambda: key in have and have[key] in values,
        "NotIn": lambda: key not in have or have[key] not in values,
        "Exists": lambda: key in have,
        "DoesNotExist": lambda: key not in have,
    }[requirement["operator"]]()


def text(requirement: dict[str, Any], *, plain: bool) -> str:
    key, values = requirement["key"], requirement.get("values", [])
    if plain and len(values) == 1:
        return f"{key}{'=' if requirement['operator'] == 'In' else '!='}{values[0]}"
    words = {"In": f"{key} in ({','.join(values)})", "NotIn": f"{key} notin ({', '.join(values)})"}
    return words.get(requirement["operator"]) or (key if requirement["operator"] == "Exists" else f"!{key}")


@given(st.lists(REQUIREMENTS, max_size=3), SETS, SETS, st.booleans())
def test_label_selectors_choose_what_each_requirement_allows(
    requirements: list[dict[str, Any]], wanted: dict[str, str], have: dict[str, str], plain: bool
) -> None:
    expected = all(holds(r, have) for r in requirements)
    parsed = labels.parse(",".join(text(r, plain=plain) for r in requirements))
    assert parsed.matches(have) == expected
    assert labels.parse(str(parsed)).matches(have) == expected
    of_object = labels.from_selector({"matchLabels": wanted, "matchExpressions": requirements})
    assert of_object.matches(have) == (expected and wanted.items() <= have.items())


@given(
    st.integers(-(10**6), 10**6),
    st.integers(0, 999),
    st.sampled_from(["", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti", "e3", "E-2"]),
)
def test_quantities_are_the_numbers_that_the_python_client_reads(whole: int, rest: int, suffix: str) -> None:
    written = f"{whole}.{rest:03}{suffix}"
    mine = quantity.parse(written).value
    theirs = Decimal(written) if suffix[:1] in ("e", "E") else utils.parse_quantity(written)
    assert mine == Fraction(theirs)
    shown = quantity.canonical(written)
    assert quantity.parse(shown).value == mine
    assert quantity.canonical(shown) == shown


NAMES = st.text("xyz/~", min_size=1, max_size=2)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(NAMES, JSON, max_size=3)


def paths(value: Any, at: str = "") -> list[str]:
    """Return every JSON pointer into a value, and one past the end of each list."""
    found = [at] if at else []
    if isinstance(value, dict):
        for name, item in value.items():
            found += paths(item, f"{at}/{name.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += paths(item, f"{at}/{index}")
        found.append(f"{at}/-")
    return found


@st.composite
def operations(draw: st.DrawFn, obj: dict[str, Any]) -> list[dict[str, Any]]:
    """Draw up to three operations, most of which can be applied one after the other."""
    drawn: list[dict[str, Any]] = []
    current: Any = obj
    for _ in range(draw(st.integers(1, 3))):
        places = [*paths(current), "/new"]
        kind = draw(st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]))
        operation: dict[str, Any] = {"op": kind, "path": draw(st.sampled_from(places))}
        if kind in ("move", "copy"):
            operation["from"] = draw(st.sampled_from(places))
        elif kind != "remove":
            operation["value"] = draw(JSON)
        drawn.append(operation)
        try:
            current = jsonpatch.apply_patch(current, [operation])
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException):
            break
    return drawn


@given(OBJECTS, st.data())
def test_json_patches_do_what_the_library_does(obj: dict[str, Any], data: st.DataObject) -> None:
    patch = data.draw(operations(obj))
    before = copy.deepcopy(obj)
    # What differs from the standard in upstream: a replacement of what is missing adds it, and what is missing is null.
    assume(all(o["op"] not in ("replace", "test") or o["path"] != "/new" for o in patch))
    assume(all(o["op"] != "copy" or o["from"] != "/new" for o in patch))
    try:
        expected = jsonpatch.apply_patch(obj, patch)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException):
        with pytest.raises(Invalid):
            apply_json(obj, patch)
    else:
        assert apply_json(obj, patch) == expected
    assert obj == before


POD = schema.load().for_kind("v1", "Pod")
CONTAINERS = st.dictionaries(
    st.sampled_from("abcd"),
    st.fixed_dictionaries({"image": st.sampled_from("12")}, optional={"tty": st.booleans()}),
    max_size=4,
)


def pod(containers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": name, **rest} for name, rest in containers.items()]}}


@given(CONTAINERS, CONTAINERS, CONTAINERS)
def test_a_strategic_patch_changes_each_container_as_a_merge_patch_would(
    live: dict[str, Any], changed: dict[str, Any], gone: dict[str, Any]
) -> None:
    patch = pod({name: rest for name, rest in changed.items() if name not in gone})
    patch["spec"]["containers"] += [{"$patch": "delete", "name": name} for name in gone]
    before = pod(live)
    after = apply_strategic(before, patch, POD)
    found = {c["name"]: {k: v for k, v in c.items() if k != "name"} for c in after["spec"]["containers"]}
    kept = {name: rest for name, rest in live.items() if name not in gone}
    wanted = {name: rest for name, rest in changed.items() if name not in gone}
    assert found == {name: apply_merge(kept.get(name, {}), wanted.get(name, {})) for name in kept | wanted}
    assert apply_strategic(after, patch, POD) == after
    assert before == pod(live)


@given(CONTAINERS, CONTAINERS, st.permutations("abcd"))
def test_the_directive_of_an_order_is_obeyed(live: dict[str, Any], changed: dict[str, Any], order: list[str]) -> None:
    patch: dict[str, Any] = pod({name: changed[name] for name in order if name in changed})
    listed = [name for name in order if name in live or name in changed]
    patch["spec"]["$setElementOrder/containers"] = [{"name": name} for name in listed]
    assume(listed)
    after = apply_strategic(pod(live), patch, POD)
    assert [c["name"] for c in after["spec"]["containers"]] == listed
