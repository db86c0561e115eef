"""Which class is taken for which."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pwact.core.accumulator import Accumulator, Named, Result
from pwact.core.arguments import whole_number
from pwact.core.caching import memoized
from pwact.core.streaming.counter import Counter
from pwact.errors import PwactError
from pwact.types import Observation


@memoized
def confusion(num_classes: int) -> Accumulator:
    """The confusion matrix: how many images of each class the model decides are of each class.

    count[c, d] = #{i : label_i = c, prediction_i = d}

    The activation is not looked at: a sweep gives the same at every site. An image whose label is in no
    class is not counted; a sweep refuses such labels.

    Args:
        num_classes: classes are 0 .. num_classes - 1, of labels and of predictions.

    Returns:
        An accumulator with the result `count` [class, predicted_class] (int64, images), exact.

    Raises:
        PwactError: fewer than one class; (by `update`) more logits than classes.

    Example:
        >>> import jax, jax.numpy as jnp, numpy as np
        >>> from pwact.stats import confusion
        >>> from pwact.types import Observation
        >>> acc, x = confusion(num_classes=2), jnp.zeros((3, 1))
        >>> label, prediction = jnp.array([0, 1, 1]), jnp.array([0, 0, 1])
        >>> seen = Observation(x, label, prediction, jnp.arange(3), jnp.ones(3, bool))
        >>> result = acc.finalize(acc.update(acc.init(jax.ShapeDtypeStruct((1,), x.dtype)), seen))
        >>> np.asarray(result["count"].values).tolist()
        [[1, 0], [1, 1]]

    Source: ours; a plain frequency.
    """
    num_classes = whole_number("num_classes", num_classes, "give the dataset's num_classes")

    def init(spec: jax.ShapeDtypeStruct) -> Counter:
        return Counter.zeros((num_classes, num_classes))

    def update(state: Counter, seen: Observation) -> Counter:
        if seen.logits is not None and seen.logits.shape[-1] > num_classes:
            raise PwactError(
                f"at most {num_classes} logits for confusion(num_classes={num_classes})",
                f"{seen.logits.shape[-1]}",
                "give num_classes as the number of logits",
            )
        inside = seen.valid & (seen.label >= 0) & (seen.label < num_classes)
        row = jnp.where(inside, seen.label, num_classes)
        arrived = jnp.zeros(state.shape, jnp.uint32).at[row, seen.prediction].add(1, mode="drop")
        return state.add(arrived)

    def finalize(state: Counter) -> Result:
        return {"count": Named(state, ("class", "predicted_class"))}

    return Accumulator(init, update, Counter.merge, finalize)
