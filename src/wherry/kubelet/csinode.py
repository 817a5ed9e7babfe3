"""The CSINode object: what CSI drivers the node has (Kubernetes ``pkg/volume/csi/nodeinfomanager``)."""

import logging

from wherry.api import errors, meta
from wherry.api.resources import CSINODES, NODES
from wherry.client.client import Client
from wherry.util import clock
from wherry.util.backoff import Backoff

log = logging.getLogger(__name__)

_MIGRATED = "storage.alpha.kubernetes.io/migrated-plugins"
_PLUGINS = ("aws-ebs", "azure-disk", "azure-file", "cinder", "gce-pd", "portworx-volume", "vsphere-volume")
_ANNOTATION = ",".join(f"kubernetes.io/{plugin}" for plugin in _PLUGINS)
"""The volume types in the tree that a CSI driver serves in their stead: all of them since 1.33."""


async def initialize(client: Client, node_name: str) -> None:
    """Have a CSINode of the node, trying until it is there.

    An existing one keeps its drivers. As upstream, this is once for each start: one that somebody deletes is back
    after the next.
    """
    backoff = Backoff(0.1, 20.0)
    while True:
        try:
            await _initialize(client, node_name)
            return
        except (errors.StatusError, OSError, TimeoutError) as error:
            log.warning("cannot initialize the CSINode of node %s: %s", node_name, error)
            await clock.sleep(backoff.next())


async def _initialize(client: Client, node_name: str) -> None:
    try:
        existing = await client.get(CSINODES, node_name)
    except errors.NotFound:
        node = await client.get(NODES, node_name)
        owner = {"apiVersion": "v1", "kind": "Node", "name": node_name, "uid": meta.uid(node)}
        metadata = {"name": node_name, "annotations": {_MIGRATED: _ANNOTATION}, "ownerReferences": [owner]}
        await client.create(
            CSINODES,
            {"kind": "CSINode", "apiVersion": "storage.k8s.io/v1", "metadata": metadata, "spec": {"drivers": []}},
        )
        return
    if meta.annotations(existing).get(_MIGRATED) != _ANNOTATION:
        changed = meta.copy(existing)
        changed["metadata"].setdefault("annotations", {})[_MIGRATED] = _ANNOTATION
        await client.update(CSINODES, changed)
