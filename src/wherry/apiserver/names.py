"""Names that the server makes up."""

import random
import uuid

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX = 5
_MAX_BASE = 63 - _SUFFIX

_random = random.SystemRandom()


def generate(base: str) -> str:
    """Return `base`, shortened to leave room, with five random characters (apiserver ``storage/names``)."""
    return base[:_MAX_BASE] + "".join(_random.choices(_ALPHABET, k=_SUFFIX))


def new_uid() -> str:
    """Return a new random UID."""
    return str(uuid.uuid4())
