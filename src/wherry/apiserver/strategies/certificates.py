"""CertificateSigningRequests say who made them: the server fills that in, whatever the client claims."""

from typing import Any

from wherry.apiserver.request import Request
from wherry.apiserver.strategies.hooks import Hook, Undo

Object = dict[str, Any]


def _before(request: Request, new: Object, old: Object | None, dry: bool) -> Undo | None:
    if old is not None:
        return None
    spec = new["spec"]
    for member in ("username", "uid", "groups", "extra"):
        spec.pop(member, None)
    spec.update(request.user.to_dict())
    return None


HOOK = Hook(before=_before)
