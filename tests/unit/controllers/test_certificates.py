import base64
import ipaddress
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.unit.controllers.cluster import Cluster, running
from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import CERTIFICATESIGNINGREQUESTS
from wherry.controllers.certificates import CHECKS, Refused, Request
from wherry.controllers.controller import Settings
from wherry.controllers.csrapproving import CSRApprovingController
from wherry.controllers.csrcleaner import CSRCleanerController
from wherry.controllers.csrsigning import CSRSigningController
from wherry.util import clock

CLIENT = ["digital signature", "client auth"]
SERVING = ["digital signature", "key encipherment", "server auth"]
KUBELET = "kubernetes.io/kube-apiserver-client-kubelet"
KEY = ec.generate_private_key(ec.SECP256R1())


def make_csr(name: str = "system:node:n", organization: str = "system:nodes", *names: x509.GeneralName) -> bytes:
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if organization:
        subject.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def make_request(csr: bytes, signer: str, usages: list[str], *conditions: str, **spec: object) -> Object:
    now = clock.timestamp()
    return {
        "kind": "CertificateSigningRequest", "apiVersion": "certificates.k8s.io/v1", "metadata": {"name": "r"},
        "spec": {"request": base64.b64encode(csr).decode(), "signerName": signer, "usages": usages, **spec},
        "status": {"conditions": [{"type": kind, "status": "True", "lastUpdateTime": now} for kind in conditions]},
    }  # fmt: skip


def settings() -> Settings:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    now = clock.now()
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=3650))
    pem = builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    plain = serialization.NoEncryption()
    key = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()
    return Settings(signing_cert=pem, signing_key=key)


def status(cluster: Cluster) -> Object:
    return cluster.get(CERTIFICATESIGNINGREQUESTS, "r", None).get("status") or {}


async def test_an_approved_request_gets_a_certificate_for_what_it_asks() -> None:
    names = x509.DNSName("n.example"), x509.IPAddress(ipaddress.ip_address("192.0.2.7"))
    request = make_request(
        make_csr("system:node:n", "system:nodes", *names), "kubernetes.io/kubelet-serving", SERVING, "Approved",
        expirationSeconds=3600,
    )  # fmt: skip
    async with running(CSRSigningController, objects=(request,), settings=settings()) as cluster:
        found = x509.load_pem_x509_certificate(base64.b64decode(status(cluster)["certificate"]))
        assert found.not_valid_after_utc - found.not_valid_before_utc == timedelta(seconds=3900)
        assert list(found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == list(names)
        usage = found.extensions.get_extension_for_class(x509.KeyUsage).value
        assert usage.key_encipherment and usage.digital_signature and not usage.key_cert_sign
        KEY.public_key().verify(found.signature, found.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("conditions", [(), ("Denied",), ("Approved", "Denied"), ("Approved", "Failed")])
async def test_what_is_not_approved_is_not_signed(conditions: tuple[str, ...]) -> None:
    request = make_request(make_csr(), KUBELET, CLIENT, *conditions)
    async with running(CSRSigningController, objects=(request,), settings=settings()) as cluster:
        assert "certificate" not in status(cluster)


async def test_a_signer_says_why_it_refuses() -> None:
    request = make_request(make_csr(), KUBELET, [*CLIENT, "server auth"], "Approved")
    async with running(CSRSigningController, objects=(request,), settings=settings()) as cluster:
        failed = meta.condition(cluster.get(CERTIFICATESIGNINGREQUESTS, "r", None), "Failed")
        assert failed["reason"] == "SignerValidationFailure"
        assert failed["message"] == "usages did not match [client auth digital signature key encipherment]"


@pytest.mark.parametrize(
    ("signer", "csr", "usages", "message"),
    [
        (KUBELET, make_csr(organization="x"), CLIENT, "subject organization is not system:nodes"),
        (KUBELET, make_csr("n"), CLIENT, "subject common name does not begin with system:node: "),
        (KUBELET, make_csr("system:node:n", "system:nodes", x509.DNSName("a")), CLIENT,
         "DNS subjectAltNames are not allowed"),
        ("kubernetes.io/kubelet-serving", make_csr(), SERVING, "DNS or IP subjectAltName is required"),
        ("kubernetes.io/kube-apiserver-client", make_csr(), ["server auth"],
         "invalid usage for client certificate: server auth"),
        ("kubernetes.io/kube-apiserver-client", make_csr(), ["digital signature"],
         "missing required usage for client certificate: client auth"),
    ],
)  # fmt: skip
def test_signers_refuse_what_is_not_for_them(signer: str, csr: bytes, usages: list[str], message: str) -> None:
    with pytest.raises(Refused, match=f"^{message}$"):
        CHECKS[signer](Request(csr), usages)


@pytest.mark.parametrize(("allowed", "user"), [("selfnodeclient", "system:node:n"), ("nodeclient", "a"), ("", "a")])
async def test_kubelets_are_approved_when_their_user_may(allowed: str, user: str) -> None:
    async with running(CSRApprovingController) as cluster:

        def review(call: object) -> Object | None:
            if call.resource.plural != "subjectaccessreviews":  # type: ignore[attr-defined]
                return None
            asked = call.body["spec"]["resourceAttributes"]["subresource"]  # type: ignore[attr-defined]
            return {"status": {"allowed": asked == allowed}}

        cluster.fake.react(review)
        cluster.fake.put(make_request(make_csr(), KUBELET, CLIENT, username=user))
        await cluster.settle()
        cluster.fake.put(
            {**make_request(make_csr(), KUBELET, ["client auth"], username=user), "metadata": {"name": "s"}}
        )
        await cluster.settle()
        approvals = [call for call in cluster.fake.calls if call.subresource == "approval"]
        assert [call.name for call in approvals] == (["r"] if allowed else [])
        if approvals:
            [condition] = approvals[0].body["status"]["conditions"]
            assert (condition["type"], condition["reason"]) == ("Approved", "AutoApproved")


async def test_old_requests_are_deleted() -> None:
    pending = make_request(make_csr(), KUBELET, CLIENT)
    decided = {**make_request(make_csr(), KUBELET, CLIENT, "Denied"), "metadata": {"name": "decided"}}
    async with running(CSRCleanerController, objects=(pending, decided)) as cluster:
        await cluster.settle(3500)
        assert len(cluster.fake.list(CERTIFICATESIGNINGREQUESTS)) == 2
        await cluster.settle(200)
        assert [meta.name(found) for found in cluster.fake.list(CERTIFICATESIGNINGREQUESTS)] == ["r"]
        await cluster.settle(24 * 3600)
        assert not cluster.fake.list(CERTIFICATESIGNINGREQUESTS)
