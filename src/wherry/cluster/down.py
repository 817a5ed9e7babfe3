"""``wherry down`` and ``wherry delete``."""

import shutil
import subprocess
import sys

from wherry.cluster import config as configs
from wherry.cluster import kubeconfig, preflight, process
from wherry.cluster.config import ClusterConfig, ClusterError, Paths


def down(name: str) -> bool:
    """Stop the processes of a cluster; its containers run on. Tell whether anything ran."""
    preflight.check_root()
    config = _existing(name)
    with process.exclusive():
        return _stop(config)


def delete(name: str) -> None:
    """End a cluster's containers and remove all that it left: mounts, namespaces, links, nftables, cgroups, files."""
    preflight.check_root()
    configs.check_name(name)
    paths = Paths(name)
    if not paths.state.exists() and not paths.run.exists():
        raise ClusterError(f"there is no cluster {name!r}")
    with process.exclusive():
        for each in (process.NODE, process.SERVER):
            process.stop(each, paths)
        done = subprocess.run(
            [sys.executable, "-m", "wherry.cluster.destroy", "--name", name],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = done.stderr.strip().splitlines() or ["no reason given"]
            raise ClusterError(f"cluster {name!r} could not be removed: {said[-1]}")
        for directory in (paths.state, paths.logs):
            shutil.rmtree(directory, ignore_errors=True)
        kubeconfig.remove(kubeconfig.user_path(), "wherry" if name == "wherry" else f"wherry-{name}")
    shutil.rmtree(paths.run, ignore_errors=True)


def _existing(name: str) -> ClusterConfig:
    configs.check_name(name)
    config = configs.load(name)
    if config is None:
        raise ClusterError(f"there is no cluster {name!r}: create it with 'wherry up --name {name}'")
    return config


def _stop(config: ClusterConfig) -> bool:
    stopped = [process.stop(each, config.paths) for each in (process.NODE, process.SERVER)]
    return any(stopped)
