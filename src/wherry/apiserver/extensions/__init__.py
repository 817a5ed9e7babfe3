"""Custom resources: what the API server does with CustomResourceDefinitions.

`controller.Extensions` follows the definitions: it accepts their names, serves their versions (registry, discovery,
OpenAPI), writes their conditions and, when one is deleted, deletes its objects first. The objects themselves go through
the same handlers as all others; what a definition says about them is `wherry.api.structural.kind.CustomKind`, which
their `Resource` carries.

Promises: when a definition's creation is answered, what it defines is served already, unless its names are taken.
"""
