"""Structural schemas: what a CustomResourceDefinition says about its objects, compiled to Python functions.

A schema is the JSON of ``openAPIV3Schema``. Promises: nothing given is changed; what a function returns is the given
value itself when there was nothing to do. The functions know one schema each; which object needs which of them, and in
which order, is for the caller (`kind.CustomKind` is the bundle that the API server uses).

- `prune`: drop what the schema does not name; `default`: fill in what is absent.
- `validate`: the values (types, bounds, patterns, compositions) in the words of the API server's OpenAPI validator,
  `lists`: keys of list-maps and members of sets, embedded objects; `rules`: ``x-kubernetes-validations``.
"""
