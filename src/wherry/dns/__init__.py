"""The cluster's DNS server: answers for ``cluster.local`` from Services and EndpointSlices, forwards the rest.

Follows Kubernetes' DNS-based service discovery, version 1.1. `names` says what there is at a name (pure, over listers),
`answer` makes responses of it, `forward` asks the host's resolvers, `server` listens, `service` is how pods find it.
"""
