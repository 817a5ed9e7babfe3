"""The OpenAPI documents of the server: ``/openapi/v2``, ``/openapi/v3`` and one v3 document per group version.

::

    documents = Documents(schema.load(), TABLE, git_version="v1.36.2")
    documents.v2()                       # bytes of JSON; v2_protobuf() the same in protobuf
    documents.v3_index()                 # bytes; each document's address carries the hash of its content
    documents.v3("apis/apps/v1")         # bytes, None when there is no such document
    documents.set_custom(resource, Published(schema))  # and remove_custom(resource)

Documents are made when first asked for and kept as bytes until a custom resource changes.
"""

from wherry.api.openapi.custom import Published
from wherry.api.openapi.documents import Documents

__all__ = ["Documents", "Published"]
