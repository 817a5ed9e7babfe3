"""``wherry delete``"""

import click

from wherry.cli.main import name_option
from wherry.cluster.down import delete


@click.command("delete")
@name_option
def command(name: str) -> None:
    """Remove a cluster with all of its state: objects, containers, images, networks and its kubeconfig context."""
    delete(name)
    click.echo(f"Cluster {name!r} is removed.")
