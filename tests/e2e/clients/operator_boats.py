"""An operator as its framework documents it: creation, updates of a field, a timer, deletion, admission webhooks."""

import os
from typing import Any

import kopf


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    certificate, key = os.environ["BOATS_CERTIFICATE"], os.environ["BOATS_KEY"]
    settings.admission.server = kopf.WebhookServer(
        addr="127.0.0.1", host="127.0.0.1", certfile=certificate, cafile=certificate, pkeyfile=key
    )
    settings.admission.managed = "boats.example.com"
    settings.posting.enabled = True
    settings.persistence.finalizer = "example.com/harbour"


@kopf.on.create("boats.example.com")
def launch(body: kopf.Body, spec: kopf.Spec, patch: kopf.Patch, **_: Any) -> dict[str, int]:
    kopf.info(body, reason="Launched", message="The boat is in the water")
    patch.status["afloat"] = True
    return {"oars": spec.get("oars", 0)}


@kopf.on.create("boats.example.com", id="crew")
async def hire(body: kopf.Body, namespace: str, name: str, **_: Any) -> None:
    from kubernetes_asyncio import client, config

    await config.load_kube_config()
    crew: Any = {"metadata": {"name": f"{name}-crew"}, "data": {"captain": "ann"}}
    kopf.adopt(crew, owner=body)
    async with client.ApiClient() as api:
        await client.CoreV1Api(api).create_namespaced_config_map(namespace, crew)


@kopf.on.field("boats.example.com", field="spec.colour")
def paint(old: Any, new: Any, patch: kopf.Patch, **_: Any) -> None:
    patch.status["painted"] = f"{old} to {new}"


@kopf.timer("boats.example.com", interval=0.3, initial_delay=0.3)
def row(status: kopf.Status, patch: kopf.Patch, **_: Any) -> None:
    patch.status["rounds"] = min(status.get("rounds", 0) + 1, 3)


@kopf.daemon("boats.example.com")
async def watch_out(body: kopf.Body, stopped: kopf.DaemonStopped, **_: Any) -> None:
    await stopped.wait()
    kopf.info(body, reason="Watched", message="Until the end")


@kopf.on.delete("boats.example.com")
def sink(body: kopf.Body, **_: Any) -> None:
    kopf.info(body, reason="Sunk", message="The boat is gone")


@kopf.on.validate("boats.example.com")
def refuse_pink(spec: kopf.Spec, warnings: list[str], **_: Any) -> None:
    warnings.append("boats are wet")
    if spec.get("colour") == "pink":
        raise kopf.AdmissionError("not pink", code=418)


@kopf.on.mutate("boats.example.com", operations=["CREATE"])
def give_colour(spec: kopf.Spec, patch: kopf.Patch, **_: Any) -> None:
    if not spec.get("colour"):
        patch.spec["colour"] = "brown"
