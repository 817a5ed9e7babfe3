"""CertificateSigningRequests: the request itself, who may say what about it, and the certificate."""

import json
import re
from base64 import b64decode
from dataclasses import dataclass
from difflib import unified_diff
from itertools import islice
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import checks, metadata
from wherry.api.validation.conditions import STATUSES
from wherry.api.validation.rules import Rules

Obj = dict[str, Any]
Errors = list[FieldError]

USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
    "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
    "server auth", "signing", "timestamping",
)  # fmt: skip
_LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
_DECISIONS = ("Approved", "Denied")
_FINAL = ("Approved", "Denied", "Failed")
_BLOCK = re.compile(rb"-----BEGIN ([^\n-]*)-----\s*?\n(.*?)-----END \1-----", re.DOTALL)
_DOMAIN_LIMIT = 253
_SIGNER_LIMIT = _DOMAIN_LIMIT + (_DOMAIN_LIMIT + 63 + 1) + 1


@dataclass(frozen=True, slots=True)
class _Options:
    """What an update may do: decide, or issue. What was wrong before (`old`) may stay wrong."""

    old: Obj | None = None
    decides: bool = False
    issues: bool = False


def _spec(obj: Obj) -> Obj:
    return obj.get("spec") or {}


def _conditions_of(obj: Obj | None) -> list[Obj]:
    return ((obj or {}).get("status") or {}).get("conditions") or []


def _certificate_of(obj: Obj | None) -> str:
    return ((obj or {}).get("status") or {}).get("certificate") or ""


def _whole(obj: Obj, options: _Options) -> Errors:
    spec, old = _spec(obj), options.old
    request, usages, signer = spec.get("request"), spec.get("usages") or [], spec.get("signerName") or ""
    usages_before = _spec(old).get("usages") or [] if old is not None else []
    errors: Errors = []
    wrong = _request_error(b64decode(request or ""))
    if wrong:
        errors.append(field.invalid("spec.request", request, wrong))
    if not usages:
        errors.append(field.required("spec.usages"))
    if set(usages_before) <= set(USAGES):
        for i, usage in enumerate(usages):
            if usage not in USAGES:
                errors.append(field.not_supported(f"spec.usages[{i}]", usage, USAGES))
    if len(set(usages_before)) == len(usages_before):
        errors += [field.duplicate(f"spec.usages[{i}]", usage) for i, usage in enumerate(usages) if usage in usages[:i]]
    if signer == _LEGACY_SIGNER and (old is None or _spec(old).get("signerName") != _LEGACY_SIGNER):
        detail = "the legacy signerName is not allowed via this API version"
        errors.append(field.invalid("spec.signerName", signer, detail))
    else:
        errors += _signer(signer, "spec.signerName")
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < 600:
        detail = "may not specify a duration less than 600 seconds (10 minutes)"
        errors.append(field.invalid("spec.expirationSeconds", seconds, detail))
    errors += _conditions(obj, old)
    certificate = _certificate_of(obj)
    if certificate and (old is None or certificate != _certificate_of(old)):
        wrong = _certificate_error(b64decode(certificate))
        if wrong and not (old is not None and _certificate_error(b64decode(_certificate_of(old)))):
            errors.append(field.invalid("status.certificate", "<certificate data>", wrong))
    return errors


def _request_error(pem: bytes) -> str:
    block = _BLOCK.search(pem)
    if block is None or block[1] != b"CERTIFICATE REQUEST":
        return "PEM block type must be CERTIFICATE REQUEST"
    try:
        request = x509.load_pem_x509_csr(block[0])
        if not request.is_signature_valid:
            return "crypto/rsa: verification error"
    except InvalidSignature:
        return "crypto/rsa: verification error"
    except UnsupportedAlgorithm as error:
        return f"x509: cannot verify signature: algorithm unimplemented: {error}"
    except ValueError:
        return "asn1: structure error: tags don't match"
    return ""


def _certificate_error(pem: bytes) -> str:
    if not pem:
        return ""
    blocks = list(_BLOCK.finditer(pem))
    for block in blocks:
        kind = block[1].decode("utf-8", "replace")
        if kind != "CERTIFICATE":
            return f"only CERTIFICATE PEM blocks are allowed, found {field.show(kind)}"
        if b":" in block[2]:
            return "no PEM block headers are permitted"
        try:
            x509.load_pem_x509_certificate(block[0])
        except ValueError:
            return "x509: malformed certificate"
    return "" if blocks else "must contain at least one CERTIFICATE PEM block"


def _signer(name: str, path: str) -> Errors:
    """Check the name of a signer: a domain and a path."""
    if not name:
        return [field.required(path)]
    if name.count("/") != 1:
        detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        return [field.invalid(path, name, detail)]
    domain, _, rest = name.partition("/")
    errors = [field.too_long(path, _DOMAIN_LIMIT)] if len(domain) > _DOMAIN_LIMIT else []
    errors += _labels(domain, path, checks.label)
    if "." not in domain:
        detail = "should be a domain with at least two segments separated by dots"
        errors.append(field.invalid(path, domain, detail))
    errors += _labels(rest, path, checks.subdomain)
    if len(name) > _SIGNER_LIMIT:
        errors.append(field.too_long(path, _SIGNER_LIMIT))
    return errors


def _labels(text: str, path: str, rule: checks.Check) -> Errors:
    """Tell what is wrong with the first bad one of the labels of `text`."""
    for label in text.split("."):
        wrong = rule(label)
        if wrong:
            return [field.invalid(path, text, f"validating label {field.show(label)}: {m}") for m in wrong]
    return []


def _conditions(obj: Obj, old: Obj | None) -> Errors:
    errors: Errors = []
    before = [c.get("type") or "" for c in _conditions_of(old)]
    seen: list[str] = []
    for i, condition in enumerate(_conditions_of(obj)):
        path = f"status.conditions[{i}]"
        kind, status = condition.get("type") or "", condition.get("status") or ""
        if not kind and "" not in before:
            errors.append(field.required(f"{path}.type"))
        allowed = ("True",) if kind in _FINAL else STATUSES
        if not status:
            errors.append(field.required(f"{path}.status"))
        elif status not in allowed:
            errors.append(field.not_supported(f"{path}.status", status, allowed))
        if kind in _DECISIONS and not set(_DECISIONS) <= set(before):
            other = "Denied" if kind == "Approved" else "Approved"
            if other in seen:
                detail = "Approved and Denied conditions are mutually exclusive"
                errors.append(field.invalid("status.conditions", kind, detail))
        if kind in seen and len(set(before)) == len(before):
            errors.append(field.duplicate(f"{path}.type", kind))
        seen.append(kind)
    return errors


def _create(obj: Obj) -> Errors:
    return _whole(obj, _Options())


def _change(obj: Obj, options: _Options) -> Errors:
    errors = _whole(obj, options)
    path = "status.conditions"

    def of_type(found: Obj | None, kind: str) -> list[Obj]:
        return [c for c in _conditions_of(found) if c.get("type") == kind]

    for kind in _FINAL:
        if len(of_type(obj, kind)) < len(of_type(options.old, kind)):
            errors.append(field.forbidden(path, f'updates may not remove a condition of type "{kind}"'))
    if not options.decides:
        for kind in _DECISIONS:
            now, before = of_type(obj, kind), of_type(options.old, kind)
            if len(now) > len(before):
                errors.append(field.forbidden(path, f'updates may not add a condition of type "{kind}"'))
            elif len(now) == len(before) and now != before:
                detail = f'updates may not modify a condition of type "{kind}"\n{_difference(before, now)}'
                errors.append(field.forbidden(path, detail))
    certificate, issued = _certificate_of(obj), _certificate_of(options.old)
    if certificate != issued:
        if not options.issues:
            errors.append(field.forbidden("status.certificate", "updates may not set certificate content"))
        elif issued:
            detail = "updates may not modify existing certificate content"
            errors.append(field.forbidden("status.certificate", detail))
    return errors


_MEMBERS = ("type", "status", "reason", "message", "lastUpdateTime", "lastTransitionTime")
_ESCAPED = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})


def _difference(old: list[Obj], new: list[Obj]) -> str:
    """Return how conditions differ, as upstream shows it: a unified diff of its internal objects' JSON."""
    one, other = (
        [f"{line}\n" for line in json.dumps(shown, indent=1, ensure_ascii=False).translate(_ESCAPED).split("\n")]
        for shown in ([_internal(condition) for condition in conditions] for conditions in (old, new))
    )
    without_files = islice(unified_diff(one, other), 2, None)
    return "".join(without_files)


def _internal(condition: Obj) -> Obj:
    """Return a condition by the names of upstream's internal type, which has no optional members."""
    return {
        name[0].upper() + name[1:]: condition.get(name) or (None if name.endswith("Time") else "") for name in _MEMBERS
    }


RULES = {
    ("certificates.k8s.io", "certificatesigningrequests"): Rules(
        create=_create,
        update=lambda obj, old: _change(obj, _Options(old)),
        subresources={
            "approval": lambda obj, old: _change(obj, _Options(old, decides=True)),
            "status": lambda obj, old: _change(obj, _Options(old, issues=True)),
        },
        name=metadata.any_name,
        recheck=False,
    )
}
