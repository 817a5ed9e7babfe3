"""The second round of mutation: who is asked again when others changed the object after him."""

from dataclasses import dataclass, field
from typing import Any

from wherry.api import meta
from wherry.apiserver.admission.plugin import Operation


@dataclass(slots=True)
class Rounds:
    """What a plugin must know in the second round of an operation: of those whom it asks (webhooks, policies by uid)
    the ones that want to be asked again, and the object as it left it."""

    willing: set[str] = field(default_factory=set)
    again: set[str] = field(default_factory=set)
    output: dict[str, Any] | None = None

    @staticmethod
    def of(operation: Operation, plugin: str) -> "Rounds":
        """Return those of a plugin; in the second round what others did to the object counts as a change."""
        rounds: Rounds = operation.memory.setdefault(plugin, Rounds())
        if operation.round and operation.obj != rounds.output:
            rounds._changed()
        return rounds

    def calls(self, operation: Operation, uid: str) -> bool:
        """Tell whether somebody is to be asked in this round."""
        return not operation.round or uid in self.again

    def called(self, operation: Operation, uid: str, *, changed: bool, willing: bool) -> None:
        """Note that somebody was asked, and whether the object changed: then those before are asked again."""
        if changed:
            self._changed()
            operation.again = True
        if willing:
            self.willing.add(uid)

    def finish(self, operation: Operation) -> None:
        """Note the object as it is."""
        if not operation.round:
            self.output = meta.copy(operation.obj) if operation.obj is not None else None

    def _changed(self) -> None:
        self.again |= self.willing
        self.willing.clear()
