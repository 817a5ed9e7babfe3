"""The TTL controller for finished Jobs.

Watches Jobs. Deletes those that finished ``ttlSecondsAfterFinished`` ago, with their pods (in the foreground).
Guarantees that a Job is not deleted before its time, even when the field was changed late: it is read again from the
server first.
"""

from datetime import datetime

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import JOBS
from wherry.controllers.controller import Controller
from wherry.util import clock


def expires_in(job: Object, *, now: datetime) -> float | None:
    """Return the seconds until the Job is to be deleted, None when it is to stay."""
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    ends = [
        found for kind in ("Complete", "Failed") if (found := meta.condition(job, kind)) and found["status"] == "True"
    ]
    if ttl is None or not ends or meta.is_deleting(job):
        return None
    return ttl - (now - clock.parse(ends[0]["lastTransitionTime"])).total_seconds()


class TTLAfterFinishedController(Controller):
    name = "ttl-after-finished-controller"

    def register(self) -> None:
        self._jobs = self.watch(JOBS)

    async def reconcile(self, key: str) -> float | None:
        job = self._jobs.lister.get(key)
        left = expires_in(job, now=clock.now()) if job else None
        if job is None or left is None or left > 0:
            return left
        try:
            fresh = await self.client.get(JOBS, meta.name(job), meta.namespace(job))
            left = expires_in(fresh, now=clock.now())
            if meta.uid(fresh) != meta.uid(job) or left is None or left > 0:
                return left
            options = {"propagationPolicy": "Foreground", "preconditions": {"uid": meta.uid(job)}}
            await self.client.delete(JOBS, meta.name(job), meta.namespace(job), options=options)
        except (errors.NotFound, errors.Conflict):
            return None
        return None
