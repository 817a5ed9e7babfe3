import base64
from datetime import timedelta

import jwt
import pytest

from tests.unit.controllers.cluster import running
from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import CONFIGMAPS, SECRETS, SERVICEACCOUNTS
from wherry.controllers.bootstrap import BootstrapSignerController, TokenCleanerController
from wherry.controllers.controller import Settings
from wherry.controllers.serviceaccounttoken import ServiceAccountTokenController
from wherry.util import clock

SECRET = "f395accd246ae52d"


def make_token(identifier: str, **data: str) -> Object:
    data = {"token-id": identifier, "token-secret": SECRET, "usage-bootstrap-signing": "true", **data}
    return {
        "kind": "Secret", "apiVersion": "v1", "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": f"bootstrap-token-{identifier}", "namespace": "kube-system"},
        "data": {name: base64.b64encode(value.encode()).decode() for name, value in data.items()},
    }  # fmt: skip


def make_info() -> Object:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "cluster-info", "namespace": "kube-public"},
            "data": {"kubeconfig": "x: y", "jws-kubeconfig-gone00": "old"}}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The HMAC key")
async def test_cluster_info_is_signed_for_each_token_as_long_as_it_is_valid() -> None:
    ending = make_token("abcdef", expiration=clock.timestamp(clock.now() + timedelta(seconds=60)))
    objects = (make_info(), ending, make_token("ghijkl", **{"usage-bootstrap-signing": "false"}))
    async with running(BootstrapSignerController, TokenCleanerController, objects=objects) as cluster:
        data = cluster.get(CONFIGMAPS, "cluster-info", "kube-public")["data"]
        assert data.keys() == {"kubeconfig", "jws-kubeconfig-abcdef"}
        header, empty, rest = data["jws-kubeconfig-abcdef"].split(".")
        payload = base64.urlsafe_b64encode(b"x: y").rstrip(b"=").decode()
        assert not empty
        found = jwt.api_jws.decode(f"{header}.{payload}.{rest}", SECRET, algorithms=["HS256"])
        assert found == b"x: y"
        await cluster.settle(60)
        assert cluster.get(CONFIGMAPS, "cluster-info", "kube-public")["data"].keys() == {"kubeconfig"}
        assert [meta.name(secret) for secret in cluster.fake.list(SECRETS)] == ["bootstrap-token-ghijkl"]


async def test_a_service_account_token_secret_is_filled_and_goes_with_its_account() -> None:
    account = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "a", "namespace": "ns", "uid": "u"}}
    secret = {
        "kind": "Secret", "apiVersion": "v1", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "s", "namespace": "ns", "annotations": {"kubernetes.io/service-account.name": "a"}},
    }  # fmt: skip
    settings = Settings(root_ca="CA", mint_token=lambda account, secret: f"token of {meta.uid(account)}")
    async with running(ServiceAccountTokenController, objects=(account, secret), settings=settings) as cluster:
        filled = cluster.get(SECRETS, "s")
        data = {name: base64.b64decode(value).decode() for name, value in filled["data"].items()}
        assert data == {"token": "token of u", "ca.crt": "CA", "namespace": "ns"}
        assert meta.annotations(filled)["kubernetes.io/service-account.uid"] == "u"
        cluster.fake.remove(SERVICEACCOUNTS, "ns/a")
        cluster.fake.put({**account, "metadata": {**account["metadata"], "uid": "other"}})
        await cluster.settle()
        assert not cluster.fake.list(SECRETS)
