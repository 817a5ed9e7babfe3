"""``wherry down``"""

import click

from wherry.cli.main import name_option
from wherry.cluster.down import down


@click.command("down")
@name_option
def command(name: str) -> None:
    """Stop a cluster's processes; its containers run on.

    'wherry up' resumes it with the containers that still run.
    """
    stopped = down(name)
    click.echo(f"Cluster {name!r} is stopped." if stopped else f"Cluster {name!r} was not running.")
