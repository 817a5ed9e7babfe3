"""What a container sees and what the runtime reports of it."""

# ruff: noqa: ASYNC230, ASYNC240 (a scenario has its process to itself)

import asyncio
import os

import pytest

from tests.e2e.nodeworld import World, eventually, scenario
from wherry.runtime.handlers import Program
from wherry.runtime.protocol import ContainerError, Mount, Resources


@scenario
async def test_exit_code_log_and_times_of_a_container(world: World) -> None:
    await world.sandbox()
    status = await world.run_to_end("c", "sh", "-c", "hostname; echo oops >&2; exit 3")
    assert (status.state, status.exit_code, status.reason) == ("exited", 3, "Error")
    assert status.created_at <= status.started_at <= status.finished_at + 0.01
    assert sorted(world.log("c")) == [("stderr", "oops"), ("stdout", "a-pod")]


@scenario
async def test_a_signal_shows_as_128_and_its_number(world: World) -> None:
    await world.sandbox()
    await world.run("c", "sh", "-c", "trap 'exit 5' TERM; echo ready; while true; do sleep 0.02; done")
    await world.run("stubborn", "sleep", "1000")
    await eventually(lambda: "ready" in world.output("c"))
    await world.runtime.stop_container("c", 10)
    await world.runtime.stop_container("stubborn", 0.1)
    assert (await world.status("c")).exit_code == 5
    assert (await world.status("stubborn")).exit_code == 137


@scenario
async def test_a_program_that_is_not_there_is_a_start_error(world: World) -> None:
    await world.sandbox()
    await world.create("c", "no-such-program")
    try:
        await world.runtime.start_container("c")
    except ContainerError as error:
        assert error.reason == "RunContainerError" and "no-such-program" in str(error)
    else:
        raise AssertionError("it started")
    status = await world.status("c")
    assert (status.state, status.exit_code, status.reason) == ("exited", 128, "StartError")


@scenario
async def test_user_capabilities_and_seccomp_are_in_force(world: World) -> None:
    await world.sandbox()
    show = "id -u; id -g; id -Gn; cat /proc/self/status"
    groups = {"uid": 1000, "gid": 1001, "additional_gids": (50,)}
    await world.run_to_end("user", "sh", "-c", show, no_new_privileges=True, **groups)
    seen = world.output("user").splitlines()
    assert seen[:2] == ["1000", "1001"] and set(seen[2].split()) == {"app", "extra"}
    assert {"CapEff:\t0000000000000000", "Seccomp:\t2", "NoNewPrivs:\t1"} <= set(seen)
    await world.run_to_end("root", "sh", "-c", "mount -t tmpfs none /tmp; echo $?; ls /proc/acpi /sys/firmware | cat")
    assert world.output("root").splitlines()[0] != "0"
    await world.run_to_end(
        "privileged",
        "sh",
        "-c",
        "mount -t tmpfs none /tmp; echo $?; ls /dev/kmsg",
        privileged=True,
        capabilities=("CAP_SYS_ADMIN",),
    )
    assert world.output("privileged").splitlines() == ["0", "/dev/kmsg"]


@scenario
async def test_containers_of_a_sandbox_share_ipc_and_shm_but_not_processes(world: World) -> None:
    await world.sandbox()
    namespaces = "for n in ipc uts net pid; do readlink /proc/self/ns/$n; done"
    await world.run("a", "sh", "-c", f"echo hello > /dev/shm/file; {namespaces}; sleep 1000")
    await eventually(lambda: len(world.output("a").splitlines()) == 4)
    await world.run_to_end("b", "sh", "-c", f"{namespaces}; cat /dev/shm/file")
    a, b = world.output("a").splitlines(), world.output("b").splitlines()
    assert a[:3] == b[:3] and a[3] != b[3]
    assert b[4] == "hello"
    assert a[0] != os.readlink("/proc/self/ns/ipc") and a[1] != os.readlink("/proc/self/ns/uts")


@scenario
async def test_a_shared_process_namespace_has_an_init_that_reaps(world: World) -> None:
    await world.sandbox(share_process_namespace=True)
    await world.run("a", "sleep", "1000")
    await world.run_to_end("b", "sh", "-c", "(sleep 0.05 &); sleep 0.3; ps")
    seen = world.output("b")
    assert "/pause" in seen and "sleep 1000" in seen
    assert "[sleep]" not in seen
    pid = (await world.status("a")).pid
    await world.runtime.stop_sandbox("pod")
    assert not os.path.exists(f"/proc/{pid}")


@scenario
async def test_memory_limit_kills_and_says_so(world: World) -> None:
    await world.sandbox(resources=Resources(memory_limit=200 << 20))
    limited = Resources(memory_limit=16 << 20, cpu_shares=128, cpu_quota=50_000, cpu_period=100_000, pids_limit=20)
    status = await world.run_to_end("c", "dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1", resources=limited)
    assert (status.exit_code, status.reason) == (137, "OOMKilled")


@scenario
async def test_limits_of_a_running_container_can_be_raised_and_lowered(world: World) -> None:
    await world.sandbox()
    await world.run("c", "sleep", "1000", resources=Resources(memory_limit=16 << 20))
    for limit in (64 << 20, 32 << 20):
        await world.runtime.update_resources("c", Resources(memory_limit=limit, cpu_shares=512))
        name = "memory.limit_in_bytes" if os.path.exists("/sys/fs/cgroup/memory") else "memory.max"
        found = [
            f"{path}/{name}"
            for path, _, files in os.walk("/sys/fs/cgroup")
            if path.endswith("/pod/c") and name in files
        ]
        with open(found[0]) as file:
            assert int(file.read()) == limit
    stats = await world.runtime.stats("c")
    assert stats is not None and stats.pids == 1 and 0 < stats.memory_working_set <= stats.memory_usage
    assert await world.runtime.sandbox_stats("pod") is not None


@scenario
async def test_mounts_are_read_only_shared_and_passed_on(world: World) -> None:
    await world.sandbox()
    source = world.directory / "volume"
    source.mkdir()
    (source / "file").write_text("data\n")
    mounts = [
        Mount(source=str(source), destination="/a", read_only=True),
        Mount(source=str(source), destination="/b", propagation="rslave"),
        Mount(source="tmpfs", destination="/c", type="tmpfs", options=["size=1m"]),
    ]
    await world.run_to_end("c", "sh", "-c", "cat /a/file; touch /a/x; echo $?; touch /b/y /c/z; echo $?", mounts=mounts)
    assert world.output("c").splitlines() == ["data", "1", "0"]
    assert sorted(path.name for path in source.iterdir()) == ["file", "y"]


@scenario
async def test_exec_passes_output_input_and_exit_code(world: World) -> None:
    await world.sandbox()
    await world.run("c", "sleep", "1000", env=[("NAME", "value")], uid=1000)
    result = await world.runtime.exec_sync("c", ["sh", "-c", "echo $NAME; id -u; echo oops >&2; exit 7"], 10)
    assert (result.exit_code, result.stdout, result.stderr) == (7, b"value\n1000\n", b"oops\n")
    assert (await world.runtime.exec_sync("c", ["sh", "-c", "echo said >&2; exit 255"], 10)).exit_code == 255
    with pytest.raises(ContainerError, match="executable file `/nope` not found in"):
        await world.runtime.exec_sync("c", ["/nope"], 10)
    data = os.urandom(2_000_000)
    session = await world.runtime.exec("c", ["cat"], stdin=True, tty=False)
    async with asyncio.TaskGroup() as group:
        group.create_task(_send(session, data))
        got = group.create_task(session.stdout.read())
    assert got.result() == data
    assert await session.wait() == 0
    await session.close()


async def _send(session, data: bytes) -> None:  # type: ignore[no-untyped-def]
    await session.write_stdin(data)
    await session.close_stdin()


@scenario
async def test_many_execs_at_once(world: World) -> None:
    await world.sandbox()
    await world.run("c", "sleep", "1000")
    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(world.runtime.exec_sync("c", ["echo", str(n)], 20)) for n in range(20)]
    assert [run.result().stdout for run in runs] == [f"{n}\n".encode() for n in range(20)]


@scenario
async def test_exec_that_takes_too_long_is_killed(world: World) -> None:
    await world.sandbox()
    await world.run("c", "sleep", "1000")
    try:
        await world.runtime.exec_sync("c", ["sleep", "999"], 0.2)
    except TimeoutError:
        seen = await world.runtime.exec_sync("c", ["ps"], 10)
        assert b"sleep 1000" in seen.stdout
        assert b"sleep 999" not in seen.stdout and b"[sleep]" not in seen.stdout
    else:
        raise AssertionError("no timeout")


@scenario
async def test_exec_with_a_terminal_has_a_size_and_ends_when_closed(world: World) -> None:
    await world.sandbox()
    await world.run("c", "sleep", "1000")
    session = await world.runtime.exec(
        "c", ["sh", "-c", "read x; stty size; tty; echo $x $TERM; exit 4"], stdin=True, tty=True
    )
    await session.resize(100, 40)
    await session.write_stdin(b"hello\n")
    seen = await session.stdout.read()
    assert b"40 100\r\n/dev/pts/0\r\nhello xterm\r\n" in seen
    assert await session.wait() == 4
    await session.close()
    quick = await world.runtime.exec("c", ["stty", "size"], stdin=False, tty=True, size=(97, 31))
    assert await quick.stdout.read() == b"31 97\r\n"
    await quick.close()
    endless = await world.runtime.exec("c", ["sh"], stdin=True, tty=True)
    await endless.close()
    assert (await world.runtime.exec_sync("c", ["ps"], 10)).stdout.count(b"sh") == 0


@scenario
async def test_attach_carries_both_streams_and_half_close(world: World) -> None:
    await world.sandbox()
    await world.run(
        "c", "sh", "-c", "while read x; do echo got $x; echo err $x >&2; done; echo end", stdin=True, stdin_once=True
    )
    session = await world.runtime.attach("c")
    assert session.stderr is not None
    await session.write_stdin(b"one\n")
    assert await session.stdout.readline() == b"got one\n"
    assert await session.stderr.readline() == b"err one\n"
    await session.close_stdin()
    assert await session.stdout.read() == b"end\n"
    assert await session.wait() == 0
    await session.close()
    assert world.output("c").splitlines() == ["got one", "end"]


@scenario
async def test_attach_to_a_terminal_resizes_it(world: World) -> None:
    await world.sandbox()
    await world.run("c", "sh", "-c", "while read x; do stty size; done", tty=True, stdin=True)
    session = await world.runtime.attach("c")
    assert session.stderr is None
    await session.resize(77, 33)
    async with asyncio.timeout(10):
        line = b"\r\n"
        while line != b"33 77\r\n":
            assert line
            if line == b"\r\n" or b"stty" in line:  # an echo, or nothing yet: conmon takes size and input by two ways
                await session.write_stdin(b"\n")
            line = await session.stdout.readline()
    await session.close()


@scenario
async def test_a_rotated_log_is_opened_anew(world: World) -> None:
    await world.sandbox()
    await world.run("c", "sh", "-c", "echo one; while ! cat /tmp/go 2>/dev/null; do sleep 0.02; done; sleep 1000")
    await eventually(lambda: world.output("c") == "one")
    log = world.directory / "logs" / "c.log"
    log.rename(f"{log}.1")
    await world.runtime.reopen_log("c")
    await eventually(log.exists)
    await world.runtime.exec_sync("c", ["sh", "-c", "echo two > /tmp/go"], 10)
    await eventually(lambda: world.output("c") == "two")


@scenario
async def test_sysctls_are_those_of_the_sandbox(world: World) -> None:
    with open("/proc/sys/kernel/shm_rmid_forced") as file:
        before = file.read()
    await world.sandbox(sysctls={"kernel.shm_rmid_forced": "1"})
    await world.run_to_end("c", "cat", "/proc/sys/kernel/shm_rmid_forced")
    assert world.output("c") == "1"
    with open("/proc/sys/kernel/shm_rmid_forced") as file:
        assert file.read() == before


@scenario
async def test_a_handler_runs_its_own_program_and_what_it_ran_outlives_it(world: World) -> None:
    told, program = world.directory / "told", world.directory / "other"
    program.write_text(f'#!/bin/sh\necho "$*" >> {told}\nexec crun "$@"\n')
    program.chmod(0o755)
    world.runtime = world.new_runtime(other=Program(str(program), ("--cgroup-manager=cgroupfs",)))
    await world.sandbox(handler="other")
    await world.run("c", "sleep", "1000")
    assert (await world.runtime.exec_sync("c", ["echo", "hi"], 10)).stdout == b"hi\n"
    assert list(world.runtime.handlers) == ["", "crun", "other"]
    calls = [line.split() for line in told.read_text().splitlines()]
    assert {call[0] for call in calls} == {f"--root={world.directory}/run/runtimes/other"}
    verbs = [next(word for word in call if not word.startswith("--")) for call in calls]
    assert verbs == ["create", "start", "exec"]
    await world.runtime.close()
    world.runtime = world.new_runtime()  # whose administrator has taken the handler away
    assert (await world.status("c")).state == "running"
    await world.runtime.remove_sandbox("pod")
    assert await world.runtime.list_containers() == []
