"""The container runtime, shaped like CRI: sandboxes, containers, exec, attach, logs.

Knows no Kubernetes kind; the kubelet translates. The default backend drives ``crun`` under ``conmon``, so containers
survive a restart of the node process.
"""
