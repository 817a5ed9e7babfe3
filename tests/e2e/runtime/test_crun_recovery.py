"""Containers outlive the process that started them, and none is lost, doubled or leaked when it is killed."""

# ruff: noqa: ASYNC110, ASYNC220, ASYNC240 (a scenario has its process to itself)

import asyncio
import contextlib
import fcntl
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from tests.e2e import nodeworld
from tests.e2e.nodeworld import World, eventually, scenario, wait_for
from wherry.runtime import processes
from wherry.runtime.protocol import ContainerError, RuntimeEvent
from wherry.util import linux


@scenario
async def test_a_new_runtime_finds_what_runs_and_what_ended_meanwhile(world: World) -> None:
    await world.sandbox()
    await world.create("new", "true")
    await world.run("long", "sh", "-c", "while true; do sleep 0.05; done")
    await world.run("short", "sh", "-c", "while ! ls /tmp/go; do sleep 0.02; done 2>/dev/null; exit 9")
    before = await world.status("long")
    await world.runtime.close()
    Path(f"{world.directory}/images/mounts/short/merged/tmp/go").touch()
    await eventually(Path(f"{world.directory}/run/exits/short").exists)
    world.runtime = world.new_runtime()
    events = world.runtime.events()
    await world.runtime.start()
    assert await world.status("long") == before
    assert [sandbox.ready for sandbox in await world.runtime.list_sandboxes()] == [True]
    if (await world.status("short")).state != "exited":
        await wait_for(events, RuntimeEvent("pod", "short", "exited"))
    short = await world.status("short")
    assert (short.exit_code, short.reason) == (9, "Error")
    assert (await world.runtime.exec_sync("long", ["echo", "hi"], 10)).stdout == b"hi\n"
    await world.runtime.start_container("new")
    await world.runtime.stop_container("long", 0)
    assert (await world.status("long")).exit_code == 137


@scenario
async def test_after_a_reboot_containers_have_ended_unseen(world: World) -> None:
    await world.sandbox()
    await world.run("c", "sleep", "1000")
    pid = (await world.status("c")).pid
    await world.runtime.close()
    state = world.directory / "containers"
    for path in (*state.rglob("record.json"), *state.glob("sandboxes/*.json")):
        path.write_text(path.read_text().replace(linux.boot_id(), "an-earlier-boot"))
    os.kill(pid, signal.SIGKILL)
    await eventually(Path(f"{world.directory}/run/exits/c").exists)
    Path(f"{world.directory}/run/exits/c").unlink()
    world.runtime = world.new_runtime()
    status = await world.status("c")
    assert (status.state, status.exit_code, status.reason) == ("exited", 255, "Unknown")
    assert [sandbox.ready for sandbox in await world.runtime.list_sandboxes()] == [False]


@scenario
async def test_without_its_conmon_a_container_is_ended(world: World) -> None:
    await world.sandbox()
    events = world.runtime.events()
    await world.run("c", "sleep", "1000")
    pid = (await world.status("c")).pid
    for conmon in processes.find("conmon", f"{world.directory}/containers/containers/c"):
        os.kill(conmon, signal.SIGKILL)
    await wait_for(events, RuntimeEvent("pod", "c", "exited"))
    assert (await world.status("c")).exit_code == 255
    assert processes.start_ticks(pid) == 0 or "Z" in Path(f"/proc/{pid}/stat").read_text()


@scenario
async def test_what_ran_and_ended_before_its_start_was_noted_does_not_run_again(world: World) -> None:
    await world.sandbox()
    await world.create("c", "sh", "-c", "echo begun; exit 3")
    record = world.directory / "containers/containers/c/record.json"
    created = record.read_text()
    events = world.runtime.events()
    await world.runtime.start_container("c")
    await wait_for(events, RuntimeEvent("pod", "c", "exited"))
    await world.runtime.close()
    record.write_text(created)
    world.runtime = world.new_runtime()
    events = world.runtime.events()
    if (await world.status("c")).state != "exited":
        await wait_for(events, RuntimeEvent("pod", "c", "exited"))
    status = await world.status("c")
    assert (status.exit_code, status.reason, world.output("c")) == (3, "Error", "begun")
    assert status.created_at <= status.started_at <= status.finished_at


@scenario
async def test_on_a_full_disk_containers_end_stop_and_go(world: World) -> None:
    state = world.directory / "containers"
    state.mkdir()
    linux.mount("tmpfs", str(state), kind="tmpfs", data="size=1m")
    await world.sandbox()
    for name in ("killed", "stopped"):
        await world.run(name, "sleep", "1000")
    await world.run("ended", "sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done")
    await eventually(lambda: world.output("ended") == "ready")
    (state / "fill").write_bytes(b"")
    with contextlib.suppress(OSError), (state / "fill").open("ab", buffering=0) as fill:
        while fill.write(bytes(4096)):
            pass
    events = world.runtime.events()
    os.kill((await world.status("killed")).pid, signal.SIGKILL)
    await wait_for(events, RuntimeEvent("pod", "killed", "exited"))
    await world.runtime.stop_container("stopped", 0)
    os.kill((await world.status("ended")).pid, signal.SIGTERM)
    await wait_for(events, RuntimeEvent("pod", "ended", "exited"))
    wanted = {"killed": (137, "Error"), "stopped": (137, "Error"), "ended": (3, "Error")}
    for _ in range(2):  # a new process finds the same
        async with asyncio.timeout(10):
            while {status.state for status in await world.runtime.list_containers()} != {"exited"}:
                await asyncio.sleep(0.01)
        found = await world.runtime.list_containers()
        assert {status.name: (status.exit_code, status.reason) for status in found} == wanted
        await world.runtime.close()
        world.runtime = world.new_runtime()
    await world.runtime.remove_sandbox("pod")
    assert await world.runtime.list_containers() == []
    (state / "fill").unlink()
    await world.sandbox("next")
    await world.run("after", "sleep", "1000", sandbox_id="next")
    await world.destroy()
    linux.umount(str(state))


@scenario
async def test_two_processes_cannot_use_one_state_directory(world: World) -> None:
    await world.runtime.start()
    try:
        await world.new_runtime().start()
    except ContainerError as error:
        assert "another process" in str(error)
    else:
        raise AssertionError("both started")


@scenario
async def test_what_a_killed_crun_had_begun_is_taken_away_and_made_anew(world: World) -> None:
    await world.sandbox()
    await world.create("c", "sh", "-c", "echo begun; sleep 1000")
    await world.runtime.close()
    half_made = world.directory / "run/crun/c"
    half_made.mkdir(parents=True)
    os.mkfifo(half_made / "exec.fifo")
    world.runtime = world.new_runtime()
    await world.runtime.start_container("c")
    await eventually(lambda: world.output("c") == "begun")
    await world.runtime.remove_sandbox("pod")
    assert not half_made.exists()


@scenario
async def test_what_a_killed_process_still_holds_for_a_moment_is_waited_for(world: World) -> None:
    await world.runtime.start()
    await world.runtime.close()
    held = os.open(f"{world.directory}/containers/lock", os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    asyncio.get_running_loop().call_later(0.1, os.close, held)
    world.runtime = world.new_runtime()
    await world.runtime.start()


@scenario
async def test_kill_9_at_any_moment_loses_and_doubles_nothing(world: World) -> None:
    await world.busybox()
    chooser = random.Random(36)
    for attempt in range(8):
        await world.runtime.close()
        command = [sys.executable, __file__, str(world.directory), str(attempt)]
        env = os.environ | {"PYTHONPATH": str(Path(nodeworld.__file__).parents[2])}
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, env=env)
        assert worker.stdout is not None
        assert await asyncio.to_thread(worker.stdout.readline) == b"ready\n"
        await asyncio.sleep(chooser.uniform(0, 0.15))
        worker.kill()
        worker.wait()
        world.runtime = world.new_runtime()
        statuses = await world.runtime.list_containers()
        for status in statuses:
            assert status.state in ("created", "running"), status
            if status.state == "created":
                await world.runtime.start_container(status.id)
            await eventually(lambda name=status.id: world.output(name) == "begun")  # type: ignore[misc]
        running = processes.find("conmon", f"--runtime-arg=--root={world.directory}/run/crun")
        assert len(running) == len(statuses)
        for sandbox in await world.runtime.list_sandboxes():
            await world.runtime.remove_sandbox(sandbox.id)
        assert processes.find("conmon", f"--runtime-arg=--root={world.directory}/run/crun") == []
        assert processes.find("crun", f"--root={world.directory}/run/crun") == []
        assert os.listdir(f"{world.directory}/run/crun") == []


async def _work_until_killed(directory: Path, attempt: str) -> None:
    world = World(directory)
    await world.runtime.start()
    print("ready", flush=True)
    for number in range(100):
        pod = f"pod-{attempt}-{number}"
        await world.sandbox(pod)
        await world.run(f"{pod}-c", "sh", "-c", "echo begun; sleep 1000", sandbox_id=pod)


if __name__ == "__main__":
    asyncio.run(_work_until_killed(Path(sys.argv[1]), sys.argv[2]))
