"""``wherry up``"""

from pathlib import Path

import click

from wherry.cli.main import name_option
from wherry.cluster import kubeconfig
from wherry.cluster.up import Options, up
from wherry.util import clock


@click.command("up")
@name_option
@click.option("--kubernetes-version", metavar="VERSION", help="The Kubernetes release to serve (default 1.36).")
@click.option(
    "--api-port", type=click.IntRange(1, 65535), metavar="PORT", help="Port of the API server (default 6443)."
)
@click.option(
    "--kubelet-port", type=click.IntRange(1, 65535), metavar="PORT", help="Port of the kubelet (default 10250)."
)
@click.option("--node-name", metavar="NODE", help="Name of this machine as a node (default: the cluster's name).")
@click.option(
    "--legacy-apis", is_flag=True, help="Serve removed API versions too (extensions/v1beta1, batch/v1beta1 …)."
)
@click.option(
    "--scheduler-config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Profiles of the scheduler: a KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1), kept from now on.",
)
@click.option(
    "--fake-nodes",
    type=click.IntRange(0, 5000),
    metavar="N",
    help="Keep N nodes without machines, whose pods only seem to run (default 0; may change while it is down).",
)
@click.option(
    "--fake-delay",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Time until a pod on a fake node is Ready (default 0).",
)
def command(
    name: str,
    kubernetes_version: str | None,
    api_port: int | None,
    kubelet_port: int | None,
    node_name: str | None,
    legacy_apis: bool,
    scheduler_config: Path | None,
    fake_nodes: int | None,
    fake_delay: float | None,
) -> None:
    """Start a cluster, or say that it runs.

    Returns when the node is Ready. The kubeconfig of the user gets a context 'wherry' ('wherry-NAME' for another name)
    and it becomes the current one. After 'wherry down', a crash or a reboot the cluster goes on from its saved state.
    """
    began = clock.monotonic()
    options = Options(
        kubernetes_version=kubernetes_version,
        api_port=api_port,
        kubelet_port=kubelet_port,
        node_name=node_name,
        legacy_apis=legacy_apis or None,
        fake_nodes=fake_nodes,
        fake_delay=fake_delay,
    )

    def report(step: str, seconds: float) -> None:
        click.echo(f"  {step:<14} {seconds:6.2f} s")

    config, started = up(name, options, report, scheduler_config=scheduler_config)
    if started:
        click.echo(f"Cluster {name!r} is ready after {clock.monotonic() - began:.2f} s: {config.server_url}")
    else:
        click.echo(f"Cluster {name!r} is running: {config.server_url}")
    click.echo(f"Context {config.context!r} is the current one in {kubeconfig.user_path()}; try: kubectl get nodes")
