"""Wherry: Kubernetes in one pip install.

The layers, from top to bottom, are listed in ``docs/architecture.md`` and enforced by import-linter.
"""

__version__ = "0.1.0"
