"""``wherry status``"""

import sys

import click

from wherry.cli.main import name_option
from wherry.cluster import config as configs
from wherry.cluster.config import ClusterError
from wherry.cluster.process import Running
from wherry.cluster.status import Status, status
from wherry.util import clock


@click.command("status")
@name_option
def command(name: str) -> None:
    """Show a cluster's processes, versions, addresses, memory, nodes, pods and logs.

    The exit code is 0 when both of its processes run, 3 otherwise.
    """
    config = configs.load(name)
    if config is None:
        raise ClusterError(f"there is no cluster {name!r}: create it with 'wherry up --name {name}'")
    found = status(config)
    for label, text in _rows(found):
        click.echo(f"{label:<12} {text}")
    if None in found.processes.values():
        sys.exit(3)


def _rows(found: Status) -> list[tuple[str, str]]:
    config = found.config
    rows = [(f"{name} process", _process(running)) for name, running in found.processes.items()]
    rows = [("cluster", config.name), *rows]
    rows += [
        ("memory", f"{found.memory / 2**20:.0f} MiB (Wherry's own processes)"),
        (
            "versions",
            f"wherry {found.version}, Kubernetes {found.kubernetes_version or config.kubernetes_version}"
            + (f", {found.runtime.replace('://', ' ')}" if found.runtime else ""),
        ),
        ("API server", config.server_url),
        ("node", f"{config.node_name} at {config.node_address}, kubelet port {config.kubelet_port}"),
        ("ranges", f"pods {config.pod_cidr}, Services {config.service_cidr}, DNS {config.dns_service_ip}"),
        ("context", config.context),
    ]
    if found.nodes is not None:
        fake = f", {found.fake_nodes} of them fake" if found.fake_nodes else ""
        rows.append(("nodes", f"{found.nodes[0]} of {found.nodes[1]} Ready{fake}"))
    if found.pods is not None:
        phases = ", ".join(f"{count} {phase}" for phase, count in sorted(found.pods.items()))
        rows.append(("pods", f"{sum(found.pods.values())}" + (f" ({phases})" if phases else "")))
    rows += [("state", str(config.paths.state)), ("logs", f"{config.paths.logs}, of containers /var/log/pods")]
    return rows


def _process(running: Running | None) -> str:
    if running is None:
        return "not running"
    minutes, seconds = divmod(int(clock.seconds() - running.started), 60)
    hours, minutes = divmod(minutes, 60)
    age = f"{hours}h{minutes}m" if hours else f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
    return f"running, pid {running.pid}, up {age}, {running.memory / 2**20:.0f} MiB"
