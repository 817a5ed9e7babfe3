"""What fields objects have: the API definitions of one version, compiled to Python functions on first use.

::

    schema = load()                                   # Kubernetes 1.36, lazy, shared
    pods = schema.for_resource(resources.PODS)        # TypeSchema; for_kind("v1", "Pod") is the same one
    things = from_openapi(crd_schema, api_version="example.com/v1", kind="Thing")

    obj, duplicates = decode_body(raw, "application/json")      # DecodeError: not JSON or YAML, not an object
    obj, unknown, error = pods.conform(obj)                     # a new object, as upstream shows it

``conform`` does what decoding into a Go struct and encoding it again does: unknown members and nulls go away, wrong
types are an error in Go's words, empty members vanish or stay as the Go declaration of the field says, quantities and
times become canonical. `unknown` holds field paths (``spec.containers[0].foo``), `duplicates` texts
(``duplicate field "data.x"``). The definitions do
not tell pointers from values; ``data/gotypes.tsv`` does.
"""

from wherry.api.schema.decode import DecodeError, decode_apply, decode_body, decode_patch, in_order
from wherry.api.schema.load import Schema, load
from wherry.api.schema.structural import from_openapi
from wherry.api.schema.types import Conformed, Field, Type, TypeSchema

__all__ = [
    "Conformed",
    "DecodeError",
    "Field",
    "Schema",
    "Type",
    "TypeSchema",
    "decode_apply",
    "decode_body",
    "decode_patch",
    "from_openapi",
    "in_order",
    "load",
]
