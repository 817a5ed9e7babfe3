"""A real HTTPS webhook on loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.component.apiserver.admission.webhookserver import Webhook, serving


@pytest.fixture
def webhook(tmp_path: Path) -> Iterator[Webhook]:
    with serving(tmp_path) as hook:
        yield hook
