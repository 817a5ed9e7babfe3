"""Whose certificates a webhook's bundle makes trusted."""

import asyncio
import base64
import datetime
import ipaddress
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from wherry.apiserver.webhookclient import WebhookClient, WebhookError

NAMELESS = x509.Name([])
AUTHORITY = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
ROOT = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
NOW = datetime.datetime.now(datetime.UTC)


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


class Issuer:
    """An authority that another one signed: `subject` is what it is called, `signed_by` who signed it."""

    def __init__(self, subject: x509.Name, signed_by: x509.Name = ROOT) -> None:
        self.subject = subject
        self.key = ec.generate_private_key(ec.SECP256R1())
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        signer = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._builder(subject, signed_by, self.key, constraints).sign(signer, hashes.SHA256())

    def server(self, folder: Path, name: str, subject: x509.Name = NAMELESS) -> ssl.SSLContext:
        """Return the context of a server called `name`."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(name))] if name else [])
        certificate = self._builder(subject, self.subject, key, names).sign(self.key, hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / "pair.pem").write_bytes(private + pem(certificate))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "pair.pem")
        return context

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        day = datetime.timedelta(days=1)
        return builder.not_valid_before(NOW - day).not_valid_after(NOW + day).add_extension(extension, critical=False)


async def answer(request: web.Request) -> web.Response:
    return web.json_response({"kind": "Answer"})


async def call(client: WebhookClient, server: ssl.SSLContext, bundle: x509.Certificate) -> Any:
    """Call a new server with `server`'s certificate, twice, as a webhook that trusts `bundle`."""
    app = web.Application()
    app.add_routes([web.post("/", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server).start()
        url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        config = {"url": url, "caBundle": base64.b64encode(pem(bundle)).decode()}
        await client.post(config, {}, timeout=5)
        return await client.post(config, {}, timeout=5)
    finally:
        await client.close()
        await runner.cleanup()
        await asyncio.sleep(0)  # lets the server end a handshake that failed


def new_client() -> WebhookClient:
    return WebhookClient(None)  # type: ignore[arg-type]  # no service is named


@pytest.mark.parametrize("subject", [AUTHORITY, NAMELESS], ids=["named", "nameless as its servers"])
async def test_every_certificate_of_a_bundle_is_trusted_whoever_signed_it(tmp_path: Path, subject: x509.Name) -> None:
    client, issuer = new_client(), Issuer(subject)
    assert await call(client, issuer.server(tmp_path, "127.0.0.1"), issuer.certificate) == {"kind": "Answer"}
    renewed = issuer.server(tmp_path, "127.0.0.1")
    assert await call(client, renewed, issuer.certificate) == {"kind": "Answer"}


@pytest.mark.parametrize("subject", [AUTHORITY, NAMELESS], ids=["named", "nameless as its servers"])
async def test_a_strangers_certificate_is_refused(tmp_path: Path, subject: x509.Name) -> None:
    server = Issuer(subject).server(tmp_path, "127.0.0.1")
    with pytest.raises(WebhookError, match="x509: certificate signed by unknown authority"):
        await call(new_client(), server, Issuer(subject).certificate)


@pytest.mark.parametrize("subject", [AUTHORITY, NAMELESS], ids=["named", "nameless as its servers"])
async def test_another_servers_certificate_is_refused(tmp_path: Path, subject: x509.Name) -> None:
    issuer = Issuer(subject)
    server = issuer.server(tmp_path, "127.0.0.2", NAMELESS)
    with pytest.raises(WebhookError, match=r"certificate is valid for 127[.]0[.]0[.]2, not 127[.]0[.]0[.]1"):
        await call(new_client(), server, issuer.certificate)


async def test_a_server_is_not_known_by_its_common_name(tmp_path: Path) -> None:
    issuer = Issuer(AUTHORITY)
    common = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    with pytest.raises(
        WebhookError, match=r"x509: cannot validate certificate for .* because it doesn't contain any IP SANs"
    ):
        await call(new_client(), issuer.server(tmp_path, "", common), issuer.certificate)
