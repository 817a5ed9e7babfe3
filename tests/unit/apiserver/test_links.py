"""Links of proxied pages stay below the proxy's path."""

import pytest

from wherry.apiserver.links import LinkRewriter, relocated

PREFIX = "/api/v1/namespaces/d/pods/p/proxy"
HOSTS = frozenset({"10.1.2.3:80", "127.0.0.1:6443"})


@pytest.mark.parametrize(
    ("link", "seen"),
    [
        ("/x?y=1#z", f"{PREFIX}/x?y=1#z"),
        ("/x/", f"{PREFIX}/x/"),
        ("x", "x"),
        ("#here", "#here"),
        ("http://10.1.2.3:80/x", f"{PREFIX}/x"),
        ("https://127.0.0.1:6443/x", f"{PREFIX}/x"),
        ("https://elsewhere.example/x", "https://elsewhere.example/x"),
        (f"{PREFIX}/x", f"{PREFIX}/x"),
        ("http://[broken/x", "http://[broken/x"),
    ],
)
def test_a_link_to_the_target_goes_through_the_proxy(link: str, seen: str) -> None:
    assert relocated(link, PREFIX, HOSTS) == seen


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_page_in_pieces_has_its_links_rewritten_and_nothing_else(size: int) -> None:
    page = (
        b'<a class="/c" href="/rewriteme">test</a> 1 < 2 <IMG SRC=\'/i.png\' alt="/a"><script src=/s.js></script>'
        b'<p href="/not-a-link">\xff</p><a href="/x" title="a>b">'
    )
    prefix = PREFIX.encode()
    wanted = (
        page.replace(b'"/rewriteme"', b'"' + prefix + b'/rewriteme"')
        .replace(b"'/i.png'", b"'" + prefix + b"/i.png'")
        .replace(b"=/s.js", b"=" + prefix + b"/s.js")
        .replace(b'"/x"', b'"' + prefix + b'/x"')
    )
    links = LinkRewriter(PREFIX, HOSTS)
    pieces = [links.feed(page[start : start + size]) for start in range(0, len(page), size)]
    assert b"".join(pieces) + links.close() == wanted
