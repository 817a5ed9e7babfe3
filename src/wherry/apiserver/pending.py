"""Stand-ins for two packages of `wherry.api` until they are here: plain patches and no managed fields."""

from typing import Any

Object = dict[str, Any]

try:
    from wherry.api import managedfields, patch
except ImportError:
    import copy

    from wherry.api.errors import UnsupportedMediaType

    class patch:  # type: ignore[no-redef]
        @staticmethod
        def apply_json(obj: Object, operations: Any) -> Object:
            import jsonpatch

            return jsonpatch.apply_patch(copy.deepcopy(obj), operations)  # type: ignore[no-any-return]

        @staticmethod
        def apply_merge(obj: Any, content: Any) -> Any:
            if not isinstance(content, dict):
                return content
            out = dict(obj) if isinstance(obj, dict) else {}
            for key, value in content.items():
                if value is None:
                    out.pop(key, None)
                else:
                    out[key] = patch.apply_merge(out.get(key), value)
            return out

        @staticmethod
        def apply_strategic(obj: Object, content: Any, type_schema: Any) -> Object:
            return patch.apply_merge(obj, content)  # type: ignore[no-any-return]

    class managedfields:  # type: ignore[no-redef]
        @staticmethod
        def track_update(*args: Any, **kwargs: Any) -> list[Object]:
            return []

        @staticmethod
        def reset_fields(*args: Any) -> None:
            return None

        @staticmethod
        def same_but_managed_fields(new: Object, old: Object) -> bool:
            return new == old

        @staticmethod
        def apply(*args: Any, **kwargs: Any) -> Object:
            raise UnsupportedMediaType("415: Unsupported Media Type", {})
