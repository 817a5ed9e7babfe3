"""Tries pods of higher priority first, and of those the ones that wait longer."""

from typing import Any

from wherry.scheduler.framework import Plugin
from wherry.scheduler.podinfo import PodInfo


class PrioritySort(Plugin):
    name = "PrioritySort"

    def sort_key(self, info: PodInfo, since: float) -> Any:
        return -info.priority, since
