"""Service accounts that list the secrets their pods may use, and mirror pods that may use none."""

from typing import Any

import pytest

from tests.component.apiserver.conftest import Http

NAMESPACE = "/api/v1/namespaces/default"
FROM_SECRET = {"envFrom": [{"secretRef": {"name": "no"}}]}


async def refusal(http: Http, spec: dict[str, Any], container: dict[str, Any], **metadata: Any) -> str:
    containers = [{"name": "c", "image": "i", **container}]
    made = {"metadata": {"name": "p", **metadata}, "spec": {"containers": containers, **spec}}
    code, answer = await http("POST", f"{NAMESPACE}/pods", made)
    assert code == 403, answer
    return str(answer["message"]).removeprefix('pods "p" is forbidden: ')


@pytest.mark.parametrize(
    ("spec", "container", "why"),
    [
        (
            {"volumes": [{"name": "v", "secret": {"secretName": "no"}}]},
            FROM_SECRET,
            'volume with secret.secretName="no" is not allowed because service account a does not reference '
            "that secret",
        ),
        (
            {"initContainers": [{"name": "i", "image": "i", **FROM_SECRET}]},
            {},
            'init container i with envFrom referencing secret.secretName="no" is not allowed because service account a '
            "does not reference that secret",
        ),
        (
            {"imagePullSecrets": [{"name": "ok"}, {"name": "no"}]},
            {},
            'imagePullSecrets[1].name="no" is not allowed because service account a does not reference that '
            "imagePullSecret",
        ),
    ],
)
async def test_a_pod_uses_no_secrets_but_those_of_its_account(http: Http, spec: Any, container: Any, why: str) -> None:
    annotations = {"kubernetes.io/enforce-mountable-secrets": "True"}
    account = {"metadata": {"name": "a", "annotations": annotations}, "imagePullSecrets": [{"name": "ok"}]}
    await http("POST", f"{NAMESPACE}/serviceaccounts", account)
    assert await refusal(http, {"serviceAccountName": "a", **spec}, container) == why


async def test_a_mirror_pod_is_refused_its_tokens_before_it_is_validated(http: Http) -> None:
    volume = {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}
    annotations = {"kubernetes.io/config.mirror": "x"}
    why = await refusal(http, {"volumes": [volume]}, {}, annotations=annotations)
    assert why == "a mirror pod may not use ServiceAccountToken volume projections"
