"""What ``/metrics`` shows of the API server, in Prometheus' text form."""

from collections import Counter

from wherry.apiserver.requestinfo import PathInfo

_BUCKETS = (0.005, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Metrics:
    """Counters and latencies of requests by verb, resource and code."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, str, str, str, int]] = Counter()
        self._seconds: dict[tuple[str, str, str], list[float]] = {}

    def count(self, method: str, info: PathInfo, code: int, seconds: float) -> None:
        """Note one answered request that took `seconds`."""
        self._requests[method, info.group, info.version, info.plural, info.subresource, code] += 1
        key = (method, info.group, info.plural)
        sums = self._seconds.get(key)
        if sums is None:
            sums = self._seconds[key] = [0.0] * (len(_BUCKETS) + 2)
        for index, bound in enumerate(_BUCKETS):
            if seconds <= bound:
                sums[index] += 1
                break
        sums[-2] += 1
        sums[-1] += seconds

    def text(self) -> str:
        """Return all families."""
        lines = [
            "# HELP apiserver_request_total [STABLE] Counter of requests by verb, resource and HTTP response code.",
            "# TYPE apiserver_request_total counter",
        ]
        for (method, group, version, plural, sub, code), count in sorted(self._requests.items()):
            lines.append(
                f'apiserver_request_total{{code="{code}",group="{group}",resource="{plural}",subresource="{sub}",'
                f'verb="{method}",version="{version}"}} {count}'
            )
        name = "apiserver_request_duration_seconds"
        lines += [f"# HELP {name} [STABLE] Response latency distribution in seconds.", f"# TYPE {name} histogram"]
        for (method, group, plural), sums in sorted(self._seconds.items()):
            labels = f'group="{group}",resource="{plural}",verb="{method}"'
            running = 0.0
            for bound, value in zip(_BUCKETS, sums, strict=False):
                running += value
                lines.append(f'{name}_bucket{{{labels},le="{bound:g}"}} {running:g}')
            lines.append(f'{name}_bucket{{{labels},le="+Inf"}} {sums[-2]:g}')
            lines.append(f"{name}_sum{{{labels}}} {sums[-1]:.6f}")
            lines.append(f"{name}_count{{{labels}}} {sums[-2]:g}")
        return "\n".join(lines) + "\n"
