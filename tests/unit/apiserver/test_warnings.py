"""What clients are warned of."""

from wherry.apiserver.warnings import of_decoding


def test_each_line_of_what_yaml_says_is_a_warning() -> None:
    yaml = 'yaml: unmarshal errors:\n  line 7: key "a" already set in map\n  line 9: key "b" already set in map'
    lines = ['line 7: key "a" already set in map', 'line 9: key "b" already set in map']
    assert of_decoding([yaml, 'unknown field "spec.c"']) == [*lines, 'unknown field "spec.c"']
