"""The logs of pods on disk, and the links by which log shippers find them.

The log of a container is ``/var/log/pods/NAMESPACE_POD_UID/CONTAINER/ATTEMPT.log``. As with upstream's kubelet, a link
``/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log`` leads there: fluent-bit, filebeat, rsyslog and the like watch
that one directory, and read from a name whose log it is. All here blocks.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from wherry.api import meta
from wherry.kubelet.config import KubeletConfig, log_links


def link(config: KubeletConfig, pod: meta.Object, *, container: str, container_id: str, log: str) -> None:
    """Make the link to the log of a container that has started. Raises OSError."""
    os.makedirs(config.log_links, exist_ok=True)
    name = f"{meta.name(pod)}_{meta.namespace(pod)}_{container}-{container_id}.log"
    os.symlink(log, config.log_links / name)


def remove(config: KubeletConfig, pod: meta.Object) -> None:
    """Remove the logs of a pod, and the links to them."""
    logs = config.log_directory(meta.namespace(pod), meta.name(pod), meta.uid(pod))
    shutil.rmtree(logs, ignore_errors=True)
    unlink(config.log_links, f"{meta.name(pod)}_{meta.namespace(pod)}_")


def remove_all(root: Path, uids: Iterable[str]) -> None:
    """Remove the logs below `root` of pods whose names are not known any more, and the links to logs that are gone."""
    for uid in uids:
        for directory in root.glob(f"*_{uid}"):
            shutil.rmtree(directory, ignore_errors=True)
    unlink(log_links(root))


def unlink(links: Path, prefix: str = "") -> None:
    """Remove the links, of names with `prefix`, that lead to no log any more."""
    if links.is_dir():
        for entry in os.scandir(links):
            if entry.name.startswith(prefix) and entry.is_symlink() and not os.path.exists(entry.path):
                Path(entry.path).unlink(missing_ok=True)
