"""The command group and what every command shares: one line for an error, no traceback for a person's mistake."""

import importlib
import sys
from typing import Any

import click

from wherry import __version__
from wherry.cluster.config import ClusterError

_COMMANDS = {
    "up": "Start a cluster, or say that it runs.",
    "down": "Stop a cluster's processes; its containers run on.",
    "delete": "Remove a cluster with all of its state.",
    "status": "Show what runs, where, and how large it is.",
    "kubeconfig": "Print a kubeconfig for a cluster.",
    "image": "Build, load, pull, list and remove images.",
}


class _Lazy(click.Group):
    """Imports a command's module only when it is called: ``wherry up`` must be quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"wherry.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wherry")
def cli() -> None:
    """Kubernetes on this machine: the whole API, real containers, real Service networking."""


def name_option(function: Any) -> Any:
    """Add ``--name``, the cluster that a command is about."""
    return click.option("--name", default="wherry", show_default=True, metavar="NAME", help="The cluster.")(function)


def main() -> None:
    """Run the command line; a `ClusterError` becomes one line on standard error and exit code 1."""
    try:
        cli()
    except ClusterError as error:
        click.echo(f"wherry: {error}", err=True)
        sys.exit(1)
