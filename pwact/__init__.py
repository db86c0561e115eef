"""How does a CNN make its decisions, point by point?"""

from __future__ import annotations

import importlib

from pwact._version import __version__

_HOME = {
    "probe": "pwact.core.probe",
    "Probe": "pwact.core.probe",
    "side_by_side": "pwact.core.probe",
    "receptive_fields": "pwact.core.receptive_field.table",
    "effective_receptive_field": "pwact.stats.effective_field",
    "sweep": "pwact.core.sweep",
    "plan": "pwact.core.sweep",
    "open_results": "pwact.core.results",
    "PwactError": "pwact.errors",
}

_ROOMS = ("core", "stats", "data", "nn", "models", "train", "studies", "report")

__all__ = ["__version__", *_HOME, *_ROOMS]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"pwact.{name}")
    raise AttributeError(f"module 'pwact' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
