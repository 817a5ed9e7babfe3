"""Clusters of fake nodes: a control plane in a process of its own that can be killed."""
