"""Links in what the API server passes on: those to the target's own paths go on working below the proxy's path.

The rules are those of apimachinery's ``util/proxy.Transport``.
"""

import re
from urllib.parse import urlsplit

_ATTRIBUTES = {
    "a": "href", "applet": "codebase", "area": "href", "audio": "src", "base": "href", "blockquote": "cite",
    "body": "background", "button": "formaction", "command": "icon", "del": "cite", "embed": "src", "form": "action",
    "frame": "longdesc src", "head": "profile", "html": "manifest", "iframe": "longdesc src",
    "img": "longdesc src usemap", "input": "formaction src usemap", "ins": "cite", "link": "href",
    "object": "classid codebase data usemap", "q": "cite", "script": "src", "source": "src", "track": "src",
    "video": "poster src",
}  # fmt: skip
"""Which attributes of which tags hold a URL (the HTML standard's index of attributes)."""

_TAG = re.compile(rb"""<([a-zA-Z][a-zA-Z0-9]*)(\s(?:"[^"]*+"|'[^']*+'|[^'">])*)>""")
_BEGUN = re.compile(rb"""<(?:[a-zA-Z][a-zA-Z0-9]*+(?:\s(?:"[^"]*+"|'[^']*+'|[^'">])*(?:"[^"]*+|'[^']*+)?)?)?\Z""")
"""A tag that the next piece may end. Each alternative begins with another character, so that there is one way to match
at most. Groups are not possessive: Python before 3.11.5 takes those wrongly (gh-106052)."""

_ATTRIBUTE = re.compile(rb"""(\s)([a-zA-Z-]+)(\s*=\s*)("[^"]*"|'[^']*'|[^\s"'>]+)""")
_LONGEST_TAG = 1 << 16


def relocated(link: str, prefix: str, hosts: frozenset[str]) -> str:
    """Return `link` as seen through a proxy at the path `prefix`; `hosts` are the names that the target goes by."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return link
    if not prefix or not parts.path.startswith("/") or (parts.netloc and parts.netloc not in hosts):
        return link
    path = parts.path if parts.path.startswith(prefix) else prefix + parts.path
    return parts._replace(scheme="", netloc="", path=path).geturl()


class LinkRewriter:
    """Rewrites the links of an HTML page that comes in pieces; what is not a link stays as it is, byte by byte."""

    def __init__(self, prefix: str, hosts: frozenset[str]) -> None:
        self._prefix = prefix
        self._hosts = hosts
        self._rest = b""

    def feed(self, piece: bytes) -> bytes:
        """Take the next piece and return what is ready: everything but a tag that has only begun."""
        data, ready, at = self._rest + piece, bytearray(), 0
        while (start := data.find(b"<", at)) >= 0:
            ready += data[at:start]
            if tag := _TAG.match(data, start):
                ready += self._tag(tag)
                at = tag.end()
            elif len(data) - start <= _LONGEST_TAG and _BEGUN.match(data, start):
                self._rest = data[start:]
                return bytes(ready)
            else:
                ready += b"<"
                at = start + 1
        self._rest = b""
        return bytes(ready + data[at:])

    def close(self) -> bytes:
        """Return what is left at the end of the page."""
        rest, self._rest = self._rest, b""
        return rest

    def _tag(self, match: re.Match[bytes]) -> bytes:
        wanted = _ATTRIBUTES.get(match[1].lower().decode(), "").split()
        if not wanted:
            return match[0]

        def attribute(found: re.Match[bytes]) -> bytes:
            if found[2].lower().decode() not in wanted:
                return found[0]
            value = found[4]
            quote = value[:1] if value[:1] in (b'"', b"'") else b""
            link = value.strip(quote).decode("latin-1") if quote else value.decode("latin-1")
            return found[1] + found[2] + found[3] + quote + self._link(link) + quote

        return b"<" + match[1] + _ATTRIBUTE.sub(attribute, match[2]) + b">"

    def _link(self, link: str) -> bytes:
        return relocated(link, self._prefix, self._hosts).encode("latin-1")
