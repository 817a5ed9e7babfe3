"""What a request consumes of the capacity of a device that several requests share (KEP-5075)."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from wherry.api import quantity
from wherry.api.quantity import Quantity

Amounts = Mapping[str, Quantity]


def consumed(requested: Mapping[str, str], capacity: Mapping[str, Any]) -> Amounts | None:
    """Return what requests for amounts consume of a device's ``capacity``; None where it cannot give them.

    What is not asked for is consumed by its default, or whole. What is asked for is rounded up to what the device's
    ``requestPolicy`` lets be consumed at once.
    """
    if not requested.keys() <= capacity.keys():
        return None
    amounts = {}
    for name, holder in capacity.items():
        asked = quantity.parse(requested[name]) if name in requested else None
        amount = _rounded(asked, holder)
        if _violates(amount, holder.get("requestPolicy") or {}) or amount.value > quantity.parse(holder["value"]).value:
            return None
        amounts[name] = amount
    return amounts


def _rounded(asked: Quantity | None, holder: Mapping[str, Any]) -> Quantity:
    policy = holder.get("requestPolicy") or {}
    if asked is None:
        return quantity.parse(policy.get("default") or holder["value"])
    if (span := policy.get("validRange")) and span.get("min"):
        least = quantity.parse(span["min"])
        if asked.value < least.value:
            return least
        if not span.get("step"):
            return asked
        step = quantity.parse(span["step"]).value
        steps = -((least.value - asked.value) // step)
        return Quantity(least.value + steps * step, "BinarySI")
    valid = [quantity.parse(value) for value in policy.get("validValues") or ()]
    return next((value for value in valid if value.value >= asked.value), asked)


def _violates(amount: Quantity, policy: Mapping[str, Any]) -> bool:
    if policy.get("default") and amount.value == quantity.parse(policy["default"]).value:
        return False
    if span := policy.get("validRange"):
        if span.get("max") and amount.value > quantity.parse(span["max"]).value:
            return True
        least = quantity.parse(span["min"]).value if span.get("min") else Fraction(0)
        return bool(span.get("step")) and (amount.value - least) % quantity.parse(span["step"]).value != 0
    valid = policy.get("validValues") or ()
    return bool(valid) and all(amount.value != quantity.parse(value).value for value in valid)
