"""Pod networking: a namespace, a veth pair and an address for each pod, on one bridge for each cluster.

Knows no Kubernetes kind. Uses netlink in process (pyroute2): no subprocess for a pod.
"""
