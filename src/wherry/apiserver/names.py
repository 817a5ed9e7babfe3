"""Names that the server makes up."""

import random
from functools import lru_cache
from hashlib import blake2s

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX = 5
_MAX_BASE = 63 - _SUFFIX


def generate(base: str) -> str:
    """Return `base`, shortened to leave room, with five random characters (apiserver ``storage/names``).

    They keep names apart and are no secret.
    """
    return base[:_MAX_BASE] + "".join([_ALPHABET[int(random.random() * 27)] for _ in range(_SUFFIX)])


@lru_cache(maxsize=4096)
def settled(base: str, seed: str) -> str:
    """Return a name as `generate` makes it, the same one for each `seed`."""
    number = int.from_bytes(blake2s(seed.encode()).digest())
    return base[:_MAX_BASE] + "".join([_ALPHABET[number // 27**place % 27] for place in range(_SUFFIX)])


def new_uid() -> str:
    """Return a new random UID: a version 4 UUID, written by hand because ``uuid`` is slow. It is no secret either."""
    digits = f"{random.getrandbits(128):032x}"
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
