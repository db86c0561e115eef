"""Cross-entropy of softmax outputs, with or without smoothed labels."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from pwact.core.arguments import finite_number
from pwact.core.caching import memoized
from pwact.errors import PwactError
from pwact.objectives.objective import Objective


@memoized
def cross_entropy(label_smoothing: float = 0.0) -> Objective:
    """The mean cross-entropy between labels and the softmax of the outputs.

    L = -mean over i of sum over j of q_ij log softmax(z_i)_j;   q_i = (1 - s) onehot(y_i) + s / K

    Args:
        label_smoothing: s, the share of each label spread evenly over all K classes, in 0 .. 1.

    Returns:
        An objective; nats, averaged over the valid rows.

    Raises:
        PwactError: a share outside 0 .. 1.

    Example:
        >>> import jax.numpy as jnp
        >>> from pwact.objectives import cross_entropy
        >>> z, y = jnp.zeros((2, 4)), jnp.array([0, 3])
        >>> round(float(cross_entropy().loss(z, y, jnp.ones(2, bool), jnp.int32(0))), 4)  # log 4
        1.3863

    Reference: C. Szegedy et al., Rethinking the Inception architecture for computer vision, CVPR 2016,
        section 7 (label smoothing). Status: abstract (the formula is common knowledge; no code was read).
    """
    share = finite_number("label_smoothing", label_smoothing, "give a share of the label")
    if not 0 <= share <= 1:
        raise PwactError("label_smoothing in 0 .. 1", repr(label_smoothing), "give a share of the label")

    def loss(
        outputs: Float[Array, "batch class"],
        label: Int[Array, " batch"],
        valid: Bool[Array, " batch"],
        step: Int[Array, ""],
    ) -> Float[Array, ""]:
        outputs = jnp.where(valid[:, None], outputs, 0)
        target = optax.smooth_labels(jax.nn.one_hot(label, outputs.shape[-1], dtype=outputs.dtype), share)
        each = jnp.where(valid, optax.softmax_cross_entropy(outputs, target), 0)
        return each.sum() / jnp.maximum(valid.sum(), 1)

    return Objective(loss)
