"""Certificates that change under a running process."""

import os
import ssl
from pathlib import Path

from wherry.cluster.pki import Authority
from wherry.util import certificates


def presented(server: ssl.SSLContext) -> bytes:
    """Return the certificate that a new connection is shown."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = context.wrap_bio(to_client, to_server)
    other = server.wrap_bio(to_server, to_client, server_side=True)
    for one in (client, other, client, other):
        try:
            one.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return client.getpeercert(True) or b""


def test_new_connections_are_shown_what_is_in_the_files_now_unless_it_is_no_pair(tmp_path: Path) -> None:
    pair = Authority(tmp_path).server("s", ["one"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates.load_chain(context, pair.certificate, pair.key)
    first = presented(context)
    assert first and certificates.load_renewed() == []

    other = Authority(tmp_path).server("s", ["two"])
    key = other.key.read_bytes()
    other.key.write_bytes(Authority(tmp_path).files.key.read_bytes())
    assert certificates.load_renewed() == [] and presented(context) == first

    other.key.write_bytes(key)
    os.utime(other.certificate)
    assert certificates.load_renewed() == [str(pair.certificate)]
    assert presented(context) == ssl.PEM_cert_to_DER_cert(other.certificate.read_text()) != first
