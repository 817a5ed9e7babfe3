"""The authenticators of the server in their order: client certificate, bearer token, anonymous."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from wherry.api.errors import Unauthorized
from wherry.apiserver.attributes import ANONYMOUS, UNAUTHENTICATED_GROUP, UserInfo
from wherry.apiserver.authn import x509
from wherry.apiserver.authn.issuer import DEFAULT_ISSUER
from wherry.apiserver.authn.token import Authenticated, InvalidToken, TokenAuthenticator, digest, with_authenticated

ANONYMOUS_USER = UserInfo(ANONYMOUS, (UNAUTHENTICATED_GROUP,))

_INVALID = "invalid bearer token"
_MAX_KNOWN = 20_000


class UnionAuthenticator:
    """Asks the token authenticators in order (`wherry.apiserver.attributes.Authenticator`).

    With `anonymous` (the default, as upstream's) a request without credentials is ``system:anonymous``'s, of
    `anonymous_paths` where there are some only; what that may do is a matter of authorization.
    """

    def __init__(
        self,
        tokens: Sequence[TokenAuthenticator],
        *,
        audiences: Sequence[str] = (DEFAULT_ISSUER,),
        anonymous: bool = True,
        anonymous_paths: Collection[str] = (),
    ) -> None:
        self._tokens = tuple(tokens)
        self._audiences = tuple(audiences)
        self._anonymous = ANONYMOUS_USER if anonymous and not anonymous_paths else None
        self._anonymous_paths = frozenset(anonymous_paths) if anonymous else frozenset()
        self._known: dict[bytes, tuple[UserInfo, Callable[[], bool]]] = {}

    @property
    def audiences(self) -> tuple[str, ...]:
        """The audiences that a token must be for to be used here."""
        return self._audiences

    def at_once(self, credential: bytes | None) -> UserInfo | None:
        """Return the user of an ``Authorization`` header that is known, or of none; None: it takes `authenticate`."""
        if credential is None:
            return self._anonymous
        known = self._known.get(credential)
        return known[0] if known is not None and known[1]() else None

    async def authenticate(
        self, authorization: str | None, certificate: Mapping[str, Any] | None, path: str = ""
    ) -> UserInfo | None:
        """Return the user of a request; None only without credentials and with anonymous requests (there) off."""
        found = await self._authenticate(authorization, certificate)
        return ANONYMOUS_USER if found is None and path in self._anonymous_paths else found

    async def _authenticate(self, authorization: str | None, certificate: Mapping[str, Any] | None) -> UserInfo | None:
        if certificate:
            user = x509.user_of(certificate)
            if user is not None:
                return with_authenticated(user)
        credential = digest(authorization) if authorization else None
        known = self.at_once(credential)
        if known is not None or not authorization or credential is None:
            return known
        token = bearer(authorization)
        if token is None:
            return self._anonymous
        try:
            found = await self.authenticate_token(token, self._audiences)
        except InvalidToken as error:
            self._known.pop(credential, None)
            raise Unauthorized() from error
        if found.holds is not None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[credential] = (found.user, found.holds)
        return found.user

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> Authenticated:
        """Return the user of a bearer token for `audiences`. Raises InvalidToken with the errors of all who tried."""
        errors = [_INVALID]
        for each in self._tokens:
            try:
                found = await each.authenticate_token(token, audiences)
            except (InvalidToken, RecursionError) as error:
                errors.append(str(error))
                continue
            if found is not None:
                return Authenticated(with_authenticated(found.user), found.audiences, found.holds)
        raise InvalidToken(errors[0] if len(errors) == 1 else "[" + ", ".join(errors) + "]")


def bearer(authorization: str) -> str | None:
    """Return the token of an ``Authorization`` header, None when it is of another scheme or empty."""
    parts = authorization.strip().split(" ", 2)
    return parts[1] or None if len(parts) > 1 and parts[0].lower() == "bearer" else None
