"""The events of one request."""

from collections.abc import Mapping
from typing import Any

from wherry.apiserver.attributes import Attributes, UserInfo
from wherry.apiserver.audit.policy import Decision
from wherry.util import clock

Object = dict[str, Any]


class Record:
    """Collects what is known of a request and makes its event at each stage. Objects are shared and never changed."""

    def __init__(self, audit_id: str, decision: Decision, attributes: Attributes, *, uri: str, source: str, agent: str):
        self.decision = decision
        self.annotations: dict[str, str] = {}
        self.request_object: Any = None
        self.response_object: Any = None
        self.response_status: Object | None = None
        self.impersonated: UserInfo | None = None
        self._id = audit_id
        self._attributes = attributes
        self._received = clock.micro_timestamp()
        self._uri, self._source, self._agent = uri, source, agent

    def event(self, stage: str) -> Object | None:
        """Return the event of a stage, None when the policy leaves it out."""
        if stage in self.decision.omit_stages:
            return None
        a = self._attributes
        out: Object = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": self.decision.level,
            "auditID": self._id,
            "stage": stage,
            "requestURI": self._uri,
            "verb": a.verb,
            "user": a.user.to_dict(),
        }
        if self.impersonated is not None:
            out["impersonatedUser"] = self.impersonated.to_dict()
        out["sourceIPs"] = [self._source]
        if self._agent:
            out["userAgent"] = self._agent
        if a.resource:
            out["objectRef"] = self._object_ref()
        if self.response_status is not None:
            out["responseStatus"] = self.response_status
        if self.request_object is not None and self.decision.wants_request:
            out["requestObject"] = self._shown(self.request_object)
        if self.response_object is not None and self.decision.wants_response:
            out["responseObject"] = self._shown(self.response_object)
        out["requestReceivedTimestamp"] = self._received
        out["stageTimestamp"] = clock.micro_timestamp()
        if self.annotations:
            out["annotations"] = dict(self.annotations)
        return out

    def _object_ref(self) -> Object:
        a = self._attributes
        found = self.response_object if isinstance(self.response_object, dict) else {}
        metadata: Mapping[str, Any] = found.get("metadata") or {} if found.get("kind") != "Status" else {}
        ref = {
            "resource": a.resource,
            "namespace": a.namespace,
            "name": a.name or metadata.get("name", ""),
            "uid": metadata.get("uid", ""),
            "apiGroup": a.group,
            "apiVersion": a.version,
            "resourceVersion": metadata.get("resourceVersion", "") if metadata.get("uid") else "",
            "subresource": a.subresource,
        }
        return {member: value for member, value in ref.items() if value}

    def _shown(self, obj: Any) -> Any:
        if not self.decision.omit_managed_fields or not isinstance(obj, dict):
            return obj
        if isinstance(obj.get("items"), list):
            return {**obj, "items": [_without_managed_fields(item) for item in obj["items"]]}
        return _without_managed_fields(obj)


def _without_managed_fields(obj: Any) -> Any:
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    if not isinstance(metadata, dict) or "managedFields" not in metadata:
        return obj
    return {**obj, "metadata": {name: value for name, value in metadata.items() if name != "managedFields"}}
