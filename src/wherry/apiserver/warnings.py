"""``Warning`` headers of answers (apiserver ``endpoints/filters/warning.go``)."""

import unicodedata
from collections.abc import Iterable

_TOTAL, _EACH = 4096, 256
"""Characters of all warnings together; beyond them each is cut and what does not fit then is left out."""


def warning_headers(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Return a header for each different text; what holds control characters is left out, so that none adds headers."""
    sent = [text for text in dict.fromkeys(texts) if text and not _has_controls(text)]
    if sum(map(len, sent)) > _TOTAL:
        sent = _cut(sent)
    return [("Warning", f'299 - "{_escaped(text)}"') for text in sent]


def of_decoding(problems: Iterable[str]) -> list[str]:
    """Return what a client is warned of for what a strict decoder says; of YAML each line is a warning."""
    out: list[str] = []
    for problem in problems:
        head, *lines = problem.split("\n")
        out += [line.strip() for line in lines] if head.endswith("yaml: unmarshal errors:") else [problem]
    return out


def _cut(texts: Iterable[str]) -> list[str]:
    out, total = [], 0
    for text in texts:
        if total >= _TOTAL:
            break
        out.append(text[:_EACH])
        total += len(out[-1])
    return out


def _has_controls(text: str) -> bool:
    return not text.isprintable() and any(unicodedata.category(char) == "Cc" for char in text)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
