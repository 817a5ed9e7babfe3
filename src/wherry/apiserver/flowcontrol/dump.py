"""The priority levels as a table, for people who debug: ``/debug/api_priority_and_fairness/dump_priority_levels``."""

from collections.abc import Iterable

from wherry.apiserver.flowcontrol.level import CANCELLED, TIME_OUT, Level

PATH = "/debug/api_priority_and_fairness/dump_priority_levels"
_COLUMNS = (
    "PriorityLevelName",
    "ActiveQueues",
    "IsIdle",
    "IsQuiescing",
    "WaitingRequests",
    "ExecutingRequests",
    "DispatchedRequests",
    "RejectedRequests",
    "TimedoutRequests",
    "CancelledRequests",
)


def levels_table(levels: Iterable[Level]) -> str:
    """Return the table of upstream's columns. No level is ever quiescing: who waits in one that goes may go on."""
    rows = [_COLUMNS, *(_row(level) for level in sorted(levels, key=lambda level: level.name))]
    texts = [[f"{value}," for value in row[:-1]] + [row[-1]] for row in rows]
    widths = [max(map(len, column)) + 1 for column in zip(*texts, strict=True)]
    return "".join(
        "".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in texts
    )


def _row(level: Level) -> tuple[str, ...]:
    if level.exempt:
        return (level.name, *["<none>"] * (len(_COLUMNS) - 1))
    refused = {TIME_OUT: 0, CANCELLED: 0}
    other = 0
    for (_, reason), number in level.rejected.items():
        if reason in refused:
            refused[reason] += number
        else:
            other += number
    idle = not level.running and not level.waiting
    numbers = (
        level.waiting,
        level.running,
        sum(level.dispatched.values()),
        other,
        refused[TIME_OUT],
        refused[CANCELLED],
    )
    return (level.name, str(level.active_queues), str(idle).lower(), "false", *map(str, numbers))
