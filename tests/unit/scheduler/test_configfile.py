from typing import Any

import pytest

from tests.unit.scheduler.world import World, node, pod, simulate
from wherry.scheduler.configfile import ConfigurationError, parse

HEAD = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}


def of_profile(**profile: Any) -> dict[str, Any]:
    return {**HEAD, "profiles": [{"schedulerName": "default-scheduler", **profile}]}


def names(config: dict[str, Any], point: str) -> list[str]:
    return [name for name, _ in parse(config).profiles[0].at_points()[point]]


def test_without_plugins_the_defaults_run_with_their_weights() -> None:
    weights = dict(parse(HEAD).profiles[0].at_points()["score"])
    assert (weights["TaintToleration"], weights["PodTopologySpread"], weights["ImageLocality"]) == (3, 2, 1)
    assert "DefaultBinder" not in weights


def test_a_plugin_is_disabled_at_one_point_or_everywhere() -> None:
    at_score = of_profile(plugins={"score": {"disabled": [{"name": "NodeAffinity"}]}})
    assert "NodeAffinity" not in names(at_score, "score")
    assert "NodeAffinity" in names(at_score, "filter")
    everywhere = of_profile(plugins={"multiPoint": {"disabled": [{"name": "NodeAffinity"}]}})
    assert "NodeAffinity" not in names(everywhere, "filter")


def test_a_star_leaves_only_what_is_enabled_in_the_given_order() -> None:
    enabled = [{"name": "ImageLocality", "weight": 7}, {"name": "NodeResourcesFit"}]
    config = of_profile(plugins={"score": {"disabled": [{"name": "*"}], "enabled": enabled}})
    assert parse(config).profiles[0].at_points()["score"] == [("ImageLocality", 7), ("NodeResourcesFit", 1)]
    assert "NodeName" in names(config, "filter")


def test_what_a_point_enables_goes_first() -> None:
    config = of_profile(plugins={"filter": {"enabled": [{"name": "NodePorts"}]}})
    assert names(config, "filter")[:2] == ["NodePorts", "NodeUnschedulable"]
    assert names(config, "filter").count("NodePorts") == 1


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"kind": "Policy"}, "holds no KubeSchedulerConfiguration"),
        ({**HEAD, "profils": []}, 'unknown field "profils"'),
        ({**HEAD, "percentageOfNodesToScore": 101}, "not in valid range [0-100]"),
        ({**HEAD, "podInitialBackoffSeconds": 5, "podMaxBackoffSeconds": 2}, "podMaxBackoffSeconds: Invalid value: 2"),
        ({**HEAD, "extenders": [{"urlPrefix": "u", "prioritizeVerb": "p"}]}, "must have a positive weight applied"),
        ({**HEAD, "extenders": [{"urlPrefix": "u", "bindVerb": "b"}] * 2}, "only one extender can implement bind"),
        ({**HEAD, "extenders": [{"urlPrefix": "u", "managedResources": [{"name": "cpu"}]}]}, "invalid extended"),
        ({**HEAD, "extenders": [{"urlPrefix": "u", "httpTimeout": "soon"}]}, "extenders[0].httpTimeout: Invalid value"),
        ({**HEAD, "extenders": [{}]}, "missing"),
        ({**HEAD, "profiles": [{"schedulerName": "a"}, {"schedulerName": "a"}]}, "Duplicate value"),
        ({**HEAD, "profiles": [{"schedulerName": "a"}, {}]}, "profiles[1].schedulerName: Required value"),
        (of_profile(plugins={"filter": {"enabled": [{"name": "Nope"}]}}), "plugin does not exist"),
        (of_profile(plugins={"filter": {"enabled": [{"name": "ImageLocality"}]}}), "does not extend filter"),
        (of_profile(plugins={"multiPoint": {"disabled": [{"name": "*"}]}}), "exactly one plugin must be enabled"),
        (of_profile(plugins={"bind": {"disabled": [{"name": "*"}]}}), "at least one bind plugin is needed"),
        (of_profile(pluginConfig=[{"name": "NodeName", "args": {"a": 1}}]), "takes no arguments"),
        (
            of_profile(pluginConfig=[{"name": "InterPodAffinity", "args": {"hardPodAffinityWeight": 200}}]),
            "profiles[0].pluginConfig[0].args.hardPodAffinityWeight: Invalid value: 200: not in valid range [0-100]",
        ),
    ],
)
def test_what_is_wrong_is_said(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        parse(config)
    assert said in str(error.value)


def test_each_profile_schedules_by_its_own_arguments() -> None:
    packing = {"scoringStrategy": {"type": "MostAllocated", "resources": [{"name": "cpu", "weight": 1}]}}
    score = {"disabled": [{"name": "*"}], "enabled": [{"name": "NodeResourcesFit"}]}
    packer = {
        "schedulerName": "packer",
        "plugins": {"score": score},
        "pluginConfig": [{"name": "NodeResourcesFit", "args": packing}],
    }
    config = parse({**HEAD, "profiles": [{"schedulerName": "default-scheduler"}, packer]})

    async def test(world: World) -> None:
        world.create(node("a"), node("b"))
        world.create(pod("first", cpu="1"))
        await world.settle()
        world.create(pod("spread", cpu="1"), pod("packed", cpu="1", schedulerName="packer"))
        await world.settle()
        assert world.node_of("spread") != world.node_of("first")
        world.create(pod("packed-too", cpu="1", schedulerName="packer"))
        await world.settle()
        assert world.node_of("packed-too") == world.node_of("packed")

    simulate(test, scheduling=config)


def test_added_affinity_keeps_a_profile_on_its_nodes() -> None:
    terms = [{"matchExpressions": [{"key": "pool", "operator": "In", "values": ["batch"]}]}]
    added = {"addedAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    config = parse(of_profile(pluginConfig=[{"name": "NodeAffinity", "args": added}]))

    async def test(world: World) -> None:
        world.create(node("a"), node("b", labels={"pool": "batch"}), node("c"))
        world.create(*(pod(f"p{number}") for number in range(4)))
        await world.settle()
        assert {world.node_of(f"p{number}") for number in range(4)} == {"b"}

    simulate(test, scheduling=config)
