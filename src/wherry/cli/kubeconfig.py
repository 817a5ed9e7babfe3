"""``wherry kubeconfig``"""

import click

from wherry.cli.main import name_option
from wherry.cluster import config as configs
from wherry.cluster import kubeconfig
from wherry.cluster.config import ClusterError
from wherry.cluster.files import KeyPair


@click.command("kubeconfig")
@name_option
@click.option("--internal", is_flag=True, help="With the node's address instead of 127.0.0.1, for other machines.")
def command(name: str, internal: bool) -> None:
    """Print a kubeconfig of the cluster's administrator."""
    config = configs.load(name)
    if config is None:
        raise ClusterError(f"there is no cluster {name!r}: create it with 'wherry up --name {name}'")
    pki = config.paths.pki
    server = f"https://{config.node_address}:{config.api_port}" if internal else None
    try:
        entries = kubeconfig.entries(
            config, pki / "ca.crt", KeyPair(pki / "admin.crt", pki / "admin.key"), server=server
        )
    except PermissionError:
        raise ClusterError("the administrator's key is readable by root only: call it with sudo") from None
    click.echo(kubeconfig.dump(entries), nl=False)
