"""Rules for what refers to something else: kinds, names that fit a path, domain-prefixed names, webhooks' services."""

import base64
import re
from typing import Any
from urllib.parse import SplitResult, urlsplit

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import checks, metadata
from wherry.api.validation.shared import named

Obj = dict[str, Any]
Errors = list[FieldError]

_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
_URL_FORM = "; desired format: https://host[/path]"


def path_name(value: str, path: str, detail: str = "") -> Errors:
    """Check a name that must be there and fit into a URL's path."""
    if not value:
        return [field.required(path, detail)]
    return [field.invalid(path, value, m) for m in metadata.path_segment(value, False)]


def domain_path(value: str, path: str) -> Errors:
    """Check ``domain/path``, the name of a controller."""
    if not value:
        return [field.required(path)]
    domain, _, rest = value.partition("/")
    if not domain or not rest:
        return [field.invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')]
    errors = named(domain, path, checks.subdomain)
    if not re.fullmatch(_PATH, rest, re.ASCII):
        errors.append(field.invalid(path, rest, f"Invalid path (regex used for validation is '{_PATH}')"))
    return errors


def fully_qualified_name(value: str, path: str) -> Errors:
    """Check a domain name of at least three parts: the name of a webhook."""
    if not value:
        return [field.required(path)]
    wrong = checks.subdomain(value)
    if wrong:
        return [field.invalid(path, value, ",".join(wrong))]
    if value.count(".") < 2:
        return [field.invalid(path, value, "should be a domain with at least three segments separated by dots")]
    return []


def typed_reference(reference: Obj, path: str, *, needed: tuple[str, str] = ("", "")) -> Errors:
    """Check a reference to an object of any kind; `needed` are the details for an absent kind and name."""
    errors: Errors = []
    group = reference.get("apiGroup")
    if group is not None:
        errors += named(group, f"{path}.apiGroup", checks.subdomain)
    errors += path_name(reference.get("kind") or "", f"{path}.kind", needed[0])
    return errors + path_name(reference.get("name") or "", f"{path}.name", needed[1])


def webhook_client(config: Obj, path: str) -> Errors:
    """Check how to call a webhook: by a URL or through a Service."""
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        return [field.required(path, "exactly one of url or service is required")]
    if url is not None:
        return webhook_url(url, f"{path}.url")
    return webhook_service(service or {}, f"{path}.service")


def ca_bundle(bundle: str, path: str) -> Errors:
    """Check the certificates (PEM, in base64) by which a webhook is known."""
    if b"-----BEGIN CERTIFICATE-----" in base64.b64decode(bundle):
        return []
    return [field.invalid(path, bundle, "unable to load root certificates: unable to parse bytes as PEM block")]


def webhook_url(url: str, path: str) -> Errors:
    """Check the URL of a webhook."""
    try:
        found = urlsplit(url)
        reason = _url_error(url, found)
    except ValueError as error:
        reason = str(error)
    if reason:
        return [field.required(path, f"url must be a valid URL: parse {field.show(url)}: {reason}{_URL_FORM}")]
    errors: Errors = []
    if found.scheme != "https":
        errors.append(field.invalid(path, found.scheme, f"'https' is the only allowed URL scheme{_URL_FORM}"))
    user, _, host = found.netloc.rpartition("@")
    if not host:
        errors.append(field.invalid(path, host, f"host must be specified{_URL_FORM}"))
    if "@" in found.netloc:
        errors.append(field.invalid(path, user, "user information is not permitted in the URL"))
    if found.fragment:
        errors.append(field.invalid(path, found.fragment, "fragments are not permitted in the URL"))
    if found.query:
        errors.append(field.invalid(path, found.query, "query parameters are not permitted in the URL"))
    return errors


def _url_error(url: str, found: SplitResult) -> str:
    """Return what Go's parser has against a URL, for the mistakes that are made."""
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in url):
        return "net/url: invalid control character in URL"
    if url.startswith(":"):
        return "missing protocol scheme"
    escape = re.search("%(?![0-9A-Fa-f]{2})(.{0,2})", url)
    if escape:
        return f'invalid URL escape "%{escape[1]}"'
    if " " in found.netloc:
        return 'invalid character " " in host name'
    host, colon, port = found.netloc.rpartition("@")[2].rpartition(":")
    if colon and not host.startswith("[") and port and not port.isdigit():
        return f'invalid port ":{port}" after host'
    if not found.scheme and ":" in url.split("/", 1)[0]:
        return "first path segment in URL cannot contain colon"
    return ""


def webhook_service(service: Obj, path: str) -> Errors:
    """Check the Service through which a webhook is called."""
    # Upstream hands name and namespace over in the order that the callee does not expect.
    errors: Errors = []
    if not service.get("namespace"):
        errors.append(field.required(f"{path}.name"))
    if not service.get("name"):
        errors.append(field.required(f"{path}.namespace"))
    port = service.get("port", 0)
    wrong = checks.port_number(port)
    if wrong:
        errors.append(field.invalid(f"{path}.port", port, "port is not valid: " + ", ".join(wrong)))
    return errors + _service_path(service.get("path") or "", f"{path}.path")


def _service_path(value: str, path: str) -> Errors:
    if value in ("", "/"):
        return []
    if value == "//":
        return [field.invalid(path, value, "segment[0] may not be empty")]
    errors = [] if value.startswith("/") else [field.invalid(path, value, "must start with a '/'")]
    for i, step in enumerate(value[1:].removesuffix("/").split("/")):
        if not step:
            errors.append(field.invalid(path, value, f"segment[{i}] may not be empty"))
        else:
            errors += [field.invalid(path, value, f"segment[{i}]: {m}") for m in checks.subdomain(step)]
    return errors
