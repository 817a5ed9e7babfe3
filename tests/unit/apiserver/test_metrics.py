"""The text form of metrics."""

from wherry.util.metrics import COUNTER, HISTOGRAM, Family, Histogram, Sample, text


def test_a_histogram_is_cumulative_and_ends_with_infinity() -> None:
    seconds = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 3):
        seconds.observe(value)
    lines = text(seconds.samples("a_seconds", {"verb": "GET"}), {"a_seconds": Family(HISTOGRAM, "Help.")}).splitlines()
    assert lines == [
        "# HELP a_seconds Help.",
        "# TYPE a_seconds histogram",
        'a_seconds_bucket{le="0.1",verb="GET"} 2',
        'a_seconds_bucket{le="1",verb="GET"} 3',
        'a_seconds_bucket{le="+Inf",verb="GET"} 4',
        'a_seconds_sum{verb="GET"} 3.65',
        'a_seconds_count{verb="GET"} 4',
    ]


def test_labels_are_escaped_and_unknown_families_left_out() -> None:
    samples = [Sample("b_total", {"name": 'a"\n\\'}, 1), Sample("other", {}, 1)]
    assert text(samples, {"b_total": Family(COUNTER, "B.")}).splitlines()[-1] == 'b_total{name="a\\"\\n\\\\"} 1'
