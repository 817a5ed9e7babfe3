"""nftables through libnftables: scripts in nft's language run in this process, each as one atomic transaction."""

import asyncio
import ctypes
import ctypes.util
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_OUTPUT_JSON = 1 << 4


class NftError(Exception):
    """nftables refused a script; nothing of it took effect. The message is nft's."""


class Nft:
    """A libnftables context with a thread of its own. `run` calls are carried out in the order they were made.

    Raises OSError when the library (Debian: libnftables1, which nftables brings) is not installed.
    """

    def __init__(self) -> None:
        lib = ctypes.CDLL(ctypes.util.find_library("nftables") or "libnftables.so.1")
        lib.nft_ctx_new.restype = ctypes.c_void_p
        lib.nft_ctx_new.argtypes = [ctypes.c_uint32]
        for function in ("nft_ctx_get_error_buffer", "nft_ctx_get_output_buffer"):
            getattr(lib, function).restype = ctypes.c_char_p
            getattr(lib, function).argtypes = [ctypes.c_void_p]
        for function in ("nft_ctx_buffer_error", "nft_ctx_buffer_output", "nft_ctx_free"):
            getattr(lib, function).argtypes = [ctypes.c_void_p]
        lib.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        lib.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self._lib = lib
        self._context: int | None = lib.nft_ctx_new(0)
        lib.nft_ctx_buffer_error(self._context)
        lib.nft_ctx_buffer_output(self._context)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nft")

    async def run(self, script: str) -> None:
        """Carry out `script` as one transaction. Raises NftError; then nothing has changed."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self.run_sync, script)

    async def list_table(self, family: str, table: str) -> list[dict[str, Any]]:
        """Return the objects of a table as nft's JSON has them, an empty list when there is no such table."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._list_sync, f"list table {family} {table}")

    async def list_tables(self) -> list[tuple[str, str]]:
        """Return (family, name) of every table."""
        found = await asyncio.get_running_loop().run_in_executor(self._thread, self._list_sync, "list tables")
        return [(entry["table"]["family"], entry["table"]["name"]) for entry in found if "table" in entry]

    def run_sync(self, script: str) -> None:
        """Do what `run` does on the calling thread, which then must be the only caller."""
        if self._lib.nft_run_cmd_from_buffer(self._context, script.encode()) != 0:
            raise NftError(self._error())

    def _error(self) -> str:
        return (self._lib.nft_ctx_get_error_buffer(self._context) or b"").decode(errors="replace").strip()

    def _list_sync(self, command: str) -> list[dict[str, Any]]:
        self._lib.nft_ctx_output_set_flags(self._context, _OUTPUT_JSON)
        try:
            code = self._lib.nft_run_cmd_from_buffer(self._context, command.encode())
            output, error = self._lib.nft_ctx_get_output_buffer(self._context), self._error()
        finally:
            self._lib.nft_ctx_output_set_flags(self._context, 0)
        if code != 0:
            if "No such file or directory" in error:
                return []
            raise NftError(error)
        return [entry for entry in json.loads(output)["nftables"] if "metainfo" not in entry] if output else []

    async def close(self) -> None:
        """Free the context; what was programmed stays in the kernel."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._free)
        self._thread.shutdown()

    def _free(self) -> None:
        if self._context is not None:
            self._lib.nft_ctx_free(self._context)
            self._context = None
