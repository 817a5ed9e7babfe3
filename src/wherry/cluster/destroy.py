"""``python -m wherry.cluster.destroy --name NAME``: end a cluster's containers and take back all it made of the kernel.

The processes of the cluster must have ended. A process of its own, because it enters the node's mount namespace.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from wherry.cluster import config as configs
from wherry.cluster.config import ClusterConfig, ClusterError, Paths
from wherry.cluster.node import make_network, make_runtime
from wherry.kubelet import podlogs
from wherry.kubelet.config import LOG_ROOT
from wherry.proxy import proxy
from wherry.runtime import mountns


async def destroy(config: ClusterConfig) -> None:
    """Remove containers and their logs, cgroups, namespaces, links and nftables tables."""
    await make_runtime(config).destroy()
    await asyncio.to_thread(_remove_logs, config.paths.state / "pods")
    await make_network(config).destroy()
    await proxy.destroy(config.name)


def _remove_logs(pods: Path) -> None:
    if pods.is_dir():
        podlogs.remove_all(LOG_ROOT, os.listdir(pods))


def main() -> None:
    """Parse the arguments and destroy."""
    parser = argparse.ArgumentParser(prog="wherry-destroy", description=__doc__)
    parser.add_argument("--name", required=True, help="the cluster")
    name = parser.parse_args().name
    path = str(Paths(name).mount_namespace)
    try:
        config = configs.load(name)
        if config is not None:
            child = os.fork()
            if child == 0:
                mountns.enter(path)
                asyncio.run(destroy(config))
                os._exit(0)
            _, status = os.waitpid(child, 0)
            if status != 0:
                raise ClusterError("its containers or networks could not be removed")
        mountns.destroy(path)
    except (ClusterError, OSError) as error:
        sys.exit(f"wherry: {error}")


if __name__ == "__main__":
    main()
