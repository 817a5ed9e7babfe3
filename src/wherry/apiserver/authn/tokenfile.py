"""Static tokens (``--token-auth-file``): lines of ``token,user,uid,"group1,group2"``."""

import csv
import hmac
from collections.abc import Iterable, Sequence
from pathlib import Path

from wherry.apiserver.attributes import UserInfo
from wherry.apiserver.authn.token import Authenticated, digest, with_authenticated


class TokenFile:
    """Authenticates the tokens of a file; they are good for every audience. Keeps only their hashes."""

    def __init__(self, users: Iterable[tuple[str, UserInfo]]) -> None:
        self._users = {(key := digest(token)): (key, user) for token, user in users}

    @classmethod
    def read(cls, path: Path) -> "TokenFile":
        """Read a token file. Raises OSError, and ValueError for a line with fewer than three columns."""
        with path.open(newline="") as file:
            return cls(_rows(file, path))

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> Authenticated | None:
        key = digest(token)
        # The lookup is by the hash, of which a guess tells nothing; the comparison takes the same time for all.
        known, user = self._users.get(key, (b"", None))
        if user is None or not hmac.compare_digest(known, key):
            return None
        return Authenticated(user, tuple(audiences), lambda: True)


def _rows(lines: Iterable[str], path: Path) -> Iterable[tuple[str, UserInfo]]:
    for row in csv.reader(lines, skipinitialspace=True):
        if not row or row[0].startswith("#"):
            continue
        if len(row) < 3:
            raise ValueError(f"{path} has a line with fewer than three columns (token, user, uid)")
        token, name, uid, *rest = (column.strip() for column in row)
        if token:
            groups = tuple(filter(None, rest[0].split(","))) if rest else ()
            yield token, with_authenticated(UserInfo(name, groups, uid))
