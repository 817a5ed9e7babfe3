"""What Kubernetes objects are, as pure functions over the plain JSON ``dict`` of the wire.

Promises: nothing here does I/O, keeps state beyond loaded tables, or changes an object it was given unless the
function's name says so (``default``, ``prune``). Every layer above may use it; it imports only ``wherry.util``.

Objects that come out of a cache are shared and never changed; copy (``meta.copy``) before you change.
"""
