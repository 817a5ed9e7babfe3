"""Termination messages: what a container left in its file, or the end of its log."""

from pathlib import Path

from wherry.kubelet import labels
from wherry.kubelet.config import KubeletConfig
from wherry.kubelet.containers import termination_file
from wherry.runtime.protocol import ContainerStatus

_MAX_MESSAGE = 4096
_MAX_LOG = 2048
_MAX_LINES = 80


def read_message(config: KubeletConfig, status: ContainerStatus) -> str:
    """Return the termination message of an exited container. Blocks."""
    uid, name = status.labels.get(labels.POD_UID, ""), status.labels.get(labels.CONTAINER_NAME, status.name)
    text = _head(termination_file(config, uid, name, status.id), _MAX_MESSAGE)
    if not text and status.exit_code != 0 and status.labels.get(labels.MESSAGE_POLICY) == "FallbackToLogsOnError":
        return _log_tail(Path(status.log_path))
    return text


def _head(path: Path, limit: int) -> str:
    try:
        with path.open("rb") as file:
            return file.read(limit).decode(errors="replace")
    except OSError:
        return ""


def _log_tail(path: Path) -> str:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            # A line of the log has a stamp and tags before its text; four times the limit holds enough of them.
            file.seek(max(0, size - 4 * _MAX_LOG - 64 * _MAX_LINES))
            lines = file.read().splitlines(keepends=True)
    except OSError:
        return ""
    texts = []
    for line in lines[-_MAX_LINES:]:
        parts = line.split(b" ", 3)
        if len(parts) == 4:
            texts.append(parts[3] if parts[2] == b"F" else parts[3].rstrip(b"\n"))
    return b"".join(texts)[-_MAX_LOG:].decode(errors="replace")
