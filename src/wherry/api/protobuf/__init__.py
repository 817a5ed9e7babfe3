"""Kubernetes' protobuf form of built-in kinds (``application/vnd.kubernetes.protobuf``), as Go clients send it.

A body is four magic bytes and a ``runtime.Unknown`` envelope that names apiVersion and kind around the encoded object.
The field numbers are data (``api/data/protobuf.tsv``), the shapes are those of the API definitions. A field that Go
always writes arrives with its zero value; `wherry.api.schema` drops it again where JSON would not show it.
"""

from wherry.api.protobuf.decode import ProtobufError, decode
from wherry.api.protobuf.encode import encode, encode_body, envelope, list_body, watch_frame
from wherry.api.protobuf.messages import knows
from wherry.api.protobuf.wire import MAGIC, message

__all__ = [
    "MAGIC",
    "ProtobufError",
    "decode",
    "encode",
    "encode_body",
    "envelope",
    "knows",
    "list_body",
    "message",
    "watch_frame",
]
