"""What the file of a store holds when it is to be encrypted."""

import base64
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from wherry.store.encryption import EncryptionError, Sealer
from wherry.store.sqlite import SQLiteStore

SECRET, OTHER = "/registry/core/secrets/a/s", "/registry/core/configmaps/a/c"
FIRST, SECOND = ({"name": name, "secret": base64.b64encode(name.encode() * 16).decode()} for name in ("a", "b"))


def sealer(*providers: dict[str, Any], resources: tuple[str, ...] = ("secrets",)) -> Sealer:
    rule = {"resources": list(resources), "providers": list(providers)}
    return Sealer({"kind": "EncryptionConfiguration", "resources": [rule]})


def gcm(*keys: dict[str, str]) -> dict[str, Any]:
    return {"aesgcm": {"keys": list(keys)}}


async def written(path: Path, sealing: Sealer | None, **values: bytes) -> None:
    store = SQLiteStore(path, sealer=sealing)
    for key, value in values.items():
        current = store.latest(key)
        await store.write(key, lambda _, value=value: value, expected=current.revision if current else 0)  # type: ignore[misc]
    await store.close()


def on_disk(path: Path) -> dict[str, bytes]:
    connection = sqlite3.connect(path)
    found = dict(connection.execute("SELECT key, value FROM log ORDER BY revision").fetchall())
    connection.close()
    return found


async def read(path: Path, sealing: Sealer | None, key: str) -> bytes | None:
    store = SQLiteStore(path, sealer=sealing)
    record = store.get(key)
    await store.close()
    return record.value if record is not None else None


async def test_only_what_the_configuration_names_is_sealed(tmp_path: Path) -> None:
    path = tmp_path / "db"
    await written(path, sealer(gcm(FIRST)), **{SECRET: b"hidden", OTHER: b"plain"})
    found = on_disk(path)
    assert found[SECRET].startswith(b"k8s:enc:aesgcm:v1:a:") and b"hidden" not in found[SECRET]
    assert found[OTHER] == b"plain"
    assert await read(path, sealer(gcm(FIRST)), SECRET) == b"hidden"


async def test_a_start_seals_anew_what_another_key_or_none_sealed(tmp_path: Path) -> None:
    path = tmp_path / "db"
    await written(path, None, **{SECRET: b"hidden"})
    await written(path, sealer(gcm(FIRST), {"identity": {}}))
    assert on_disk(path)[SECRET].startswith(b"k8s:enc:aesgcm:v1:a:")
    assert b"hidden" not in path.read_bytes()
    await written(path, sealer(gcm(SECOND, FIRST)))
    assert on_disk(path)[SECRET].startswith(b"k8s:enc:aesgcm:v1:b:")
    assert await read(path, sealer(gcm(SECOND)), SECRET) == b"hidden"


async def test_a_value_without_its_key_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "db"
    await written(path, sealer(gcm(FIRST)), **{SECRET: b"hidden"})
    with pytest.raises(EncryptionError, match=SECRET):
        SQLiteStore(path, sealer=sealer(gcm(SECOND)))


def test_a_value_is_good_for_its_own_key_only() -> None:
    sealing = sealer(gcm(FIRST))
    with pytest.raises(EncryptionError):
        sealing.open(SECRET + "2", sealing.seal(SECRET, b"hidden"))


@pytest.mark.parametrize(
    ("pattern", "key", "covered"),
    [
        ("*.*", "/registry/apps/deployments/a/d", True),
        ("*.apps", "/registry/apps/deployments/a/d", True),
        ("*.", "/registry/apps/deployments/a/d", False),
        ("*.", OTHER, True),
        ("deployments.apps", "/registry/apps/deployments/a/d", True),
        ("deployments", "/registry/apps/deployments/a/d", False),
    ],
)
def test_patterns_name_resources_and_groups(pattern: str, key: str, covered: bool) -> None:
    sealed = sealer({"aescbc": {"keys": [FIRST]}}, resources=(pattern,)).seal(key, b"value")
    assert sealed.startswith(b"k8s:enc:aescbc:v1:a:") is covered
