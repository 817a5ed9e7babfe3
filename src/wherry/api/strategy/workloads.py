"""Strategies of ``apps`` and ``batch``."""

from typing import Any

from wherry.api.strategy.rules import Strategy, spec_changed

Obj = dict[str, Any]

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"


def _zero_status(*members: str) -> Any:
    def create(obj: Obj) -> None:
        obj["status"] = dict.fromkeys(members, 0)

    return create


def _deployment_changed(obj: Obj, old: Obj) -> bool:
    annotations, before = (o["metadata"].get("annotations") or {} for o in (obj, old))
    return spec_changed(obj, old) or annotations != before


def _create_daemon_set(obj: Obj) -> None:
    """The generation of the template is kept in an annotation since ``apps/v1``."""
    members = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")
    obj["status"] = dict.fromkeys(members, 0)
    annotations = obj["metadata"].setdefault("annotations", {})
    written = annotations.get(TEMPLATE_GENERATION, "")
    if not (written.isascii() and written.isdigit() and int(written) >= 1):
        annotations[TEMPLATE_GENERATION] = "1"


def _update_daemon_set(obj: Obj, old: Obj) -> None:
    written = (old["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION, "0")
    if obj["spec"].get("template") != old["spec"].get("template"):
        written = str(int(written) + 1)
    obj["metadata"]["annotations"] = {**(obj["metadata"].get("annotations") or {}), TEMPLATE_GENERATION: written}


JOB_LABELS = ("controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name")


def _create_job(obj: Obj) -> None:
    """Unless the client selects by itself, the Job's UID selects its pods."""
    obj["status"] = {}
    if not obj["spec"].get("manualSelector"):
        _generate_selector(obj["spec"], obj["metadata"])


def _label_job(obj: Obj) -> None:
    """A Job without labels has those of its template, also those that were generated."""
    labels = obj["spec"]["template"].get("metadata", {}).get("labels")
    if labels and not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = dict(labels)


def _generate_selector(spec: Obj, meta: Obj) -> None:
    uid, name = meta["uid"], meta["name"]
    template = spec["template"].setdefault("metadata", {})
    labels = template.get("labels")
    if labels is None:
        labels = template["labels"] = {}
    for key, value in zip(JOB_LABELS, (uid, name, uid, name), strict=True):
        labels.setdefault(key, value)
    selector = spec.get("selector")
    if selector is None:
        selector = spec["selector"] = {}
    if selector.get("matchLabels") is None:
        selector["matchLabels"] = {}
    selector["matchLabels"].setdefault("batch.kubernetes.io/controller-uid", uid)


STRATEGIES = {
    ("apps", "deployments"): Strategy(
        create=_zero_status(), generation=_deployment_changed, status_keeps_metadata=("labels",)
    ),
    ("apps", "replicasets"): Strategy(create=_zero_status("replicas"), generation=spec_changed),
    ("apps", "statefulsets"): Strategy(create=_zero_status("replicas", "availableReplicas"), generation=spec_changed),
    ("apps", "daemonsets"): Strategy(create=_create_daemon_set, update=_update_daemon_set, generation=spec_changed),
    ("batch", "jobs"): Strategy(
        create=_create_job,
        stored=_label_job,
        generation=spec_changed,
        fields={"status.successful": lambda obj: str((obj.get("status") or {}).get("succeeded") or 0)},
    ),
    ("batch", "cronjobs"): Strategy(create=_zero_status(), generation=spec_changed),
}
