"""``wherry image``: its subcommands ask the node process over its Unix socket."""

import http.client
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from wherry.cli.main import name_option
from wherry.cluster import config as configs
from wherry.cluster.config import ClusterError
from wherry.util import clock


@click.group("image")
def command() -> None:
    """Build, load, pull, list and remove the images of a cluster."""


@command.command()
@name_option
@click.argument("context", type=click.Path(exists=True, file_okay=False, resolve_path=True))
@click.option("-t", "--tag", required=True, metavar="REFERENCE", help="The image's name.")
@click.option(
    "-f",
    "--file",
    "dockerfile",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    help="The Dockerfile (default: CONTEXT/Dockerfile).",
)
@click.option("--build-arg", "arguments", multiple=True, metavar="NAME=VALUE", help="A build argument.")
def build(name: str, context: str, tag: str, dockerfile: str | None, arguments: tuple[str, ...]) -> None:
    """Build the image of a Dockerfile with buildah. 'FROM' may name an image of the cluster."""
    request = {
        "context": context,
        "tag": tag,
        "dockerfile": dockerfile or os.path.join(context, "Dockerfile"),
        "arguments": dict(a.partition("=")[::2] for a in arguments),
    }
    _report("Built", _ask(name, "build", request))


@command.command()
@name_option
@click.argument("archive", type=click.Path(exists=True, dir_okay=False, resolve_path=True))
def load(name: str, archive: str) -> None:
    """Load the images of a docker-archive or oci-archive tar."""
    _report("Loaded", _ask(name, "load", {"path": archive}))


@command.command()
@name_option
@click.argument("reference")
def pull(name: str, reference: str) -> None:
    """Pull an image from its registry."""
    _report("Pulled", _ask(name, "pull", {"reference": reference}))


@command.command()
@name_option
@click.argument("references", nargs=-1, required=True)
def rm(name: str, references: tuple[str, ...]) -> None:
    """Remove images by name or id."""
    _ask(name, "rm", {"references": list(references)})
    for reference in references:
        click.echo(f"Removed {reference}")


@command.command()
@name_option
def ls(name: str) -> None:
    """List the images."""
    rows = [("REPOSITORY", "TAG", "IMAGE ID", "SIZE", "AGE")]
    for image in _ask(name, "ls", {}):
        for reference in image["tags"] or ["<none>"]:
            repository, _, tag = reference.rpartition(":") if reference != "<none>" else ("<none>", "", "<none>")
            rows.append(
                (
                    repository,
                    tag,
                    image["id"].removeprefix("sha256:")[:12],
                    _size(image["size"]),
                    _age(image["created"]),
                )
            )
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for row in rows:
        click.echo("   ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]))


def _report(verb: str, images: list[dict[str, Any]]) -> None:
    for image in images:
        names = ", ".join(image["tags"]) or "<none>"
        click.echo(f"{verb} {names} ({image['id'].removeprefix('sha256:')[:12]}, {_size(image['size'])})")


def _ask(name: str, action: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the images that the node process answers with, showing its progress. Raises ClusterError."""
    for line in _lines(configs.Paths(name).node_socket, name, action, request):
        if "progress" in line:
            click.echo(line["progress"], err=True)
        elif "error" in line:
            raise ClusterError(line["error"])
        else:
            images: list[dict[str, Any]] = line["images"]
            return images
    raise ClusterError("the node process broke off; see 'wherry status' for its log")


def _lines(path: Path, name: str, action: str, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.sock.connect(str(path))
    except PermissionError:
        raise ClusterError("the image store belongs to root: call it with sudo") from None
    except OSError:
        raise ClusterError(f"cluster {name!r} is not running: start it with 'wherry up --name {name}'") from None
    connection.request("POST", f"/{action}", json.dumps(request), {"Content-Type": "application/json"})
    with connection.getresponse() as response:
        for line in response:
            yield json.loads(line)


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g}{unit}"
        count /= 1000
    return f"{count:.3g}GB"


def _age(created: float) -> str:
    seconds = max(0, int(clock.seconds() - created))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
