"""Signs the tokens of service accounts and publishes the keys to verify them.

Source of the claims: Kubernetes docs, Managing Service Accounts.
"""

import base64
import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from wherry.apiserver.attributes import UserInfo
from wherry.util import clock

DEFAULT_ISSUER = "https://kubernetes.default.svc"
LEGACY_ISSUER = "kubernetes/serviceaccount"
CLAIM = "kubernetes.io"

# A pod's token of about an hour (3607 s, the default of the ServiceAccount admission plugin) is good for a year, so
# that old clients which never read it again keep working; from `warnafter` on its use is reported.
WARN_ONLY_SECONDS = 3607
EXTENDED_SECONDS = 365 * 24 * 3600

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with its JOSE names."""

    private: PrivateKey
    algorithm: str
    id: str

    @classmethod
    def of(cls, private: PrivateKey) -> "SigningKey":
        """Name a key; its id is the hash of the public key, as upstream computes it."""
        der = private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        algorithm = "RS256" if isinstance(private, rsa.RSAPrivateKey) else f"ES{private.curve.key_size}"
        return cls(private, algorithm, _base64url(hashlib.sha256(der).digest()))

    @classmethod
    def from_pem(cls, pem: bytes) -> "SigningKey":
        """Read a PEM private key. Raises ValueError when it is neither RSA nor EC."""
        # The key is this machine's own: checking that its numbers are prime would take longer than the rest of a start.
        private = serialization.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
        if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise ValueError("a service account key must be RSA or EC")
        return cls.of(private)


class ServiceAccountIssuer:
    """Mints tokens with the first of `keys`; all of them verify."""

    def __init__(
        self, keys: Sequence[SigningKey], *, issuer: str = DEFAULT_ISSUER, audiences: Sequence[str] = ()
    ) -> None:
        self.keys = tuple(keys)
        self.issuer = issuer
        self.audiences = tuple(audiences) or (issuer,)

    def mint(
        self,
        account: Mapping[str, Any],
        *,
        audiences: Sequence[str] = (),
        seconds: int = 3600,
        pod: Mapping[str, Any] | None = None,
        secret: Mapping[str, Any] | None = None,
        node: Mapping[str, Any] | None = None,
    ) -> str:
        """Return a token for a ServiceAccount object, bound to the given objects."""
        now = int(clock.seconds())
        metadata = account["metadata"]
        audiences = tuple(audiences) or self.audiences
        private: dict[str, Any] = {"namespace": metadata["namespace"]}
        for kind, bound in (("node", node), ("pod", pod), ("secret", secret), ("serviceaccount", account)):
            if bound is not None:
                private[kind] = {"name": bound["metadata"]["name"], "uid": bound["metadata"].get("uid", "")}
        expires = now + seconds
        if seconds == WARN_ONLY_SECONDS and pod is not None and set(audiences) == set(self.audiences):
            private["warnafter"] = expires
            expires = now + EXTENDED_SECONDS
        return self._sign(
            {
                "aud": list(audiences),
                "exp": expires,
                "iat": now,
                "iss": self.issuer,
                "jti": str(uuid.uuid4()),
                CLAIM: private,
                "nbf": now,
                "sub": username(metadata["namespace"], metadata["name"]),
            }
        )

    def mint_legacy(self, account: Mapping[str, Any], secret: Mapping[str, Any]) -> str:
        """Return a token without expiry for a Secret of type ``kubernetes.io/service-account-token``."""
        metadata = account["metadata"]
        return self._sign(
            {
                "iss": LEGACY_ISSUER,
                f"{LEGACY_ISSUER}/namespace": metadata["namespace"],
                f"{LEGACY_ISSUER}/secret.name": secret["metadata"]["name"],
                f"{LEGACY_ISSUER}/service-account.name": metadata["name"],
                f"{LEGACY_ISSUER}/service-account.uid": metadata.get("uid", ""),
                "sub": username(metadata["namespace"], metadata["name"]),
            }
        )

    def _sign(self, claims: dict[str, Any]) -> str:
        key = self.keys[0]
        return jwt.encode(claims, key.private, key.algorithm, {"kid": key.id})

    def discovery(self, jwks_uri: str) -> dict[str, Any]:
        """Return the document of ``/.well-known/openid-configuration``."""
        return {
            "issuer": self.issuer,
            "jwks_uri": jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": sorted({key.algorithm for key in self.keys}),
        }

    def jwks(self) -> dict[str, Any]:
        """Return the document of ``/openid/v1/jwks``."""
        return {"keys": [_jwk(key) for key in self.keys]}


def username(namespace: str, name: str) -> str:
    """Return the user name of a service account."""
    return f"system:serviceaccount:{namespace}:{name}"


def groups(namespace: str) -> tuple[str, ...]:
    """Return the groups of the service accounts of a namespace."""
    return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")


def split_username(user: str) -> tuple[str, str] | None:
    """Return (namespace, name) of a service account's user name, None when it is no such name."""
    prefix, _, rest = user.partition("system:serviceaccount:")
    namespace, colon, name = rest.partition(":")
    return (namespace, name) if not prefix and colon and namespace and name and ":" not in name else None


def user_of(namespace: str, name: str, uid: str) -> UserInfo:
    """Return the user of a service account, without ``system:authenticated`` among the groups."""
    return UserInfo(username(namespace, name), groups(namespace), uid)


def _jwk(key: SigningKey) -> dict[str, Any]:
    algorithm = jwt.get_algorithm_by_name(key.algorithm)
    made: dict[str, Any] = json.loads(algorithm.to_jwk(key.private.public_key()))
    made.pop("key_ops", None)
    return {"use": "sig", "kty": made.pop("kty"), "kid": key.id, "alg": key.algorithm, **made}


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
