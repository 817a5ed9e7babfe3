"""The node's HTTPS API, which the API server calls: logs, exec, attach, port-forward, statistics (upstream's paths).

Only clients with a certificate of the cluster's authority for ``system:masters``, or whom RBAC allows it, are served;
everything here can read secrets and run commands. The API server of the same machine comes by a Unix socket that only
root may open.
"""
