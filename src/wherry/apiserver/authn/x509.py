"""Client certificates: the common name is the user, the organizations are the groups."""

from collections.abc import Mapping
from typing import Any

from wherry.apiserver.attributes import UserInfo
from wherry.apiserver.authn.token import CREDENTIAL_ID

FINGERPRINT = "sha256"
"""The member that the server adds to ``getpeercert()``: the SHA-256 of the certificate's DER form in hexadecimal."""

_UID = "1.3.6.1.4.1.57683.2"  # Kubernetes' own attribute for a user's UID


def user_of(certificate: Mapping[str, Any]) -> UserInfo | None:
    """Return the user that a verified certificate names, None without CN; see `FINGERPRINT` for what to add to it."""
    name, uid, groups = "", "", []
    for relative in certificate.get("subject") or ():
        for attribute, value in relative:
            if attribute == "commonName":
                name = value
            elif attribute == "organizationName":
                groups.append(value)
            elif attribute == _UID:
                uid = value
    if not name:
        return None
    fingerprint = certificate.get(FINGERPRINT)
    extra = {CREDENTIAL_ID: (f"X509SHA256={fingerprint}",)} if fingerprint else {}
    return UserInfo(name, tuple(groups), uid, extra)
