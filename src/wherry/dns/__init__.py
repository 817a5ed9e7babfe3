"""The cluster's DNS server: answers for ``cluster.local`` from Services and EndpointSlices, forwards the rest."""
