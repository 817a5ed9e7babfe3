"""For every end-to-end test: one cluster for all that want one, and a check of what they leave behind."""

from collections.abc import Iterator

import pytest

from tests.e2e import leaks
from tests.e2e.cluster import cluster, namespace, served

__all__ = ["cluster", "namespace", "nothing_left_behind", "served"]


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After the last end-to-end test nothing is there that the tests made."""
    yield
    left = leaks.left(tmp_path_factory.getbasetemp())
    assert not left, "left behind:\n" + "\n".join(left)
