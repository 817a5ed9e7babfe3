"""Probes: one task per probe of a running container, which reports changes of its verdict.

It is promised that a verdict belongs to one attempt of a container: a restarted container starts with none. An error
that says nothing about the container (the node could not ask) changes no verdict.
"""
