"""Limits on how many requests run at once (a small counterpart of API priority and fairness)."""

from wherry.api.errors import TooManyRequests

_LONG = frozenset({"watch"})
_LONG_SUBRESOURCES = frozenset({"log", "exec", "attach", "portforward", "proxy"})


class FlowLimits:
    """Counts requests under way; refuses more than `limit` short ones. Members of system:masters are exempt."""

    def __init__(self, limit: int = 2000) -> None:
        self.limit = limit
        self.running = 0

    def enter(self, *, exempt: bool) -> None:
        """Take a place. Raises TooManyRequests when there is none."""
        if self.running >= self.limit and not exempt:
            raise TooManyRequests(
                "the server has received too many requests and has asked us to try again later",
                {"retryAfterSeconds": 1},
                headers={"Retry-After": "1"},
            )
        self.running += 1

    def leave(self) -> None:
        """Give the place back."""
        self.running -= 1


def is_long(verb: str, subresource: str) -> bool:
    """Tell whether a request runs for as long as its client likes and is not counted."""
    return verb in _LONG or subresource in _LONG_SUBRESOURCES
