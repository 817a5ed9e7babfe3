"""Checks of names, labels, ports and addresses (apimachinery ``util/validation``).

Each returns Kubernetes' messages for what is wrong with the value, an empty list when it is right.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Final

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = _LABEL + r"(\." + _LABEL + ")*"
_LABEL_1035: Final = "[a-z]([-a-z0-9]*[a-z0-9])?"
_NAME: Final = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE: Final = "(" + _NAME + ")?"
_C_IDENTIFIER: Final = "[A-Za-z_][A-Za-z0-9_]*"
_CONFIG_KEY: Final = "[-._a-zA-Z0-9]+"
_HTTP_HEADER: Final = "[-A-Za-z0-9]+"
_PERCENT: Final = "[0-9]+%"

_MATCH: Final = {
    text: re.compile(text, re.ASCII).fullmatch
    for text in (
        _LABEL,
        _SUBDOMAIN,
        _LABEL_1035,
        _NAME,
        _VALUE,
        _C_IDENTIFIER,
        _CONFIG_KEY,
        _HTTP_HEADER,
        _PERCENT,
    )
}
_LABEL_RULE: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character"
)
_SUBDOMAIN_RULE: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character"
)
_LABEL_1035_RULE: Final = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character"
)
_NAME_RULE: Final = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
_VALUE_RULE: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character"
)

Check = Callable[[str], list[str]]


def regex_error(rule: str, pattern: str, *examples: str) -> str:
    """Return the message for a value that does not match `pattern`."""
    if not examples:
        return f"{rule} (regex used for validation is '{pattern}')"
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{rule} (e.g. {shown}regex used for validation is '{pattern}')"


def max_length_error(length: int) -> str:
    """Return the message for a value that is too long."""
    return f"must be no more than {length} characters"


def between_error(low: int, high: int) -> str:
    """Return the message for a number out of range."""
    return f"must be between {low} and {high}, inclusive"


def is_dns1123_label(value: str) -> list[str]:
    """Check a label of RFC 1123: names of namespaces, containers and volumes."""
    errors = [max_length_error(63)] if len(value.encode()) > 63 else []
    if not _MATCH[_LABEL](value):
        if _MATCH[_SUBDOMAIN](value):
            return [*errors, "must not contain dots"]
        errors.append(regex_error(_LABEL_RULE, _LABEL, "my-name", "123-abc"))
    return errors


def is_dns1123_subdomain(value: str) -> list[str]:
    """Check a subdomain of RFC 1123: names of most objects."""
    errors = [max_length_error(253)] if len(value.encode()) > 253 else []
    if not _MATCH[_SUBDOMAIN](value):
        errors.append(regex_error(_SUBDOMAIN_RULE, _SUBDOMAIN, "example.com"))
    return errors


def is_dns1035_label(value: str) -> list[str]:
    """Check a label of RFC 1035: names of services."""
    errors = [max_length_error(63)] if len(value.encode()) > 63 else []
    if not _MATCH[_LABEL_1035](value):
        errors.append(regex_error(_LABEL_1035_RULE, _LABEL_1035, "my-name", "abc-123"))
    return errors


def is_wildcard_dns1123_subdomain(value: str) -> list[str]:
    """Check a subdomain with a leading ``*.``: hosts of an Ingress."""
    pattern = r"\*\." + _SUBDOMAIN
    errors = [max_length_error(253)] if len(value.encode()) > 253 else []
    if not re.fullmatch(pattern, value, re.ASCII):
        rule = (
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist "
            "of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
        )
        errors.append(regex_error(rule, pattern, "*.example.com"))
    return errors


def is_fully_qualified_domain_name(value: str) -> list[str]:
    """Check a domain name with at least two parts; a final dot is allowed."""
    if not value:
        return ["must not be empty"]
    value = value.removesuffix(".")
    errors = is_dns1123_subdomain(value)
    if errors:
        return errors
    parts = value.split(".")
    if len(parts) < 2:
        return ["should be a domain with at least two segments separated by dots"]
    return [error for part in parts for error in is_dns1123_label(part)]


def is_domain_prefixed_path(value: str) -> list[str]:
    """Check ``example.com/path``: names of resources of device claims, finalizers and the like."""
    domain, slash, path = value.partition("/")
    if not slash or not domain or not path:
        return ['must be a domain-prefixed path (such as "acme.io/foo")']
    errors = [f"domain part {error}" for error in is_dns1123_subdomain(domain)]
    if not re.fullmatch(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", path, re.ASCII):
        errors.append(regex_error("Invalid path", r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", "ab/cd"))
    return errors


def is_qualified_name(value: str) -> list[str]:
    """Check a name with an optional DNS prefix: keys of labels and annotations, names of resources."""
    parts = value.split("/")
    errors = []
    if len(parts) == 2:
        prefix, name = parts
        if not prefix:
            errors.append("prefix part must be non-empty")
        else:
            errors += [f"prefix part {error}" for error in _in_bytes(is_dns1123_subdomain(prefix))]
    elif len(parts) == 1:
        name = value
    else:
        return [
            regex_error(f"a valid label key {_NAME_RULE}", _NAME, "MyName", "my.name", "123-abc")
            + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    if not name:
        errors.append("name part must be non-empty")
    elif len(name.encode()) > 63:
        errors += _in_bytes([f"name part {max_length_error(63)}"])
    if not _MATCH[_NAME](name):
        errors.append("name part " + regex_error(_NAME_RULE, _NAME, "MyName", "my.name", "123-abc"))
    return errors


def is_label_value(value: str) -> list[str]:
    """Check the value of a label."""
    errors = _in_bytes([max_length_error(63)]) if len(value.encode()) > 63 else []
    if not _MATCH[_VALUE](value):
        errors.append(regex_error(_VALUE_RULE, _VALUE, "MyValue", "my_value", "12345"))
    return errors


def is_c_identifier(value: str) -> list[str]:
    """Check an identifier of C."""
    if _MATCH[_C_IDENTIFIER](value):
        return []
    rule = (
        "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric "
        "characters or '_'"
    )
    return [regex_error(rule, _C_IDENTIFIER, "my_name", "MY_NAME", "MyName")]


def is_env_var_name(value: str) -> list[str]:
    """Check the name of an environment variable: any printable ASCII character but ``=``."""
    if not value:
        return ["environment variable name must be non-empty"]
    if all(" " <= char <= "~" and char != "=" for char in value):
        return []
    return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]


def is_config_map_key(value: str) -> list[str]:
    """Check a key of a ConfigMap or Secret."""
    errors = [max_length_error(253)] if len(value.encode()) > 253 else []
    if not _MATCH[_CONFIG_KEY](value):
        rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        errors.append(regex_error(rule, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    if value == ".":
        errors.append("must not be '.'")
    elif value == "..":
        errors.append("must not be '..'")
    elif value.startswith(".."):
        errors.append("must not start with '..'")
    return errors


def is_http_header_name(value: str) -> list[str]:
    """Check the name of an HTTP header."""
    if _MATCH[_HTTP_HEADER](value):
        return []
    rule = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return [regex_error(rule, _HTTP_HEADER, "X-Header-Name")]


def is_port_number(value: int) -> list[str]:
    """Check the number of a port."""
    return [] if 1 <= value <= 65535 else [between_error(1, 65535)]


def is_port_name(value: str) -> list[str]:
    """Check the name of a port (RFC 6335)."""
    errors = ["must be no more than 15 characters"] if len(value.encode()) > 15 else []
    if not re.fullmatch("[-a-z0-9]+", value, re.ASCII):
        errors.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value, re.ASCII):
        errors.append("must contain at least one letter (a-z)")
    if "--" in value:
        errors.append("must not contain consecutive hyphens")
    if value and (value[0] == "-" or value[-1] == "-"):
        errors.append("must not begin or end with a hyphen")
    return errors


def is_user_id(value: int) -> list[str]:
    """Check the number of a user."""
    return [] if 0 <= value <= 2**31 - 1 else [between_error(0, 2**31 - 1)]


def is_group_id(value: int) -> list[str]:
    """Check the number of a group."""
    return is_user_id(value)


def is_percent(value: str) -> list[str]:
    """Check a percentage."""
    if _MATCH[_PERCENT](value):
        return []
    rule = "a valid percent string must be a numeric string followed by an ending '%'"
    return [regex_error(rule, _PERCENT, "1%", "93%")]


def is_valid_ip(value: str) -> list[str]:
    """Check an IPv4 or IPv6 address."""
    return [] if parse_ip(value) else ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]


def parse_ip(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address as Go's lenient parser reads it (leading zeros in IPv4 are allowed), None when it is none."""
    try:
        if "%" in value:
            return None
        return ipaddress.ip_address(_without_leading_zeros(value))
    except ValueError:
        return None


def is_valid_cidr(value: str) -> list[str]:
    """Check an address block; host bits may be set."""
    address, slash, length = value.partition("/")
    ip = parse_ip(address)
    if ip is None or not slash or not re.fullmatch(r"0|[1-9][0-9]{0,2}", length) or int(length) > ip.max_prefixlen:
        return ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]
    return []


def is_dns1123_subdomain_with_underscore(value: str) -> list[str]:
    """Check a subdomain of RFC 1123 that may contain underscores: DNS search paths."""
    label = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
    pattern = label + r"(\." + label + ")*"
    errors = [max_length_error(253)] if len(value.encode()) > 253 else []
    if not re.fullmatch(pattern, value, re.ASCII):
        rule = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-', '_' or '.', and "
            "must start and end with an alphanumeric character"
        )
        errors.append(regex_error(rule, pattern, "example.com"))
    return errors


def _without_leading_zeros(value: str) -> str:
    if ":" in value or not re.fullmatch(r"[0-9]+(\.[0-9]+){3}", value, re.ASCII):
        return value
    return ".".join(str(int(part)) for part in value.split("."))


def _in_bytes(errors: list[str]) -> list[str]:
    """The rules of labels count bytes where the older ones speak of characters."""
    return [error.removesuffix("characters") + "bytes" if error.endswith("characters") else error for error in errors]
