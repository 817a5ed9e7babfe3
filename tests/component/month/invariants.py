"""What must hold: `Guard` looks at every single write, `check_settled` at a cluster in which nothing is going on."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator

from tests.component.month.world import World
from wherry.api import intstr, meta
from wherry.api.meta import Object
from wherry.api.quantity import Quantity
from wherry.util import clock

CALM = 900.0
"""Seconds after a disturbance (a lost node, a drain, a scaling) from which a rollout alone explains what is missing."""

_ENDED = ("Succeeded", "Failed")
_LAG = 120.0


class Guard:
    """An observer of all writes; raises AssertionError in `check` for the first one that broke a rule.

    Rules: a pod stays on its node; a node holds what it has room for; a quota is never exceeded; a Deployment never
    has more pods than its surge allows, nor in calm times fewer ready ones than its unavailability allows.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.broken: list[str] = []
        self.disturbed = clock.monotonic()
        self.trouble = 0
        self.looks: Counter[str] = Counter()
        self._used: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        self._spent: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        self._wanted: defaultdict[str, deque[tuple[float, int]]] = defaultdict(deque)

    def disturb(self) -> None:
        """Say that pods go away for another reason than a rollout."""
        self.disturbed = clock.monotonic()

    def check_budgets(self, namespace: str) -> None:
        """Look at the budgets right after an eviction; pods on lost nodes are nobody's fault."""
        for budget in self._world.all("poddisruptionbudgets", namespace):
            app = budget["spec"]["selector"]["matchLabels"]["app"]
            pods = [pod for pod in self._world.all("pods", namespace) if meta.labels(pod).get("app") == app]
            ready = sum(meta.is_true(pod, "Ready") and not meta.is_deleting(pod) for pod in pods)
            least = budget["status"]["desiredHealthy"]
            self._must("budget", ready >= least or bool(self.trouble), f"{app}: {ready} left of {least}")

    def check(self) -> None:
        assert not self.broken, "\n".join(self.broken[:10])

    def __call__(self, kind: str, key: str, old: Object | None, new: Object | None) -> None:
        if kind == "pods":
            self._pod(key, old, new)
        elif kind == "deployments" and new is not None:
            self._note_replicas(key, new)

    def _must(self, rule: str, holds: bool, text: str) -> None:
        self.looks[rule] += 1
        if not holds:
            self.broken.append(f"{clock.timestamp()} {rule}: {text}")

    def _pod(self, key: str, old: Object | None, new: Object | None) -> None:
        if old is not None and new is not None:
            before, now = old["spec"].get("nodeName"), new["spec"].get("nodeName")
            self._must("one node", before in (None, now), f"{key} moved from {before} to {now}")
        for pod, sign in ((old, -1), (new, 1)):
            if pod is not None and (pod.get("status") or {}).get("phase") not in _ENDED:
                self._count(key, pod, sign)
        owner = meta.controller_of(new or old or {"metadata": {}})
        if owner is not None and owner["kind"] == "ReplicaSet":
            self._deployment(meta.split_key(key)[0], owner["name"].rpartition("-")[0])

    def _count(self, key: str, pod: Object, sign: int) -> None:
        cpu = _milli_cpu(pod)
        node, namespace = pod["spec"].get("nodeName"), meta.split_key(key)[0]
        spent = self._spent[namespace]
        spent[0] += sign
        spent[1] += sign * cpu
        if sign > 0:
            for quota in self._world.all("resourcequotas", namespace):
                pods, milli = _hard(quota)
                self._must("quota", spent[0] <= pods and spent[1] <= milli, f"{namespace} uses {spent}")
        if node:
            used = self._used[node]
            used[0] += sign
            used[1] += sign * cpu
            self._must("room", used[0] <= 30 and used[1] <= 4000, f"{node} holds {used}")

    def _note_replicas(self, key: str, deployment: Object) -> None:
        wanted = self._wanted[key]
        replicas = deployment["spec"]["replicas"]
        if not wanted or wanted[-1][1] != replicas:
            wanted.append((clock.monotonic(), replicas))
            self.disturb()

    def _deployment(self, namespace: str, name: str) -> None:
        deployment = self._world.objects.get("deployments", {}).get(f"{namespace}/{name}")
        if deployment is None or deployment["spec"]["strategy"]["type"] != "RollingUpdate":
            return
        now, wanted = clock.monotonic(), self._wanted[f"{namespace}/{name}"]
        while len(wanted) > 1 and wanted[1][0] < now - _LAG:
            wanted.popleft()
        pods = [pod for pod in self._world.all("pods", namespace) if meta.labels(pod).get("app") == name]
        pods = [pod for pod in pods if not meta.is_deleting(pod) and pod["status"].get("phase") not in _ENDED]
        rolling = deployment["spec"]["strategy"]["rollingUpdate"]
        replicas = deployment["spec"]["replicas"]
        most = max(replicas for _, replicas in wanted)
        surge = intstr.scaled(rolling["maxSurge"], most, round_up=True)
        self._must("surge", len(pods) <= most + surge, f"{name} has {len(pods)} pods of {most}+{surge}")
        if self.trouble or now < self.disturbed + CALM:
            return
        missing = intstr.scaled(rolling["maxUnavailable"], replicas, round_up=False)
        ready = sum(meta.is_true(pod, "Ready") for pod in pods)
        self._must("available", ready >= replicas - max(missing, 0 if surge else 1), f"{name}: {ready} of {replicas}")


def check_settled(world: World) -> None:
    """Raise AssertionError for what is left over or missing while nothing is going on."""
    problems = [problem for rule in _RULES for problem in rule(world)]
    assert not problems, f"{clock.timestamp()}\n" + "\n".join(problems[:20])


def _orphans(world: World) -> Iterator[str]:
    known = {meta.uid(obj) for of_kind in world.objects.values() for obj in of_kind.values()}
    for kind, of_kind in world.objects.items():
        for key, obj in of_kind.items():
            for ref in obj["metadata"].get("ownerReferences") or ():
                if ref["uid"] not in known:
                    yield f"{kind} {key} belongs to {ref['kind']} {ref['name']}, which is gone"


def _stuck(world: World) -> Iterator[str]:
    for kind, of_kind in world.objects.items():
        for key, obj in of_kind.items():
            if meta.is_deleting(obj):
                yield f"{kind} {key} is being deleted since {obj['metadata']['deletionTimestamp']}"


def _finalizers(world: World) -> Iterator[str]:
    for pod in world.all("pods"):
        if pod["status"].get("phase") in _ENDED and pod["metadata"].get("finalizers"):
            yield f"pod {meta.key_of(pod)} ended and still has {pod['metadata']['finalizers']}"


def _histories(world: World) -> Iterator[str]:
    owned: defaultdict[tuple[str, str], list[Object]] = defaultdict(list)
    for kind in ("replicasets", "controllerrevisions", "jobs"):
        for obj in world.all(kind):
            ref = meta.controller_of(obj)
            if ref is not None:
                owned[ref["uid"], kind].append(obj)
    for deployment in world.all("deployments"):
        old = [rs for rs in owned[meta.uid(deployment), "replicasets"] if not rs["spec"]["replicas"]]
        if len(old) > deployment["spec"]["revisionHistoryLimit"]:
            yield f"deployment {meta.key_of(deployment)} keeps {len(old)} old ReplicaSets"
    for owner in (*world.all("statefulsets"), *world.all("daemonsets")):
        revisions = owned[meta.uid(owner), "controllerrevisions"]
        if len(revisions) > owner["spec"]["revisionHistoryLimit"] + 1:
            yield f"{meta.key_of(owner)} keeps {len(revisions)} revisions"
    for cron in world.all("cronjobs"):
        jobs = owned[meta.uid(cron), "jobs"]
        for condition, limit in (("Complete", "successfulJobsHistoryLimit"), ("Failed", "failedJobsHistoryLimit")):
            ended = [job for job in jobs if meta.is_true(job, condition)]
            if len(ended) > cron["spec"][limit]:
                yield f"cronjob {meta.key_of(cron)} keeps {len(ended)} jobs that are {condition}"


def _workloads(world: World) -> Iterator[str]:
    for kind in ("deployments", "statefulsets"):
        for owner in world.all(kind):
            status, wanted = owner["status"], owner["spec"]["replicas"]
            seen = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas")]
            if seen != [wanted] * 3:
                yield f"{kind} {meta.key_of(owner)} has {seen} of {wanted}"
    for owner in world.all("statefulsets"):
        names = {pod["metadata"]["name"] for pod in _live_pods(world, owner)}
        if names != {f"{meta.name(owner)}-{number}" for number in range(owner["spec"]["replicas"])}:
            yield f"statefulset {meta.key_of(owner)} has {sorted(names)}"
    for owner in world.all("daemonsets"):
        on = Counter(pod["spec"].get("nodeName") for pod in _live_pods(world, owner))
        if set(on) != set(world.objects["nodes"]) or set(on.values()) - {1}:
            yield f"daemonset {meta.key_of(owner)} runs on {len(on)} of {len(world.objects['nodes'])} nodes"


def _jobs(world: World) -> Iterator[str]:
    for job in world.all("jobs"):
        succeeded, wanted = job["status"].get("succeeded", 0), job["spec"].get("completions", 1)
        if meta.is_true(job, "Complete") and succeeded != wanted:
            yield f"job {meta.key_of(job)} is complete with {succeeded} of {wanted}"
        if job["status"].get("uncountedTerminatedPods"):
            yield f"job {meta.key_of(job)} has uncounted pods"


def _quotas(world: World) -> Iterator[str]:
    for quota in world.all("resourcequotas"):
        pods = [pod for pod in world.all("pods", meta.namespace(quota)) if pod["status"].get("phase") not in _ENDED]
        used = quota["status"].get("used") or {}
        if int(used.get("pods", "-1")) != len(pods):
            yield f"quota {meta.key_of(quota)} says {used}, there are {len(pods)} pods"


def _endpoints(world: World) -> Iterator[str]:
    for service in world.all("services"):
        selector = service["spec"].get("selector") or {}
        if not selector:
            continue
        pods = [
            pod for pod in world.all("pods", meta.namespace(service)) if selector.items() <= meta.labels(pod).items()
        ]
        ready = {pod["status"]["podIP"] for pod in pods if meta.is_true(pod, "Ready")}
        slices = world.all("endpointslices", meta.namespace(service))
        slices = [s for s in slices if meta.labels(s).get("kubernetes.io/service-name") == meta.name(service)]
        published = {
            address
            for entry in slices
            for endpoint in entry.get("endpoints") or ()
            if endpoint["conditions"]["ready"]
            for address in endpoint["addresses"]
        }
        if published != ready:
            yield f"service {meta.key_of(service)}: {len(published)} addresses, {len(ready)} ready pods"


_RULES = (_orphans, _stuck, _finalizers, _histories, _workloads, _jobs, _quotas, _endpoints)


def _live_pods(world: World, owner: Object) -> list[Object]:
    pods = world.all("pods", meta.namespace(owner))
    return [pod for pod in pods if (meta.controller_of(pod) or {}).get("uid") == meta.uid(owner)]


def _milli_cpu(pod: Object) -> int:
    requests = [(c.get("resources") or {}).get("requests") or {} for c in pod["spec"]["containers"]]
    return sum(_milli(each.get("cpu", "0")) for each in requests)


def _hard(quota: Object) -> tuple[int, int]:
    hard = quota["spec"]["hard"]
    return int(hard["pods"]), _milli(hard["requests.cpu"])


def _milli(text: str) -> int:
    return Quantity.parse(text).milli()
