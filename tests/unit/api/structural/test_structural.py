"""Structural schemas: pruning, defaulting, values, lists, rules, and what makes a schema invalid."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api import meta
from wherry.api.structural.columns import Columns
from wherry.api.structural.default import defaulter
from wherry.api.structural.defaultcheck import default_errors
from wherry.api.structural.expressions import Budget, Place
from wherry.api.structural.fieldpath import field_at
from wherry.api.structural.kind import CustomKind
from wherry.api.structural.lists import duplicates, embedded, malformed
from wherry.api.structural.openapi import OpenApiErrors
from wherry.api.structural.prune import pruner
from wherry.api.structural.rules import rules_of
from wherry.api.structural.structure import structure_errors, unsupported
from wherry.api.structural.validate import ABSENT, validator

Schema = dict[str, Any]


def of_spec(spec: Schema) -> Schema:
    return {"type": "object", "properties": {"spec": spec}}


def of(**properties: Schema) -> Schema:
    return of_spec({"type": "object", "properties": properties})


def wrong(schema: Schema, spec: Any, old: Any = ABSENT) -> list[str]:
    before = ABSENT if old is ABSENT else {"spec": old}
    return [str(error) for error in validator(schema)({"spec": spec}, before)]


def test_pruning_drops_what_the_schema_does_not_name_and_shares_the_rest():
    schema = of(
        free={"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"in": {"type": "object"}}},
        map={"type": "object", "additionalProperties": {"type": "object", "properties": {"x": {"type": "integer"}}}},
        list={"type": "array", "items": {"type": "object", "properties": {"x": {"type": "integer"}}}},
        res={"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True},
    )
    prune = pruner(schema, root=True)
    obj = {
        "kind": "K",
        "metadata": {"x": 1},
        "other": 1,
        "spec": {
            "free": {"any": 1, "in": {"gone": 1}},
            "map": {"a": {"x": 1, "y": 2}},
            "list": [{"x": 1}, {"y": 2}],
            "res": {"kind": "Pod", "spec": {}, "metadata": {"name": "p", "odd": 1}},
            "unknown": 1,
        },
    }
    before = meta.copy(obj)
    unknown: list[str] = []
    pruned = prune(obj, None, unknown)
    assert pruned == {
        "kind": "K",
        "metadata": {"x": 1},
        "spec": {
            "free": {"any": 1, "in": {}},
            "map": {"a": {"x": 1}},
            "list": [{"x": 1}, {}],
            "res": {"kind": "Pod", "spec": {}, "metadata": {"name": "p"}},
        },
    }
    assert unknown == ["other", "spec.free.in.gone", "spec.map.a.y", "spec.list[1].y", "spec.unknown"]
    find = malformed(schema)
    assert find is not None and find(obj) == (["spec.res.metadata.odd"], None)
    assert obj == before
    assert prune(pruned, None, []) is pruned


def test_defaults_fill_in_what_is_absent_or_null_where_null_is_not_allowed():
    step = defaulter(
        of_spec(
            {
                "type": "object",
                "default": {},
                "properties": {
                    "a": {"type": "integer", "default": 3},
                    "n": {"type": "string", "nullable": True, "default": "d"},
                    "plain": {"type": "string"},
                    "list": {"type": "array", "items": {"type": "object", "properties": {"p": {"default": "TCP"}}}},
                },
            }
        ),
        root=True,
    )
    assert step({}) == {"spec": {"a": 3, "n": "d"}}
    given = {"spec": {"a": None, "n": None, "plain": None, "list": [{}]}}
    assert step(given) == {"spec": {"a": 3, "n": None, "list": [{"p": "TCP"}]}}
    whole = {"spec": {"a": 1, "n": None}}
    assert step(whole) is whole


def test_defaults_do_not_share_what_they_fill_in():
    step = defaulter(of(d={"type": "object", "default": {"x": []}}), root=True)
    one, two = step({"spec": {}}), step({"spec": {}})
    assert (
        one == two and one["spec"]["d"] is not two["spec"]["d"] and one["spec"]["d"]["x"] is not two["spec"]["d"]["x"]
    )


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        ({"type": "integer"}, "x", 'spec.v: Invalid value: "string": spec.v in body must be of type integer: "string"'),
        ({"type": "integer"}, None, 'spec.v: Invalid value: "null": spec.v in body must be of type integer: "null"'),
        ({"type": "boolean"}, 1, 'spec.v: Invalid value: "integer": spec.v in body must be of type boolean: "integer"'),
        ({"type": "string", "maxLength": 2}, "abc", "spec.v: Too long: may not be more than 2 bytes"),
        (
            {"type": "string", "minLength": 2},
            "a",
            'spec.v: Invalid value: "a": spec.v in body should be at least 2 chars long',
        ),
        (
            {"type": "string", "pattern": "^[a-z]*$"},
            "A",
            "spec.v: Invalid value: \"A\": spec.v in body should match '^[a-z]*$'",
        ),
        ({"enum": ["b", "a"]}, "c", 'spec.v: Unsupported value: "c": supported values: "b", "a"'),
        ({"enum": [1, 2]}, 3, 'spec.v: Unsupported value: 3: supported values: "1", "2"'),
        (
            {"type": "integer", "minimum": 5},
            4,
            "spec.v: Invalid value: 4: spec.v in body should be greater than or equal to 5",
        ),
        (
            {"type": "number", "maximum": 5, "exclusiveMaximum": True},
            5,
            "spec.v: Invalid value: 5: spec.v in body should be less than 5",
        ),
        ({"type": "integer", "multipleOf": 3}, 4, "spec.v: Invalid value: 4: spec.v in body should be a multiple of 3"),
        (
            {"type": "integer", "format": "int32"},
            1 << 31,
            '<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec.v',
        ),
        ({"type": "array", "maxItems": 1}, [1, 2], "spec.v: Too many: 2: must have at most 1 item"),
        (
            {"type": "array", "minItems": 1},
            [],
            "spec.v: Invalid value: 0: spec.v in body should have at least 1 items",
        ),
        ({"type": "object", "maxProperties": 1}, {"a": 1, "b": 2}, "spec.v: Too many: 2: must have at most 1 item"),
        ({"type": "object", "required": ["a"]}, {}, "spec.v.a: Required value"),
        (
            {"type": "string", "format": "date-time"},
            "noon",
            'spec.v: Invalid value: "noon": spec.v in body must be of type date-time: "noon"',
        ),
        (
            {"x-kubernetes-int-or-string": True},
            True,
            'spec.v: Invalid value: "boolean": spec.v in body must be of type integer,string: "boolean"',
        ),
        (
            {"not": {"enum": ["bad"]}},
            "bad",
            '<nil>: Invalid value: "": "spec.v" must not validate the schema (not)',
        ),
    ],
)
def test_a_wrong_value_is_refused_in_the_words_of_the_reference(schema: Schema, value: Any, message: str):
    assert wrong(of(v=schema), {"v": value}) == [message]


def test_alternatives_name_the_nearest_one():
    schema = of(v={"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]})
    assert wrong(schema, {"v": {}}) == [
        '<nil>: Invalid value: "": "spec.v" must validate one and only one schema (oneOf). Found none valid',
        "spec.v.a: Required value",
    ]
    assert wrong(schema, {"v": {"a": 1, "b": 1}}) == [
        '<nil>: Invalid value: "": "spec.v" must validate one and only one schema (oneOf). Found 2 valid alternatives'
    ]
    schema = of(v={"anyOf": [{"minimum": 5}, {"maximum": 1}]})
    assert wrong(schema, {"v": 3})[0] == '<nil>: Invalid value: "": "spec.v" must validate at least one schema (anyOf)'
    schema = of(v={"allOf": [{"minimum": 5}, {"maximum": 10}]})
    assert wrong(schema, {"v": 3}) == [
        "spec.v: Invalid value: 3: spec.v in body should be greater than or equal to 5",
        '<nil>: Invalid value: "": "spec.v" must validate all the schemas (allOf)',
    ]


def test_what_did_not_change_is_not_complained_about():
    schema = of(
        a={"type": "integer", "minimum": 5},
        b={"type": "integer"},
        lm={
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
            "items": {
                "type": "object",
                "properties": {"k": {"type": "string"}, "v": {"minimum": 5, "type": "integer"}},
            },
        },
    )
    old = {"a": 1, "lm": [{"k": "x", "v": 1}]}
    assert wrong(schema, {**old, "b": 1}, old) == []
    assert len(wrong(schema, {**old, "a": 2}, old)) == 1
    moved = {"a": 1, "lm": [{"k": "y", "v": 9}, {"k": "x", "v": 1}]}
    assert wrong(schema, moved, old) == []


def test_members_of_sets_and_keys_of_list_maps_are_unique():
    schema = of(
        s={"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        m={
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}}},
        },
    )
    found = duplicates(schema)({"spec": {"s": ["a", "b", "a"], "m": [{"k": "x"}, {"k": "x"}]}})
    assert [str(error) for error in found] == [
        'spec.s[2]: Duplicate value: "a"',
        'spec.m[1]: Duplicate value: {"k":"x"}',
    ]


def test_embedded_objects_have_a_type():
    schema = of(
        o={"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}
    )
    found = embedded(schema)({"spec": {"o": {"kind": "Po_d", "metadata": {"name": "a/b"}}}})
    assert [error.field for error in found] == ["spec.o.apiVersion", "spec.o.kind", "spec.o.metadata.name"]


def rule(text: str, **more: Any) -> Schema:
    return {"rule": text, **more}


def judged(schema: Schema, spec: Any, old: Any = ABSENT) -> list[str]:
    rules = rules_of(schema)
    before = ABSENT if old is ABSENT else {"spec": old}
    return [str(error) for error in rules.errors({"spec": spec}, before, before=[])]


def with_rules(*rules: Schema, **properties: Schema) -> Schema:
    return of_spec({"type": "object", "properties": properties, "x-kubernetes-validations": list(rules)})


def test_rules_report_as_they_say():
    integer = {"type": "integer"}
    assert judged(with_rules(rule("self.a > 0"), a=integer), {"a": 0}) == [
        "spec: Invalid value: failed rule: self.a > 0"
    ]
    forbidden = rule("self.a > 0", reason="FieldValueForbidden", fieldPath=".a", message="no")
    assert judged(with_rules(forbidden, a=integer), {"a": 0}) == ["spec.a: Forbidden: no"]
    told = rule("self.a > 0", messageExpression="'got %d'.format([self.a])")
    assert judged(with_rules(told, a=integer), {"a": -1}) == ["spec: Invalid value: got -1"]
    assert judged(with_rules(rule("1 / self.a > 0"), a=integer), {"a": 0}) == [
        'spec: Invalid value: "object": division by zero evaluating rule: 1 / self.a > 0'
    ]


def test_transition_rules_need_an_older_value():
    schema = with_rules(rule("self.a >= oldSelf.a"), a={"type": "integer"})
    assert judged(schema, {"a": 1}) == []
    assert judged(schema, {"a": 1}, {"a": 2}) == ["spec: Invalid value: failed rule: self.a >= oldSelf.a"]
    optional = with_rules(rule("oldSelf.hasValue() || self.a == 0", optionalOldSelf=True), a={"type": "integer"})
    assert judged(optional, {"a": 1}) != [] and judged(optional, {"a": 1}, {"a": 2}) == []


def test_rules_of_list_map_items_see_the_older_item_of_the_same_key():
    items = {
        "type": "object",
        "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
        "x-kubernetes-validations": [rule("self.v >= oldSelf.v")],
    }
    schema = of(
        m={"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": items}
    )
    old = {"m": [{"k": "a", "v": 5}]}
    new = {"m": [{"k": "b", "v": 1}, {"k": "a", "v": 4}]}
    assert judged(schema, new, old) == ["spec.m[1]: Invalid value: failed rule: self.v >= oldSelf.v"]


def test_a_rule_that_an_unchanged_value_breaks_is_only_a_warning():
    schema = of(a={"type": "integer", "x-kubernetes-validations": [rule("self > 5")]}, b={"type": "integer"})
    new, old = {"spec": {"a": 1, "b": 2}}, {"spec": {"a": 1, "b": 1}}
    rules = rules_of(schema)
    assert rules.errors(new, old, before=[]) == []
    assert rules.warnings(new, old) == ["spec.a: Invalid value: 1: failed rule: self > 5"]


def test_a_scalar_that_breaks_a_rule_is_shown():
    schema = of(a={"type": "string", "x-kubernetes-validations": [rule("self == 'x'"), rule("self.size() < 2")]})
    assert judged(schema, {"a": "bb"}) == [
        "spec.a: Invalid value: \"bb\": failed rule: self == 'x'",
        'spec.a: Invalid value: "bb": failed rule: self.size() < 2',
    ]


def test_an_unchanged_value_is_passed_over_as_far_as_the_schema_describes_it():
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "required": ["r"], "properties": {"r": {}}}
    keyed = {"type": "object", "properties": {"k": {"type": "string"}}, "required": ["k", "w"]}
    items = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": keyed}
    check = validator({"type": "object", "properties": {"free": free, "items": items, "closed": keyed}})
    obj = {"free": {"a": 1}, "items": [{"k": "a"}, {"k": "a"}], "closed": {"k": "x"}}
    assert [str(error) for error in check(obj, obj)] == ["free.r: Required value"]
    assert [str(error) for error in check({"closed": {"k": "x"}}, {"closed": {"k": "x"}})] == []


def test_rules_see_numbers_times_and_bytes_as_their_formats_say():
    schema = with_rules(
        rule("self.n == 2.0 && self.n / 4.0 == 0.5"),
        rule("self.t.getFullYear() == 2020"),
        rule("self.d > duration('1m')"),
        rule("size(self.b) == 3"),
        rule("type(self.p) == int ? self.p == 1 : self.p == 'x'"),
        n={"type": "number"},
        t={"type": "string", "format": "date-time"},
        d={"type": "string", "format": "duration"},
        b={"type": "string", "format": "byte"},
        p={"x-kubernetes-int-or-string": True},
    )
    spec = {"n": 2, "t": "2020-05-05T00:00:00Z", "d": "1h", "b": "YWJj", "p": "x"}
    assert judged(schema, spec) == []


def test_a_null_member_is_absent_to_rules_and_keys_are_named_as_rules_name_them():
    nullable = {"type": "string", "nullable": True}
    assert judged(with_rules(rule("!has(self.a)"), a=nullable), {"a": None}) == []
    schema = with_rules(rule("self.a__dash__b == 'x'"), **{"a-b": {"type": "string"}})
    assert "no such key: a__dash__b" in judged(schema, {})[0]


def test_rules_are_not_run_over_values_of_wrong_types():
    schema = with_rules(rule("self.a > 0"), a={"type": "integer"})
    obj = {"spec": {"a": "x"}}
    errors = validator(schema)(obj, ABSENT)
    assert str(rules_of(schema).errors(obj, before=errors)[0]).startswith("<nil>: Invalid value: null: some validation")


P = "spec.validation.openAPIV3Schema"
SPEC = f"{P}.properties[spec]"


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({}, f"{P}.type: Required value: must not be empty at the root"),
        (
            of(a={}),
            f"{SPEC}.properties[a].type: Required value: must not be empty for specified object fields",
        ),
        (of(a={"type": "array"}), f"{SPEC}.properties[a].items: Required value: must be specified"),
        (
            of(a={"type": "string", "pattern": "("}),
            f'{SPEC}.properties[a].pattern: Invalid value: "(": must be a valid regular expression, '
            "but isn't: error parsing regexp: missing closing ): `(`",
        ),
        (
            of(a={"type": "integer", "anyOf": [{"type": "integer"}]}),
            f"{SPEC}.properties[a].anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            {"type": "object", "allOf": [{"properties": {"x": {"minimum": 1}}}]},
            f"{P}.properties[x]: Required value: because it is defined in {P}.allOf[0].properties[x]",
        ),
        (
            {"type": "object", "additionalProperties": {"type": "string"}},
            f"{P}.additionalProperties: Forbidden: must not be used at the root",
        ),
    ],
)
def test_a_schema_that_is_not_structural_is_refused(schema: Schema, message: str):
    assert [str(error) for error in structure_errors(schema, P)] == [message]


def test_what_no_schema_may_have_hides_why_it_is_not_structural():
    assert unsupported(of(a={"$ref": "#/b"})) == "OpenAPIV3Schema '$ref' is not supported"
    assert unsupported(of(a={"type": "string", "not": {"id": "x"}})) == "OpenAPIV3Schema 'id' is not supported"
    assert unsupported(of(a={"type": "array", "items": {"type": "string"}})) == ""


@pytest.mark.parametrize(
    ("schema", "value", "problems"),
    [
        ({"type": "number", "maximum": 1.5}, 2, ["spec.a in body should be less than or equal to 1"]),
        ({"type": "number", "minimum": 0.5}, 0, []),
        ({"type": "number", "multipleOf": 0.1}, 0.3, []),
        ({"type": "number", "multipleOf": 0.5}, 3, ["0"]),
        (
            {"type": "integer", "maximum": 1.5},
            3,
            [
                "Maximum boundary value must be of type integer (default format) in spec.a",
                "spec.a in body should be less than or equal to 1.5",
            ],
        ),
        (
            {"type": "number", "format": "float"},
            1e39,
            ["Checked value must be of type number with format float in spec.a"],
        ),
    ],
)
def test_integers_are_compared_with_the_whole_part_of_a_bound(schema: Schema, value: Any, problems: list[str]):
    assert [text.split(": ")[-1] for text in wrong(of(a=schema), {"a": value})] == problems


def test_a_null_is_no_value_of_an_enum_that_names_it():
    schema = of(a={"type": "string", "nullable": True, "enum": ["x", None]})
    assert wrong(schema, {"a": None}) == ['spec.a: Unsupported value: null: supported values: "x", "null"']


def test_new_finalizers_without_a_domain_are_warned_about():
    spec = {"group": "example.com", "names": {"kind": "Boat"}}
    kind = CustomKind({"spec": spec}, {"name": "v1", "schema": {"openAPIV3Schema": {"type": "object"}}})
    old, new = ({"metadata": {"finalizers": names}} for names in (["old"], ["old", "a.b", "mine", "orphan", "a.b/c"]))
    why = "to avoid accidental conflicts with other finalizer writers"
    assert kind.warnings(new, old) == [
        f'metadata.finalizers: "a.b": prefer a domain-qualified finalizer name including a path (/) {why}',
        f'metadata.finalizers: "mine": prefer a domain-qualified finalizer name {why}',
    ]


def test_a_status_is_validated_alone():
    status = {"type": "object", "properties": {"n": {"type": "integer"}}}
    schema = {"type": "object", "properties": {"spec": {"type": "string"}, "status": status}}
    spec = {"group": "example.com", "names": {"kind": "Boat"}}
    kind = CustomKind({"spec": spec}, {"name": "v1", "schema": {"openAPIV3Schema": schema}})
    obj = {"spec": 1, "status": {"n": "x"}}
    assert [str(error) for error in kind.rules.subresources["status"](obj, {"spec": 1})] == [
        'status.n: Invalid value: "string": n in body must be of type integer: "string"'
    ]


def test_defaults_of_metadata_must_result_in_valid_metadata():
    inside = {"type": "object", "properties": {"name": {"type": "integer", "default": 5}}}
    thing = {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"metadata": inside}}
    (error,) = default_errors(of(e=thing), P)
    assert "Invalid value: 5: must result in valid metadata: metadata: Invalid value:" in str(error)
    inside["properties"] = {"labels": {"type": "object", "default": {"a": "b"}}}
    assert default_errors(of(e=thing), P) == []


def test_defaults_must_keep_the_rules():
    schema = of(a={"type": "string", "default": "b", "x-kubernetes-validations": [rule("self == 'a'")]})
    (error,) = default_errors(schema, P)
    assert str(error).endswith(".default: Invalid value: \"b\": failed rule: self == 'a'")


def test_embedded_objects_must_have_metadata_that_decodes():
    find = malformed(of(a={"type": "object", "x-kubernetes-embedded-resource": True}))
    assert find is not None
    _, error = find({"spec": {"a": {"metadata": []}}})
    assert str(error) == (
        "spec.a.metadata: Invalid value: []: json: cannot unmarshal array into Go value of type v1.ObjectMeta"
    )


def test_int_or_string_may_be_written_with_any_of():
    port = {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}
    assert structure_errors(of(port=port), P) == []
    assert wrong(of(port=port), {"port": "x"}) == [] and wrong(of(port=port), {"port": []}) != []


def test_defaults_must_be_values_that_the_schema_allows():
    assert [str(e) for e in default_errors(of(a={"type": "integer", "default": "x"}), P)] == [
        f'{SPEC}.properties[a].default: Invalid value: "string":  in body must be of type integer: "string"'
    ]
    assert [str(e) for e in default_errors(of(a={"type": "object", "default": {"b": 1}}), P)] == [
        f'{SPEC}.properties[a].default: Invalid value: {{"b":1}}: must not have unknown fields'
    ]


def schema_errors(schema: Schema) -> list[str]:
    budget = Budget()
    return [str(e) for e in OpenApiErrors(Place(budget)).check(schema, P) + budget.errors(P)]


def test_rules_that_may_cost_too_much_are_refused_unless_sizes_are_bounded():
    nested = rule("self.l.all(x, self.l.all(y, x == y))")
    strings = {"type": "array", "items": {"type": "string"}}
    assert schema_errors(with_rules(nested, l=strings)) == [
        f"{SPEC}.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor "
        "of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, "
        "maps, and strings are declared)",
        f"{SPEC}.x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total "
        "exceeding cost limit for entire OpenAPIv3 schema",
        f"{P}: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds "
        "budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and "
        "maxLength where arrays, maps, and strings are declared)",
    ]
    bounded = {"type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 10}}
    assert schema_errors(with_rules(nested, l=bounded)) == []
    assert schema_errors(with_rules(rule("self.s.startsWith('a')"), s={"type": "string"})) == []


def test_old_values_cannot_be_seen_where_they_cannot_be_told_apart():
    items = {"type": "object", "properties": {}, "x-kubernetes-validations": [rule("self == oldSelf")]}
    found = schema_errors(of(l={"type": "array", "maxItems": 3, "items": items}))
    assert found[-1].endswith(
        f"oldSelf cannot be used on the uncorrelatable portion of the schema within {SPEC}.properties[l]"
    )


def test_the_path_of_a_rule_must_lead_to_a_field():
    schema = {"properties": {"a": {"properties": {"b-c": {"type": "string"}}}, "m": {"additionalProperties": {}}}}
    assert field_at(schema, ".a['b-c']") == ({"type": "string"}, "a.b-c")
    assert field_at(schema, ".m['x']") == ({}, "m[x]")
    assert field_at(schema, ".a.x") == "does not refer to a valid field"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)
SCHEMAS = st.recursive(
    st.sampled_from([{"type": "string"}, {"type": "integer", "default": 1}, {"type": "string", "nullable": True}]),
    lambda inner: (
        st.fixed_dictionaries({"type": st.just("array"), "items": inner})
        | st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3)}
        )
        | st.fixed_dictionaries({"type": st.just("object"), "additionalProperties": inner})
    ),
    max_leaves=6,
)


@given(SCHEMAS, VALUES)
def test_pruning_and_defaulting_settle_and_change_nothing_given(schema: Schema, value: Any):
    before = meta.copy({"": value})
    prune, step = pruner(schema), defaulter(schema)
    once = prune(value, None, None) if prune is not None else value
    once = step(once) if step is not None else once
    again = step(once) if step is not None else once
    assert again is once
    assert (prune(once, None, None) if prune is not None else once) is once
    assert {"": value} == before
    validator(schema)(value, ABSENT)


def test_columns_show_numbers_as_go_does_and_nothing_beyond_a_list() -> None:
    shown = [("integer", ".n"), ("number", ".i"), ("string", ".l[0:2]"), ("string", ".l[1]"), ("string", ".l[-1]")]
    columns = Columns([{"name": kind, "type": kind, "jsonPath": path} for kind, path in shown])
    obj = {"metadata": {"name": "a"}, "n": 1e21, "i": (1 << 53) + 1, "l": ["x"]}
    assert columns.cells(obj) == ["a", -(1 << 63), 1 << 53, None, None, "x"]


def test_columns_end_before_a_path_that_cannot_be_read() -> None:
    kinds = {"n": "string", "o": "string", "d": "date", "e": "date"}
    given = [{"name": name, "type": kind, "jsonPath": f".{name}"} for name, kind in kinds.items()]
    columns = Columns([*given, {"name": "x", "type": "string", "jsonPath": ".x["}, *given])
    assert [column["name"] for column in columns.definitions] == ["Name", *kinds]
    obj = {"metadata": {"name": "a"}, "n": None, "o": {"k": "<&"}, "d": "null", "e": "nonsense"}
    assert columns.cells(obj) == ["a", "<no value>", '{"k":"\\u003c\\u0026"}', "<unknown>", "<invalid>"]


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("example", True),
        ("a.example-1.com", True),
        ("bücher.example", True),
        ("☃.example", True),
        ("a_b.example.com", False),
        ("my-long-host", False),  # upstream's pattern has room for one dash in a lone label
        ("-a.example", False),
        ("a.b1", False),
        (f"{'a' * 64}.example", False),
        ("", False),
    ],
)
def test_host_names_have_no_underscores_and_end_in_letters(name: str, good: bool):
    assert (wrong(of(v={"type": "string", "format": "hostname"}), {"v": name}) == []) is good
