"""The store on disk: what is in memory above a SQLite file, to which a process of its own writes."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from wherry.store.encryption import SealedLog, Sealer
from wherry.store.logged import LoggedStore
from wherry.store.processwriter import ProcessWriter
from wherry.store.sqlitefile import SQLiteFile


class SQLiteStore(LoggedStore):
    """A `protocol.Store` in the file at `path`. Opening reads all live records (and blocks for that long).

    With a `sealer` what it says is encrypted in the file.
    """

    def __init__(self, path: Path | str, *, sealer: Sealer | None = None) -> None:
        file = SQLiteFile(Path(path))
        log = SealedLog(file, sealer) if sealer is not None else None
        seal = log.sealed if log is not None else list
        super().__init__(
            log or file,
            writer=lambda revision: ProcessWriter(Path(path), revision, seal=seal),
            reader=ThreadPoolExecutor(1, "store-reader"),
        )
