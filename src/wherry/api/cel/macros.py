"""The loops behind the macros ``all``, ``exists``, ``exists_one``, ``filter``, ``map`` and those of two variables."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from wherry.api.cel.values import CostExceeded, EvalError, no_overload

Code = Callable[[list[Any]], Any]

_COST, _LIMIT = 0, 1


def loop(macro: str, over: Code, slots: list[int], steps: list[Code], weight: int) -> Code:
    """Return the code of a macro. `slots` are the places of its variables, `weight` is the cost of one step."""
    rounds = _rounds(over, slots, weight)
    match macro:
        case "all":
            return _quantified(rounds, steps[0], stop=False)
        case "exists":
            return _quantified(rounds, steps[0], stop=True)
        case "exists_one":
            return lambda frame: sum(_condition(steps[0](frame)) for _ in rounds(frame)) == 1
        case "filter":
            slot, keep = slots[0], steps[0]
            return lambda frame: [frame[slot] for _ in rounds(frame) if _condition(keep(frame))]
    return _mapped(macro, rounds, slots, steps)


def _mapped(macro: str, rounds: Callable[[list[Any]], Iterable[None]], slots: list[int], steps: list[Code]) -> Code:
    make = steps[-1]
    keep = steps[0] if len(steps) == 2 else None
    chosen = rounds if keep is None else lambda frame: (None for _ in rounds(frame) if _condition(keep(frame)))
    if macro in ("map", "transformList"):
        return lambda frame: [make(frame) for _ in chosen(frame)]
    if macro == "transformMap":
        key = slots[0]
        return lambda frame: dict((frame[key], make(frame)) for _ in chosen(frame))  # noqa: C402

    def entries(frame: list[Any]) -> dict[Any, Any]:
        out: dict[Any, Any] = {}
        for _ in chosen(frame):
            for name, value in make(frame).items():
                if name in out:
                    raise EvalError(f"insert failed: key {name} already exists")
                out[name] = value
        return out

    return entries


def _rounds(over: Code, slots: list[int], weight: int) -> Callable[[list[Any]], Iterable[None]]:
    """Return an iteration that puts each member into its slots and counts the cost."""
    first = slots[0]
    second = slots[1] if len(slots) == 2 else None

    def go(frame: list[Any]) -> Iterable[None]:
        holder = over(frame)
        if holder.__class__ is list:
            pairs: Iterable[tuple[Any, Any]] = enumerate(holder)
        elif isinstance(holder, Mapping):
            pairs = holder.items()
        else:
            raise no_overload()
        keys = holder.__class__ is not list
        for key, value in pairs:
            frame[_COST] += weight
            if frame[_COST] > frame[_LIMIT]:
                raise CostExceeded
            if second is None:
                frame[first] = key if keys else value
            else:
                frame[first], frame[second] = key, value
            yield None

    return go


def _quantified(rounds: Callable[[list[Any]], Iterable[None]], test: Code, *, stop: bool) -> Code:
    """``exists`` stops at true, ``all`` at false; an error counts only when nothing stops the loop."""

    def run(frame: list[Any]) -> bool:
        failure: EvalError | None = None
        for _ in rounds(frame):
            try:
                value = test(frame)
            except CostExceeded:
                raise
            except EvalError as error:
                failure = failure or error
                continue
            if value is stop:
                return stop
            if value.__class__ is not bool:
                failure = failure or no_overload()
        if failure is not None:
            raise failure
        return not stop

    return run


def _condition(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise no_overload()
