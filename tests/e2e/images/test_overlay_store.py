"""Images loaded, mounted, built and removed for real."""

# ruff: noqa: ASYNC230, ASYNC240 (a scenario has its process to itself)

import asyncio
import os

from tests.e2e.nodeworld import World, busybox_layer, directory_layer, docker_archive, scenario
from wherry.images.protocol import ImageError
from wherry.images.store import OverlayImageStore
from wherry.util import linux


@scenario
async def test_layers_are_stacked_and_roots_are_fresh_and_writable(world: World) -> None:
    path = world.directory / "two.tar"
    upper = directory_layer({"etc/.wh.group": b"", "new": b"hello"})
    docker_archive(path, [busybox_layer(), upper], tags=["localhost:5000/two:v1"], User="app", Cmd=["sh"])
    (image,) = await world.images.load(str(path))
    assert (image.user, image.command, image.tags) == ("app", ("sh",), ["localhost:5000/two:v1"])
    root = await world.images.mount(image.id, "one")
    assert await world.images.mount(image.id, "one") == root
    assert sorted(os.listdir(root)) == ["bin", "etc", "new", "tmp"] and os.listdir(f"{root}/etc") == ["passwd"]
    with open(f"{root}/new", "w") as file:
        file.write("changed")
    with open(f"{await world.images.mount(image.id, 'two')}/new") as file:
        assert file.read() == "hello"
    await world.images.unmount("one")
    assert not os.path.exists(root)
    user = await world.images.resolve_user(await world.images.mount(await world.busybox(), "three"), "app")
    assert (user.uid, user.gid, user.additional_gids, user.home) == (1000, 1001, (50,), "/home/app")


@scenario
async def test_an_image_of_very_many_layers_can_be_mounted(world: World) -> None:
    layers = [directory_layer({f"file-{number}": b"x"}) for number in range(120)]
    path = world.directory / "many.tar"
    docker_archive(path, layers, tags=["many"])
    (image,) = await world.images.load(str(path))
    assert len(os.listdir(await world.images.mount(image.id, "many"))) == 120


@scenario
async def test_an_image_is_found_by_every_name_and_survives_a_restart(world: World) -> None:
    image_id = await world.busybox()
    for store in (world.images, OverlayImageStore(f"{world.directory}/images")):
        for name in ("busybox:1", "docker.io/library/busybox:1", image_id, image_id[7:], image_id[7:19]):
            found = await store.find(name)
            assert found is not None and found.id == image_id, name
        assert await store.find("busybox") is None


@scenario
async def test_a_mounted_image_is_deleted_only_when_unmounted(world: World) -> None:
    image_id = await world.busybox()
    await world.images.mount(image_id, "root")
    try:
        await world.images.remove(image_id)
    except ImageError as error:
        assert error.reason == "ImageInUse"
    await world.images.remove("busybox:1")
    assert await world.images.find("busybox:1") is None and await world.images.find(image_id) is not None
    await world.images.unmount("root")
    assert await world.images.list() == []
    assert os.listdir(f"{world.directory}/images/layers") == ["empty"]
    assert os.listdir(f"{world.directory}/images/blobs/sha256") == []


@scenario
async def test_a_hostile_archive_is_refused_and_leaves_nothing(world: World) -> None:
    path = world.directory / "evil.tar"
    docker_archive(path, [directory_layer({"../../evil": b"x"})], tags=["evil"])
    try:
        await world.images.load(str(path))
    except ImageError:
        assert await world.images.list() == []
    else:
        raise AssertionError("it was loaded")
    for left, there in {"layers": ["empty"], "blobs/sha256": [], "tmp": []}.items():
        assert os.listdir(f"{world.directory}/images/{left}") == there


@scenario
async def test_buildah_builds_from_a_local_image(world: World) -> None:
    await world.busybox()
    context = world.directory / "context"
    context.mkdir()
    (context / "file").write_text("of the context\n")
    (context / "Dockerfile").write_text(
        "ARG TAG\nFROM busybox:$TAG AS first\nRUN echo made > /made\nFROM busybox:1\n"
        'COPY --from=first /made /made\nCOPY file /\nCMD ["cat", "/made", "/file"]\n'
    )
    image = await world.images.build(str(context), tag="built:1", build_args={"TAG": "1"})
    assert image.tags == ["docker.io/library/built:1"]
    await world.sandbox()
    root = await world.images.mount(image.id, "built")
    with open(f"{root}/made") as made, open(f"{root}/file") as copied:
        assert (made.read(), copied.read()) == ("made\n", "of the context\n")


@scenario
async def test_images_are_built_at_once(world: World) -> None:
    await world.busybox()
    contexts = [world.directory / f"context-{number}" for number in range(4)]
    for number, context in enumerate(contexts):
        context.mkdir()
        steps = "".join(f"RUN echo {number}-{step} >>/made\n" for step in range(3))
        (context / "Dockerfile").write_text(f"FROM busybox:1\n{steps}")
    async with asyncio.TaskGroup() as group:
        for number, context in enumerate(contexts):
            group.create_task(world.images.build(str(context), tag=f"built:{number}"))
    for number in range(len(contexts)):
        image = await world.images.find(f"built:{number}")
        assert image is not None
        with open(f"{await world.images.mount(image.id, str(number))}/made") as made:
            assert made.read() == "".join(f"{number}-{step}\n" for step in range(3))
    assert linux.mounts_below(f"{world.directory}/images/buildah") == []
