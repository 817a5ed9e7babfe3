"""The patches of the API as pure functions: none changes the object it is given.

::

    apply_json(obj, operations) -> object            # RFC 6902
    apply_merge(obj, patch) -> object                # RFC 7386
    apply_strategic(obj, patch, type_schema) -> obj  # $patch, $setElementOrder, $deleteFromPrimitiveList, $retainKeys

They raise ``StatusError`` of the reason that the API answers with. The result still has to go through
``TypeSchema.conform``, defaulting and validation.
"""

from wherry.api.patch.json import apply_json, strange_members
from wherry.api.patch.merge import apply_merge
from wherry.api.patch.strategic import apply_strategic

__all__ = ["apply_json", "apply_merge", "apply_strategic", "strange_members"]
