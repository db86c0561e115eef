"""The rooms whose methods enter a configuration as text, each with its rows and the type of what it makes."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import optax
import pytest

from pwact import callbacks, edits, initializers, objectives, regularizers, updates
from pwact.callbacks import Callback
from pwact.edits import Edit
from pwact.initializers import Initializer
from pwact.nn import activations, layers, norms
from pwact.nn.activations import Activation
from pwact.nn.layers import Layer
from pwact.nn.norms import Norm
from pwact.objectives import Objective
from pwact.regularizers import Penalty
from pwact.updates import UpdateRule

from .rows import callbacks as callback_rows
from .rows import edits as edit_rows
from .rows import initializers as initializer_rows
from .rows import layers as layer_rows
from .rows import norms as norm_rows
from .rows import objectives as objective_rows
from .rows import regularizers as regularizer_rows
from .rows import updates as update_rows

ROOMS: dict[ModuleType, tuple[Any, Any]] = {
    norms: (norm_rows.METHODS, Norm),
    layers: (layer_rows.METHODS, Layer),
    activations: (layer_rows.ACTIVATIONS, Activation),
    edits: (edit_rows.METHODS, Edit),
    objectives: (objective_rows.METHODS, Objective),
    regularizers: (regularizer_rows.METHODS, (Penalty, optax.GradientTransformation)),
    updates: (update_rows.METHODS, UpdateRule),
    initializers: (initializer_rows.METHODS, Initializer),
    callbacks: (callback_rows.METHODS, Callback),
}


def cases(room: ModuleType) -> Any:
    """One test for each row of a room."""
    return pytest.mark.parametrize("row", ROOMS[room][0].values(), ids=list(ROOMS[room][0]))
