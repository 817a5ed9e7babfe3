"""Service accounts, their tokens in pods, reviews, certificates: who somebody is and what it may do."""

import base64
import json
import ssl
import urllib.request
from typing import Any

import pytest

from tests.e2e.conformance.api import Api, Object, Refused
from tests.e2e.conformance.objects import sample
from tests.e2e.conformance.world import World, eventually

pytestmark = pytest.mark.e2e
_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_DISCOVER = f"""
import base64, json, ssl, urllib.request
token = open("{_MOUNT}/token").read()
claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
tls = ssl.create_default_context(cafile="{_MOUNT}/ca.crt")
def get(url):
    request = urllib.request.Request(url, headers={{"Authorization": "Bearer " + token}})
    return json.load(urllib.request.urlopen(request, context=tls, timeout=5))
root = "https://kubernetes.default.svc"
found = get(root + "/.well-known/openid-configuration")
assert found["issuer"] == claims["iss"], (found, claims)
keys = get(found["jwks_uri"])["keys"]
header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
assert header["kid"] in [key["kid"] for key in keys]
print("discovered", found["jwks_uri"])
"""


def _account(world: World, name: str, **more: Any) -> None:
    world.api.create(f"{world.core}/serviceaccounts", {"metadata": {"name": name}, **more})


def test_the_token_is_mounted_unless_somebody_opts_out(world: World) -> None:
    for number, account in enumerate((None, True, False)):
        _account(world, f"a{number}", **({} if account is None else {"automountServiceAccountToken": account}))
        for choice in (None, True, False):
            spec: Object = {"serviceAccountName": f"a{number}", "nodeSelector": {"no-such": "node"}}
            if choice is not None:
                spec["automountServiceAccountToken"] = choice
            made = world.pod(f"p{number}-{choice}".lower(), **spec)
            mounts = made["spec"]["containers"][0].get("volumeMounts", [])
            wanted = choice if choice is not None else account is not False
            assert [m["mountPath"] for m in mounts] == ([_MOUNT] if wanted else [])


def test_a_pod_finds_its_token_authority_and_namespace(world: World) -> None:
    world.pod("p")
    world.ready("p")
    assert world.exec("p", f"cat {_MOUNT}/namespace") == world.ns
    root = world.api.wait(f"{world.core}/configmaps/kube-root-ca.crt", bool)["data"]["ca.crt"]
    assert world.exec("p", f"cat {_MOUNT}/ca.crt") == root
    inside = world.api.with_token(world.exec("p", f"cat {_MOUNT}/token"))
    with pytest.raises(Refused) as refused:
        inside.get("/api/v1/pods")
    assert f"system:serviceaccount:{world.ns}:default" in str(refused.value)
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    who = inside.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", body)["status"]["userInfo"]
    assert who["extra"]["authentication.kubernetes.io/pod-name"] == ["p"]


def test_a_projected_token(world: World) -> None:
    source = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600, "audience": "somebody"}}
    volume = {"name": "t", "projected": {"sources": [source], "defaultMode": 0o440}}
    mounts = {"volumeMounts": [{"name": "t", "mountPath": "/t"}]}
    for name, user in (("root", 0), ("user", 1000)):
        security = {"runAsUser": user, "fsGroup": 10000} if user else {}
        world.pod(name, volumes=[volume], container=mounts, securityContext=security)
        world.ready(name)
        payload = world.exec(name, "cat /t/token").split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
        assert claims["aud"] == ["somebody"] and claims["kubernetes.io"]["pod"]["name"] == name
        mode = "640 1000:10000" if user else "440 0:0"
        assert world.exec(name, "stat -L -c '%a %u:%g' /t/token").strip() == mode


def test_the_issuer_is_discovered_from_a_pod(world: World) -> None:
    world.python("p", _DISCOVER, restartPolicy="Never")
    assert world.ended("p")["status"]["phase"] == "Succeeded", world.log("p")
    assert "/openid/v1/jwks" in world.log("p")


def test_token_requests_are_reviewed(api: Api, world: World) -> None:
    _account(world, "a")
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    token = api.create(f"{world.core}/serviceaccounts/a/token", body)["status"]["token"]
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    status = api.create("/apis/authentication.k8s.io/v1/tokenreviews", review)["status"]
    assert status["authenticated"] and status["user"]["username"] == f"system:serviceaccount:{world.ns}:a"
    assert "error" not in status


def test_the_root_certificate_is_in_every_namespace(world: World) -> None:
    path = f"{world.core}/configmaps/kube-root-ca.crt"
    wanted = world.api.wait(path, bool)["data"]
    world.api.delete(path)
    assert world.api.wait(path, bool)["data"] == wanted
    world.api.patch(path, {"data": {"ca.crt": ""}})
    world.api.wait(path, lambda found: found["data"] == wanted)


def test_access_reviews_agree_with_what_happens(api: Api, world: World) -> None:
    _account(world, "a")
    user = f"system:serviceaccount:{world.ns}:a"
    spec = {"user": user, "resourceAttributes": {"verb": "list", "resource": "configmaps", "namespace": world.ns}}
    as_user = Api(api.kubeconfig, {"Impersonate-User": user})
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    for allowed in (False, True):
        if allowed:
            rbac = world.apis("rbac.authorization.k8s.io/v1")
            api.create(f"{rbac}/roles", {"metadata": {"name": "r"}, "rules": rules})
            subject = {"kind": "ServiceAccount", "name": "a", "namespace": world.ns}
            role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
            body = {"metadata": {"name": "r"}, "roleRef": role, "subjects": [subject]}
            api.create(f"{rbac}/rolebindings", body)
        for path, kind in (
            ("/apis/authorization.k8s.io/v1/subjectaccessreviews", "SubjectAccessReview"),
            (f"{world.apis('authorization.k8s.io/v1')}/localsubjectaccessreviews", "LocalSubjectAccessReview"),
        ):
            review = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "metadata": {}, "spec": spec}
            if kind.startswith("Local"):
                review["metadata"] = {"namespace": world.ns}
            status = api.create(path, review)["status"]
            assert status["allowed"] is allowed
        if allowed:
            as_user.get(f"{world.core}/configmaps")
        else:
            with pytest.raises(Refused):
                as_user.get(f"{world.core}/configmaps")


def test_a_certificate_is_approved_and_its_status_written(api: Api, ns: str) -> None:
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    made = api.create(path, sample("certificates.k8s.io/v1/certificatesigningrequests", 9, ns))
    assert made["spec"]["username"] and "system:masters" in made["spec"]["groups"]
    one = f"{path}/{made['metadata']['name']}"
    approval = api.get(f"{one}/approval")
    approval["status"]["conditions"] = [{"type": "Approved", "status": "True", "reason": "E2E", "message": "set"}]
    assert api.update(f"{one}/approval", approval)["status"]["conditions"][0]["type"] == "Approved"
    ignored = api.patch(f"{one}/approval", {"metadata": {"annotations": {"patchedapproval": "true"}}})
    assert ignored["metadata"]["annotations"]["patchedapproval"] == "true"
    certificate = ssl.get_server_certificate((api.server.hostname or "", api.server.port or 0))
    encoded = base64.b64encode(certificate.encode()).decode()
    assert api.patch(f"{one}/status", {"status": {"certificate": encoded}})["status"]["certificate"] == encoded
    api.delete(one)


def test_a_client_certificate_is_signed(api: Api, ns: str) -> None:
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    body = sample("certificates.k8s.io/v1/certificatesigningrequests", 8, ns)
    body["spec"] |= {"signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]}
    one = f"{path}/{api.create(path, body)['metadata']['name']}"
    approval = api.get(f"{one}/approval")
    approval["status"]["conditions"] = [{"type": "Approved", "status": "True", "reason": "E2E", "message": "set"}]
    api.update(f"{one}/approval", approval)
    found = api.wait(one, lambda csr: csr["status"].get("certificate"))
    assert b"BEGIN CERTIFICATE" in base64.b64decode(found["status"]["certificate"])
    api.delete(one)


def test_a_deleted_accounts_tokens_are_refused(api: Api, world: World) -> None:
    _account(world, "a")
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = api.create(f"{world.core}/serviceaccounts/a/token", body)["status"]["token"]
    inside = api.with_token(token)

    def code() -> int:
        return inside.raw("GET", f"{world.core}/pods").code

    assert code() == 403
    api.delete(f"{world.core}/serviceaccounts/a")
    eventually(lambda: code() == 401, "refused", 15)


def test_the_server_shows_its_issuer_to_strangers_that_may_see_it(api: Api) -> None:
    request = urllib.request.Request(f"https://{api.server.netloc}/.well-known/openid-configuration")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, context=api.anonymous, timeout=5)
    assert refused.value.code in (401, 403)
