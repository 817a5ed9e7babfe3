"""Keeps pods out of the queue while they have ``spec.schedulingGates`` (KEP-3521)."""

from wherry.scheduler.framework import Code, Hint, Plugin, Status
from wherry.scheduler.podinfo import PodInfo


class SchedulingGates(Plugin):
    name = "SchedulingGates"

    def hints(self) -> dict[str, Hint | None]:
        return {"Pod": None}

    def pre_enqueue(self, info: PodInfo) -> Status | None:
        gates = info.pod["spec"].get("schedulingGates")
        if not gates:
            return None
        names = " ".join(gate["name"] for gate in gates)
        return self.status(Code.UNRESOLVABLE, f"waiting for scheduling gates: [{names}]")
