"""CEL: values of expressions, what the checker refuses, errors in evaluation, costs."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api import cel
from wherry.api.cel.cost import UNBOUNDED, estimate
from wherry.api.cel.types import BOOL, DOUBLE, DYN, INT, STRING, escape, list_of, map_of, object_of
from wherry.api.cel.values import Struct

SELF = object_of(
    "self",
    {
        "a": INT,
        "b": INT,
        "s": STRING,
        "l": list_of(STRING),
        "m": map_of(STRING, INT),
        "d": DOUBLE,
        "o": object_of("self.o", {"x": INT}),
        "my-field": STRING,
        "namespace": STRING,
        "any": DYN,
    },
)
VALUE = {
    "a": 1,
    "b": 2,
    "s": "a-b",
    "l": ["ka", "kb"],
    "m": {"x": 1, "y": 2},
    "d": 1.5,
    "o": {},
    "my-field": "q",
    "namespace": "n",
    "any": 3,
}


def evaluate(text: str, **bindings: Any) -> Any:
    return cel.compile(text, {"self": SELF}).evaluate({"self": VALUE, **bindings})


@pytest.mark.parametrize(
    "text",
    [
        "self.a < self.b",
        "self.l.all(x, x.startsWith('k'))",
        "!self.l.exists(x, x == 'z')",
        "self.l.exists_one(x, x == 'ka')",
        "self.l.map(x, x + '!') == ['ka!', 'kb!']",
        "self.l.map(x, x == 'ka', x) == ['ka']",
        "self.l.filter(x, x != 'ka') == ['kb']",
        "self.m.all(k, v, v > 0) && self.m.exists(k, v, k == 'y')",
        "self.m.transformList(k, v, v).sum() == 3",
        "self.m.transformMap(k, v, v * 2) == {'x': 2, 'y': 4}",
        "self.s.split('-').size() == 2 && self.s.indexOf('-') == 1 && self.s.replace('-', '') == 'ab'",
        "self.s.charAt(0) == 'a' && self.s.substring(2) == 'b' && ' x '.trim() == 'x'",
        "'%s has %d of %.1f'.format(['x', 3, 1.5]) == 'x has 3 of 1.5'",
        "'%s'.format([{'b': [1, 'x'], 'a': 2.5}]) == '{\"a\":2.500000, \"b\":[1, \"x\"]}'",
        "'%s'.format([[b'x', duration('1s'), true, null, {1: 2}]]) == '[b\"x\", duration(\"1s\"), true, null, {1:2}]'",
        "'abc'.indexOf('c', 9) == -1 && 'abc'.indexOf('', 9) == 9 && 'abc'.lastIndexOf('a', 9) == -1",
        "['b', 'a'].join('-') == 'b-a' && 'Ab'.lowerAscii() == 'ab'",
        "self.s.matches('^[a-z]-[a-z]$') && self.s.find('[b-z]') == 'b' && 'a1b2'.findAll('[0-9]') == ['1', '2']",
        "[1, 3, 2].max() == 3 && [1, 2].isSorted() && [1, 2, 1].lastIndexOf(1) == 2",
        "[3, 1, 2].sort() == [1, 2, 3] && ['b', 'a'].sortBy(x, x) == ['a', 'b'] && [1, 2, 3].sortBy(x, -x)[0] == 3",
        "[1, 2, 3].slice(1, 3) == [2, 3] && [[1], [2, 3]].flatten() == [1, 2, 3] && lists.range(3) == [0, 1, 2]",
        "[1, 2, 1].distinct() == [1, 2] && [1, 2].reverse() == [2, 1] && [[[1]], [[2]]].flatten(2) == [1, 2]",
        "sign(quantity('-1')) == -1",
        "'%.3f'.format([1234567.891]) == '1,234,567.891' && '%e'.format([0.00012]) == '1.200000×10⁻⁰⁴'",
        "[1, 2].first().value() == 1 && !self.l.filter(x, false).last().hasValue()",
        "self.namespace == 'n' && has(self.namespace)",
        "self.my__dash__field == 'q' && self.__namespace__ == 'n'",
        "self.?o.?x.hasValue() == false && self.o.?x.orValue(5) == 5 && !has(self.o.x)",
        "self.l[?5].orValue('none') == 'none' && optional.of(3).optMap(x, x + 1).value() == 4",
        "self.any + 1 == 4 && dyn(1) == 1.0 && 1 < 1.5",
        "-7 / 2 == -3 && -7 % 2 == -1 && 7u / 2u == 3u",
        "type(self.a) == int && type(self.s) == string",
        "duration('1h') > duration('59m') && timestamp('2020-01-31T00:00:00Z').getMonth() == 0",
        "timestamp('2020-01-01T00:00:00Z') + duration('24h') == timestamp('2020-01-02T00:00:00Z')",
        "quantity('1Gi').isLessThan(quantity('2G')) && quantity('500m').add(quantity('0.5')).asInteger() == 1",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && ip('::1').isLoopback() && !isIP('1.2.3')",
        "url('https://a.b:80/p?q=1').getHost() == 'a.b:80' && url('https://a.b/?q=1').getQuery()['q'] == ['1']",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && isSemver('1.0.0-rc.1')",
        "!format.dns1123Label().validate('ok').hasValue() && format.named('uuid').value().validate('x').hasValue()",
        "sets.contains([1, 2], [1]) && sets.equivalent([1, 1, 2], [2, 1]) && !sets.intersects([1], [2])",
        "has(self.o) && self.a == 1 || self.a / 0 == 1",
        "self.a / 0 == 1 || self.a == 1",
        "string(1e6) == '1e+06' && string(1.5) == '1.5' && int('12') == 12 && double('1.5') == 1.5",
        r"'\u00e9\n' == r'é' + '\n' && b'\xff' == b'\377'",
        "{'a': 1}.a == 1 && 'a' in {'a': 1} && [1, 2] + [3] == [1, 2, 3]",
    ],
)
def test_expressions_hold(text: str):
    assert evaluate(text) is True


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("self.x", "ERROR: <input>:1:5: undefined field 'x'\n | self.x\n | ....^"),
        ("x", "ERROR: <input>:1:1: undeclared reference to 'x' (in container '')\n | x\n | ^"),
        (
            "self.a == 'x'",
            "ERROR: <input>:1:8: found no matching overload for '_==_' applied to '(int, string)'\n"
            " | self.a == 'x'\n | .......^",
        ),
    ],
)
def test_the_checker_refuses_in_the_words_of_the_reference(text: str, message: str):
    with pytest.raises(cel.CompileError) as caught:
        cel.compile(text, {"self": SELF})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "text",
    [
        "self.a +",
        "self.l.foo()",
        "self.s.matches('[')",
        "[1, 'a']",
        "self.a.b",
        "self.l.all(x, x)",
        "duration('x')",
        "self.a ? 1 : 2",
        "a.b.c",
        "'a' 'b'",
        "self.l.all(1, true)",
        "'a'.matches('(?=b)')",
        "'a'.reverse() == 'a'",
        "quantity('1').sign() == 1",
        "'%q'.format([1]) == ''",
        "'%s %s'.format([1]) == ''",
        "'%s'.format([1, 2]) == ''",
        "'%d'.format(['a']) == ''",
        "'%f'.format([1]) == ''",
        "'%s'.format([self]) == ''",
    ],
)
def test_the_checker_refuses(text: str):
    with pytest.raises(cel.CompileError):
        cel.compile(text, {"self": SELF})


SET = list_of(STRING, list_type="set")
KEYED = list_of(object_of("e", {"k": STRING, "v": INT}), list_type="map", keys=("k",))


def test_problems_are_told_from_left_to_right():
    with pytest.raises(cel.CompileError) as caught:
        cel.compile("cel.bind(x, 1)", {})
    assert [problem.at for problem in caught.value.problems] == [0, 8, 9]


@pytest.mark.parametrize("text", ["'%s'.format([self.s])", "url(self.s).getHost()", "self.l.sort()[0]"])
def test_nothing_is_known_of_the_length_of_what_most_functions_return(text: str):
    tree = cel.compile(f"{text}.matches('a')", {"self": BOUNDED}).tree
    assert estimate(tree) == UNBOUNDED


def test_lists_of_sets_and_maps_are_joined_by_their_keys():
    program = cel.compile("(self + ['b', 'c']) == ['c', 'a', 'b']", {"self": SET})
    assert program.evaluate({"self": ["a", "b"]}) is True
    program = cel.compile("(self + other).map(e, e.v)", {"self": KEYED, "other": KEYED})
    one, other = [{"k": "a", "v": 1}, {"k": "b", "v": 2}], [{"k": "c", "v": 4}, {"k": "a", "v": 3}]
    assert program.evaluate({"self": one, "other": other}) == [3, 2, 4]


def test_a_conversion_of_a_literal_that_fails_makes_no_program():
    with pytest.raises(cel.CompileError) as caught:
        cel.compile("int('x') == 1", {})
    assert caught.value.told == "program instantiation failed: type conversion error from 'string' to 'int'"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("self.m['z'] == 1 && self.l[9] == ''", "no such key: z"),
        ("[1].slice(0, 2) == []", "cannot slice(0, 2), list is length 1"),
        ("10 / (self.a - 1) > 1", "division by zero"),
        ("self.l[7] == ''", "index out of bounds: 7"),
        ("self.m['z'] == 1", "no such key: z"),
        ("self.o.x == 1", "no such key: x"),
        ("self.a + 9223372036854775807 > 0", "integer overflow"),
        ("self.any.startsWith('a')", "no such overload"),
        ("optional.none().value() == 1", "optional.none() dereference"),
    ],
)
def test_evaluation_fails_with_a_reason(text: str, message: str):
    with pytest.raises(cel.EvalError) as caught:
        evaluate(text)
    assert str(caught.value) == message


def test_a_loop_over_much_data_runs_out_of_budget():
    program = cel.compile("self.all(x, self.all(y, x != y || x == y))", {"self": list_of(INT)})
    with pytest.raises(cel.CostExceeded):
        program.evaluate({"self": list(range(2000))})


def test_a_program_tells_which_variables_it_reads():
    program = cel.compile("oldSelf.a == 1", {"self": SELF, "oldSelf": SELF})
    assert program.used == {"oldSelf"} and program.type == BOOL
    with pytest.raises(cel.EvalError, match="no such attribute"):
        program.evaluate({"self": VALUE})


def test_objects_that_expressions_make_know_their_type():
    spec = object_of("Object.spec", {"replicas": INT})
    known = {"Object": object_of("Object", {"spec": spec}), "Object.spec": spec}
    made = cel.compile("Object{spec: Object.spec{replicas: 2}}", {}, structs=known.get).evaluate({})
    assert made == {"spec": {"replicas": 2}} and isinstance(made, Struct) and made["spec"].name == "Object.spec"
    with pytest.raises(cel.CompileError):
        cel.compile("Object{spec: Object.spec{replicas: 'x'}}", {}, structs=known.get)


def test_lists_that_are_sets_are_equal_in_any_order():
    kind = object_of("self", {"a": list_of(STRING, list_type="set"), "b": list_of(STRING)})
    value = {"a": ["x", "y"], "b": ["x", "y"]}
    assert cel.compile("self.a == ['y', 'x']", {"self": kind}).evaluate({"self": value}) is True
    assert cel.compile("self.b == ['y', 'x']", {"self": kind}).evaluate({"self": value}) is False


INTEGERS = st.integers(-(1 << 63), (1 << 63) - 1)


@given(INTEGERS, INTEGERS)
def test_integers_compute_exactly_or_fail(a: int, b: int):
    for operator, exact in (("+", a + b), ("-", a - b), ("*", a * b)):
        program = cel.compile(f"x {operator} y", {"x": INT, "y": INT})
        if -(1 << 63) <= exact < 1 << 63:
            assert program.evaluate({"x": a, "y": b}) == exact
        else:
            with pytest.raises(cel.EvalError, match="integer overflow"):
                program.evaluate({"x": a, "y": b})


@given(st.text())
def test_any_field_name_has_an_escape_or_none_that_reads_it(name: str):
    escaped = escape(name)
    if escaped:
        program = cel.compile(f"self.{escaped}", {"self": object_of("self", {name: INT})})
        assert program.evaluate({"self": {name: 1}}) == 1


@given(st.text(alphabet="self.ab[]()'\"|&=<>!?:,1 +-*/{}", max_size=30))
def test_whatever_text_compiles_or_is_refused(text: str):
    try:
        cel.compile(text, {"self": SELF})
    except cel.CompileError:
        pass


BOUNDED = object_of("self", {"s": replace(STRING, size=400), "l": list_of(replace(STRING, size=80), size=10), "i": INT})


@pytest.mark.parametrize(
    ("text", "cost"),
    [
        ("self.s.split(',').size() > 1", 84),
        ("self.s.replace('a', 'bb') == ''", 82),
        ("self.l.indexOf('a') > 0", 93),
        ("sets.equivalent(self.l, ['a'])", 33),
        ("cidr(self.s).containsIP('1.2.3.4')", 47),
        ("cidr(self.s) == cidr('::/0')", 44),
        ("int(self.s) > 1", 4),
        ("self.l.distinct().size() > 1", 225),
        ("lists.range(self.i).size() > 1", UNBOUNDED),
        ("[self.s].join(',') == ''", UNBOUNDED),
    ],
)
def test_library_functions_cost_what_they_read(text: str, cost: int):
    assert estimate(cel.compile(text, {"self": BOUNDED}).tree) == cost
