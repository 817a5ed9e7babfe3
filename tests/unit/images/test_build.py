"""What a Dockerfile starts from."""

from pathlib import Path

from wherry.images.build import base_images


def test_base_images_are_those_that_are_no_stage(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text(
        "ARG V=3\nARG BASE\nFROM --platform=linux/amd64 python:$V AS Build\nARG V=9\nRUN x\n"
        "FROM ${BASE:-alpine}\nFROM scratch\nCOPY --from=build /a /b\nCOPY --chown=1 --from=0 /a /b\n"
        "COPY --from=nginx:1 /a \\\n  /b\nFROM build\n"
    )
    assert base_images(str(file), {}) == ["python:3", "alpine", "nginx:1"]
    assert base_images(str(file), {"V": "4", "BASE": "busybox:1"}) == ["python:4", "busybox:1", "nginx:1"]
