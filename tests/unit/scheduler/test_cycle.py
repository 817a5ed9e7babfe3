"""The shortcuts of choosing against looking at everything."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scheduler.world import node, pod
from wherry.client.client import Client
from wherry.client.fake import FakeTransport
from wherry.client.informer import InformerFactory
from wherry.scheduler.cache import Cache
from wherry.scheduler.cycle import Chooser, Unschedulable
from wherry.scheduler.framework import CycleState
from wherry.scheduler.podinfo import PodInfo, pod_info
from wherry.scheduler.profile import ProfileConfig, make_profile
from wherry.util import virtualtime

_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pod"), st.sampled_from(["100m", "700m", "1500m"]), st.booleans()),
        st.tuples(st.just("remove"), st.integers(0, 30), st.booleans()),
        st.tuples(st.just("node"), st.sampled_from(["1", "2", "4"]), st.booleans()),
        st.tuples(st.just("drop"), st.integers(0, 5), st.booleans()),
        st.tuples(st.just("cordon"), st.integers(0, 5), st.booleans()),
    ),
    max_size=40,
)


def _best(chooser: Chooser, cache: Cache, info: PodInfo) -> set[str]:
    """Return the nodes of the highest score, each looked at alone."""
    state = CycleState()
    profile = chooser.profile
    skipped = {p.name for p in profile.at("pre_filter") if p.pre_filter(state, info) is not None}
    totals = {}
    for candidate in cache.nodes.values():
        filters = [p for p in profile.at("filter") if p.name not in skipped]
        if any(p.filter(state, info, candidate) is not None for p in filters):
            continue
        scorers = [p for p in profile.at("score") if p.per_node and p not in profile.at("normalize")]
        scorers = [p for p in scorers if p.pre_score(state, info, ()) is None]
        totals[candidate.name] = sum(p.score(state, info, candidate) * profile.weights[p.name] for p in scorers)
    return {name for name, total in totals.items() if total == max(totals.values())}


@settings(max_examples=60, deadline=None)
@given(_STEPS)
def test_the_node_chosen_is_the_best_whatever_happened_before(steps: list[tuple[str, str | int, bool]]) -> None:
    async def main() -> None:
        client = Client(FakeTransport())
        cache = Cache()
        chooser = Chooser(make_profile(ProfileConfig(), cache, client=client, factory=InformerFactory(client)), cache)
        placed: list[str] = []
        for number, (action, value, flag) in enumerate(steps):
            names = sorted(cache.nodes)
            if action == "node":
                cache.set_node(node(f"n{number}", cpu=str(value)))
            elif action in ("drop", "cordon") and names:
                name = names[int(value) % len(names)]
                if action == "drop":
                    cache.remove_node(name)
                else:
                    old = cache.nodes[name].node or {}
                    cache.set_node({**old, "spec": {"unschedulable": flag}})
            elif action == "remove" and placed:
                cache.remove_pod(placed.pop(int(value) % len(placed)))
            elif action == "pod":
                taints = [{"operator": "Exists"}] if flag else []
                info = pod_info(pod(f"p{number}", cpu=str(value), tolerations=taints))
                best = _best(chooser, cache, info)
                try:
                    chosen = chooser.choose(info).node_name
                except Unschedulable as refusal:
                    assert not best
                    assert len(refusal.diagnosis.statuses) == len(cache.nodes)
                else:
                    assert chosen in best
                    cache.assume(info, chosen)
                    placed.append(info.key)

    virtualtime.run(main())


def test_sums_of_a_node_are_what_its_pods_add_up_to() -> None:
    cache = Cache()
    cache.set_node(node("a"))
    first, second = pod_info(pod("one", cpu="250m")), pod_info(pod("two", cpu="500m"))
    cache.assume(first, "a")
    cache.set_pod(second, "a")
    cache.set_pod(pod_info({**second.pod, "spec": pod("two", cpu="1")["spec"]}), "a")  # resized in place
    assert cache.nodes["a"].requested == {"cpu": 1250}
    cache.forget(first)
    cache.forget(second)  # confirmed, so it stays
    assert cache.nodes["a"].requested == {"cpu": 1000}
    assert cache.nodes["a"].counted_cpu == 1000
