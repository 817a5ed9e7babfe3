"""The server process: ``python -m wherry.cluster.server --data-dir D --port P --token T``."""

import argparse
import asyncio
import logging
import signal
from pathlib import Path

import uvloop

from wherry.apiserver.attributes import MASTERS_GROUP, UserInfo
from wherry.apiserver.authn.issuer import ServiceAccountIssuer, SigningKey
from wherry.apiserver.authn.tokenfile import TokenFile
from wherry.apiserver.server import ApiServer, ServerOptions
from wherry.cluster.pki import Authority, service_account_key
from wherry.store.memory import MemoryStore
from wherry.store.protocol import Store
from wherry.store.sqlite import SQLiteStore
from wherry.util.log import configure

log = logging.getLogger(__name__)


async def run(*, data_dir: Path, port: int, token: str, memory: bool) -> None:
    """Serve until SIGTERM or SIGINT."""
    authority = Authority(data_dir / "pki")
    names = ["127.0.0.1", "10.96.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    serving = authority.server("apiserver", names)
    store: Store = MemoryStore() if memory else SQLiteStore(data_dir / "state.db")
    options = ServerOptions(
        port=port, certificate=serving.certificate, key=serving.key, client_ca=authority.files.certificate
    )
    key = SigningKey.from_pem(service_account_key(authority.directory).read_bytes())
    tokens = [TokenFile([(token, UserInfo("admin", (MASTERS_GROUP,)))])]
    server = ApiServer(store, options, issuer=ServiceAccountIssuer([key]), tokens=tokens)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with server:
            await stop.wait()
    finally:
        await store.close()


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(prog="wherry-server")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, default=6443)
    parser.add_argument("--token", required=True)
    parser.add_argument("--memory", action="store_true", help="keep nothing on disk")
    arguments = parser.parse_args()
    configure()
    arguments.data_dir.mkdir(parents=True, exist_ok=True)
    uvloop.run(run(data_dir=arguments.data_dir, port=arguments.port, token=arguments.token, memory=arguments.memory))


if __name__ == "__main__":
    main()
