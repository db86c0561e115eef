"""What an initialiser is: the parameters of one network, drawn anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Initializer(NamedTuple):
    """How the parameters of a network begin.

    Args:
        draw: `draw(key, params) -> params` on the host, for one network; of the same structure, shapes and
            dtypes. `params` is what the model drew, after `epochs` epochs of training. Kernels are the
            arrays of two axes or more, outputs on the last.
        epochs: of training before `draw` is called; the training that follows begins at step 0.
    """

    draw: Callable[[Any, Any], Any]
    epochs: int = 0
