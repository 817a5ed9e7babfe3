"""Short names as Docker reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.images.protocol import ImageError
from wherry.images.reference import parse

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("redis", "docker.io/library/redis:latest"),
        ("redis:7", "docker.io/library/redis:7"),
        ("me/app", "docker.io/me/app:latest"),
        ("docker.io/redis", "docker.io/library/redis:latest"),
        ("index.docker.io/me/app:1", "docker.io/me/app:1"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app:v1", "localhost:5000/app:v1"),
        ("registry.k8s.io/e2e-test-images/agnhost:2.53", "registry.k8s.io/e2e-test-images/agnhost:2.53"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        (f"redis@{DIGEST}", f"docker.io/library/redis@{DIGEST}"),
        (f"redis:7@{DIGEST}", f"docker.io/library/redis@{DIGEST}"),
        ("a__b/c.d-e--f", "docker.io/a__b/c.d-e--f:latest"),
    ],
)
def test_a_reference_is_completed(text: str, full: str) -> None:
    assert str(parse(text)) == full


@pytest.mark.parametrize(
    "text", ["", "Redis", "a:b:c", "a//b", "redis:", "redis@sha256:12", "-a", "a b", "ab" * 32, "../x"]
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(ImageError) as caught:
        parse(text)
    assert caught.value.reason == "InvalidImageName"


def test_upper_case_is_named_as_the_reason() -> None:
    with pytest.raises(ImageError, match=r"repository name \(library/Redis\) must be lowercase"):
        parse("Redis")


@given(st.text(max_size=60))
def test_parsing_is_idempotent(text: str) -> None:
    try:
        first = parse(text)
    except ImageError:
        return
    assert parse(str(first)) == first
