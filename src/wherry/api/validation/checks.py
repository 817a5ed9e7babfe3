"""Checks of one string or number; each returns what is wrong with it in Kubernetes' words, nothing when it is right.

The rules are those of apimachinery ``util/validation``; results for strings that are right are remembered.
"""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

LABEL_FORMAT = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL = re.compile(f"{LABEL_FORMAT}\\Z")
_SUBDOMAIN_FORMAT = LABEL_FORMAT + r"(\." + LABEL_FORMAT + ")*"
_SUBDOMAIN = re.compile(_SUBDOMAIN_FORMAT + r"\Z")
_SUBDOMAIN_CASELESS_FORMAT = r"[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*"
_WILDCARD_FORMAT = r"\*\." + _SUBDOMAIN_FORMAT
_WILDCARD = re.compile(_WILDCARD_FORMAT + r"\Z")
_DNS1035_FORMAT = "[a-z]([-a-z0-9]*[a-z0-9])?"
_DNS1035 = re.compile(_DNS1035_FORMAT + r"\Z")
_QUALIFIED_FORMAT = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_QUALIFIED = re.compile(_QUALIFIED_FORMAT + r"\Z")
_VALUE_FORMAT = f"({_QUALIFIED_FORMAT})?"
_C_IDENTIFIER_FORMAT = "[A-Za-z_][A-Za-z0-9_]*"
_C_IDENTIFIER = re.compile(_C_IDENTIFIER_FORMAT + r"\Z")
_CONFIG_KEY_FORMAT = "[-._a-zA-Z0-9]+"
_CONFIG_KEY = re.compile(_CONFIG_KEY_FORMAT + r"\Z")
_PRINTABLE_ENV = re.compile(r"[ -<>-~]+\Z")
_PERCENT_FORMAT = "[0-9]+%"
_PERCENT = re.compile(_PERCENT_FORMAT + r"\Z")
_PORT_NAME = re.compile(r"[-a-z0-9]+\Z")
_HEADER_FORMAT = "[-A-Za-z0-9]+"
_HEADER = re.compile(_HEADER_FORMAT + r"\Z")
_DOMAIN_PATH = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+\Z")


def _regex(message: str, pattern: str, *examples: str) -> str:
    shown = "".join(f"{' or ' if i else ''}'{e}', " for i, e in enumerate(examples))
    return f"{message} (e.g. {shown}regex used for validation is '{pattern}')"


_LABEL_MESSAGE = _regex(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character", LABEL_FORMAT, "my-name", "123-abc",
)  # fmt: skip
_SUBDOMAIN_MESSAGE = _regex(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character", _SUBDOMAIN_FORMAT, "example.com",
)  # fmt: skip
_SUBDOMAIN_CASELESS_MESSAGE = _regex(
    "an RFC 1123 subdomain must consist of alphanumeric characters, '-' or '.', and must start and end "
    "with an alphanumeric character", _SUBDOMAIN_CASELESS_FORMAT, "example.com",
)  # fmt: skip
_WILDCARD_MESSAGE = _regex(
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
    _WILDCARD_FORMAT, "*.example.com",
)  # fmt: skip
_DNS1035_MESSAGE = _regex(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character", _DNS1035_FORMAT, "my-name", "abc-123",
)  # fmt: skip
_QUALIFIED_MESSAGE = _regex(
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    _QUALIFIED_FORMAT, "MyName", "my.name", "123-abc",
)  # fmt: skip
_VALUE_MESSAGE = _regex(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character", _VALUE_FORMAT, "MyValue", "my_value", "12345",
)  # fmt: skip
_C_IDENTIFIER_MESSAGE = _regex(
    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric "
    "characters or '_'", _C_IDENTIFIER_FORMAT, "my_name", "MY_NAME", "MyName",
)  # fmt: skip
_CONFIG_KEY_MESSAGE = _regex(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'", _CONFIG_KEY_FORMAT,
    "key.name", "KEY_NAME", "key-name",
)  # fmt: skip
_PERCENT_MESSAGE = _regex(
    "a valid percent string must be a numeric string followed by an ending '%'", _PERCENT_FORMAT, "1%", "93%"
)
_HEADER_MESSAGE = _regex(
    "a valid HTTP header must consist of alphanumeric characters or '-'", _HEADER_FORMAT, "X-Header-Name"
)


def _too_long(maximum: int) -> str:
    return f"must be no more than {maximum} bytes"


def _size(value: str) -> int:
    return len(value) if value.isascii() else len(value.encode())


@lru_cache(4096)
def label(value: str) -> tuple[str, ...]:
    """Check an RFC 1123 label (a Namespace's name)."""
    errors = (_too_long(63),) if _size(value) > 63 else ()
    return errors if _LABEL.match(value) else (*errors, _LABEL_MESSAGE)


@lru_cache(4096)
def subdomain(value: str) -> tuple[str, ...]:
    """Check an RFC 1123 subdomain (most names)."""
    errors = (_too_long(253),) if _size(value) > 253 else ()
    return errors if _SUBDOMAIN.match(value) else (*errors, _SUBDOMAIN_MESSAGE)


def subdomain_caseless(value: str) -> tuple[str, ...]:
    """Check an RFC 1123 subdomain that may have capitals."""
    errors = (_too_long(253),) if _size(value) > 253 else ()
    return errors if re.fullmatch(_SUBDOMAIN_CASELESS_FORMAT, value) else (*errors, _SUBDOMAIN_CASELESS_MESSAGE)


def wildcard_subdomain(value: str) -> tuple[str, ...]:
    """Check ``*.`` and a subdomain (a host of an Ingress)."""
    errors = (_too_long(253),) if _size(value) > 253 else ()
    return errors if _WILDCARD.match(value) else (*errors, _WILDCARD_MESSAGE)


@lru_cache(1024)
def dns1035_label(value: str) -> tuple[str, ...]:
    """Check a DNS-1035 label: as an RFC 1123 label, but starting with a letter."""
    errors = (_too_long(63),) if _size(value) > 63 else ()
    return errors if _DNS1035.match(value) else (*errors, _DNS1035_MESSAGE)


@lru_cache(8192)
def qualified_name(value: str) -> tuple[str, ...]:
    """Check a name with an optional DNS prefix (the key of a label)."""
    parts = value.split("/")
    errors: list[str] = []
    if len(parts) > 2:
        return (
            f"a qualified name {_QUALIFIED_MESSAGE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
        )
    if len(parts) == 2:
        if not parts[0]:
            errors.append("prefix part must be non-empty")
        else:
            errors += [f"prefix part {m}" for m in subdomain(parts[0])]
    name = parts[-1]
    if not name:
        errors.append("name part must be non-empty")
    elif _size(name) > 63:
        errors.append(f"name part {_too_long(63)}")
    if not _QUALIFIED.match(name):
        errors.append(f"name part {_QUALIFIED_MESSAGE}")
    return tuple(errors)


@lru_cache(8192)
def label_value(value: str) -> tuple[str, ...]:
    """Check the value of a label."""
    errors = (_too_long(63),) if _size(value) > 63 else ()
    return errors if not value or _QUALIFIED.match(value) else (*errors, _VALUE_MESSAGE)


def c_identifier(value: str) -> tuple[str, ...]:
    """Check an identifier of the C language."""
    return () if _C_IDENTIFIER.match(value) else (_C_IDENTIFIER_MESSAGE,)


@lru_cache(2048)
def environment_name(value: str) -> tuple[str, ...]:
    """Check the name of an environment variable (printable ASCII without ``=``)."""
    if _PRINTABLE_ENV.match(value):
        return ()
    return ("a valid environment variable name must consist only of printable ASCII characters other than '='",)


@lru_cache(2048)
def config_key(value: str) -> tuple[str, ...]:
    """Check a key of a ConfigMap or Secret."""
    errors: tuple[str, ...] = (_too_long(253),) if _size(value) > 253 else ()
    if not _CONFIG_KEY.match(value):
        errors += (_CONFIG_KEY_MESSAGE,)
    if value == ".":
        return (*errors, "must not be '.'")
    if value == "..":
        return (*errors, "must not be '..'")
    if value.startswith(".."):
        return (*errors, "must not start with '..'")
    return errors


@lru_cache(1024)
def port_name(value: str) -> tuple[str, ...]:
    """Check an IANA service name."""
    errors: list[str] = []
    if _size(value) > 15:
        errors.append(_too_long(15))
    if not _PORT_NAME.match(value):
        errors.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any("a" <= c <= "z" for c in value):
        errors.append("must contain at least one letter (a-z)")
    if "--" in value:
        errors.append("must not contain consecutive hyphens")
    if value and (value[0] == "-" or value[-1] == "-"):
        errors.append("must not begin or end with a hyphen")
    return tuple(errors)


def port_number(value: int) -> tuple[str, ...]:
    """Check a port."""
    return () if 1 <= value <= 65535 else ("must be between 1 and 65535, inclusive",)


def percent(value: str) -> tuple[str, ...]:
    """Check a percentage such as ``25%``."""
    return () if _PERCENT.match(value) else (_PERCENT_MESSAGE,)


def http_header(value: str) -> tuple[str, ...]:
    """Check the name of an HTTP header."""
    return () if _HEADER.match(value) else (_HEADER_MESSAGE,)


@lru_cache(1024)
def domain_prefixed_path(value: str) -> tuple[str, ...]:
    """Check ``domain/path`` (the name of a controller)."""
    domain, slash, path = value.partition("/")
    if not slash or not domain or not path:
        return ('must be a domain-prefixed path (such as "acme.io/foo")',)
    errors = subdomain(domain)
    if errors:
        return errors
    if not _DOMAIN_PATH.match(path):
        return ("Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')",)
    return ()


@lru_cache(1024)
def sloppy_ip(value: str) -> IPv4Address | IPv6Address | None:
    """Parse an address as old Go did, leading zeros in IPv4 included; None when it is none."""
    try:
        return ip_address(value) if "%" not in value else None
    except ValueError:
        pass
    parts = value.split(".")
    if len(parts) == 4 and all(p.isascii() and p.isdigit() and int(p) <= 255 for p in parts):
        return IPv4Address(".".join(str(int(p)) for p in parts))
    return None


IP_MESSAGE = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
CIDR_MESSAGE = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def sloppy_cidr(value: str) -> tuple[IPv4Address | IPv6Address, int] | None:
    """Parse a CIDR as old Go did, host bits and leading zeros included, into address and prefix length."""
    address, slash, length = value.partition("/")
    found = sloppy_ip(address)
    if found is None or not slash or not (length.isascii() and length.isdigit()):
        return None
    if int(length) > found.max_prefixlen:
        return None
    return found, int(length)


def has_leading_zeros(value: str) -> bool:
    """Tell whether an IPv4 address (or CIDR) is written with leading zeros."""
    return "." in value and any(len(p) > 1 and p[0] == "0" for p in value.split("/")[0].split("."))


def is_canonical_ip(value: str) -> bool:
    """Tell whether an address is written as it is printed."""
    found = sloppy_ip(value)
    return found is not None and str(found) == value


def network(value: str) -> object:
    """Return the network of a valid CIDR without host bits."""
    return ip_network(value, strict=False)
