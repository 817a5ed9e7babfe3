"""``/livez``, ``/readyz`` and ``/healthz``: named checks, each alone, verbose or without some of them."""

from collections.abc import Callable, Mapping
from importlib import resources as package_data

from wherry.apiserver.query import values

Check = Callable[[], bool]


def _names() -> dict[str, list[str]]:
    text = (package_data.files("wherry.apiserver") / "data" / "health.tsv").read_text()
    out: dict[str, list[str]] = {"livez": [], "readyz": [], "healthz": []}
    for line in text.splitlines():
        endpoint, _, name = line.partition("\t")
        out[endpoint].append(name)
    return out


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

    def paths(self) -> list[str]:
        """Return the path of every check."""
        return [f"/{endpoint}/{name}" for endpoint, names in self._names.items() for name in names]

    def _passes(self, name: str) -> bool:
        check = self.checks.get(name)
        return check() if check is not None else self.started

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
            elif self._passes(check):
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
