"""Whatever moment the server process dies at, the cluster ends where it would have come to undisturbed."""

from pathlib import Path

from tests.e2e.scale.chaos import siege


async def test_deployments_end_the_same_after_the_server_was_killed_four_times(tmp_path: Path) -> None:
    found = await siege(tmp_path, nodes=20, deployments=10, size=20, kills=4, seed=1, pause=(1.0, 4.0))
    assert found.killed == 4
