"""``/livez``, ``/readyz`` and ``/healthz``: named checks, each alone, verbose or without some of them."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from importlib import resources as package_data

from wherry.apiserver.query import values
from wherry.util import metrics
from wherry.util.metrics import COUNTER, GAUGE, Family, Sample

Check = Callable[[], bool]


def _names() -> dict[str, list[str]]:
    text = (package_data.files("wherry.apiserver") / "data" / "health.tsv").read_text()
    out: dict[str, list[str]] = {"livez": [], "readyz": [], "healthz": []}
    for line in text.splitlines():
        endpoint, _, name = line.partition("\t")
        out[endpoint].append(name)
    return out


_RESULT, _TOTAL = "kubernetes_healthcheck", "kubernetes_healthchecks_total"
_FAMILIES = {
    _RESULT: Family(GAUGE, "Result of a health check when it was made last: 1 for success, 0 for failure."),
    _TOTAL: Family(COUNTER, "Number of health checks made, by result."),
}


class Health:
    """The checks by endpoint. A name without a check of its own passes once the server has started."""

    def __init__(self) -> None:
        self.started = False
        self.stopping = False
        self.checks: dict[str, Check] = {
            "ping": lambda: True,
            "log": lambda: True,
            "shutdown": lambda: not self.stopping,
        }
        self._names = _names()
        self._results: dict[tuple[str, str], bool] = {}
        self._made: Counter[tuple[str, str, bool]] = Counter()

    def paths(self) -> list[str]:
        """Return the path of every check."""
        return [f"/{endpoint}/{name}" for endpoint, names in self._names.items() for name in names]

    def _passes(self, name: str) -> bool:
        check = self.checks.get(name)
        return check() if check is not None else self.started

    def _made_check(self, endpoint: str, name: str) -> bool:
        passes = self._passes(name)
        self._results[endpoint, name] = passes
        self._made[endpoint, name, passes] += 1
        return passes

    def metrics(self) -> str:
        """Return ``/metrics/slis``: the checks that were made with the others of their endpoint."""
        return metrics.text(self._samples(), _FAMILIES)

    def _samples(self) -> Iterator[Sample]:
        for (endpoint, name), passes in sorted(self._results.items()):
            yield Sample(_RESULT, {"name": name, "type": endpoint}, int(passes))
        for (endpoint, name, passes), number in sorted(self._made.items()):
            status = "success" if passes else "error"
            yield Sample(_TOTAL, {"name": name, "status": status, "type": endpoint}, number)

    def answer(self, path: str, params: Mapping[str, str]) -> tuple[int, str]:
        """Return code and text for ``/livez`` … or one check below it."""
        endpoint, below, name = path[1:].partition("/")
        names = self._names[endpoint]
        if below:
            if name not in names:
                return 404, "404 page not found\n"
            return (200, "ok") if self._passes(name) else (500, f"internal server error: {name} failed\n")
        excluded = set(values(params, "exclude"))
        lines, failed = [], []
        for check in names:
            if check in excluded:
                lines.append(f"[+]{check} excluded: ok")
            elif self._made_check(endpoint, check):
                lines.append(f"[+]{check} ok")
            else:
                lines.append(f"[-]{check} failed: reason withheld")
                failed.append(check)
        unknown = sorted(excluded - set(names))
        if unknown:
            shown = ",".join(f'"{check}"' for check in unknown)
            lines.append(f"warn: some health checks cannot be excluded: no matches for {shown}")
        if failed:
            return 500, "\n".join([*lines, f"{endpoint} check failed", ""])
        if "verbose" in params:
            return 200, "\n".join([*lines, f"{endpoint} check passed", ""])
        return 200, "ok"
