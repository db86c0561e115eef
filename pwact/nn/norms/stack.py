"""Two norms, one upon the other."""

from __future__ import annotations

from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from pwact.core.caching import memoized
from pwact.errors import PwactError
from pwact.nn.norms.norm import Norm
from pwact.nn.unmarked import unmarked_call


@memoized
def stack(first: Norm, second: Norm) -> Norm:
    """Both norms: kernels go through the first and then the second, and so do activations.

    y = second(first(x)),   W -> second(first(W))

    The convolution has a bias only if both norms leave it one. Stacks can be stacked.

    Args:
        first, second: norms, e.g. weight_align() and batch().

    Returns:
        A norm. Where both have a module in the same place, these are `layers.0` and `layers.1` of one after
        the convolution, `first` and `second` of one of the kernel.

    Raises:
        PwactError: something that is no norm.

    Example:
        >>> from pwact.nn.norms import batch, stack, weight_align
        >>> both = stack(weight_align(), batch())
        >>> both.layer is batch().layer, both.kernel is weight_align().kernel, both.bias
        (True, True, False)

    Reference: X. Shi, Y. Li, X. Liu, J. van Gemert, WeightAlign: normalizing activations by weight
        alignment, ICPR 2020, arXiv 2010.07160 (which stacks its kernels on other norms). Status: abstract.
    """
    for norm in (first, second):
        if not isinstance(norm, Norm):
            raise PwactError("two norms", repr(norm)[:80], "write it like stack(weight_align(), batch())")
    return Norm(
        _both(first.layer, second.layer, nnx.Sequential),
        _both(first.kernel, second.kernel, KernelStack),
        first.bias and second.bias,
    )


def _both(first: Any, second: Any, together: Any) -> Any:
    if first is None or second is None:
        return first or second
    return lambda shape, rngs: together(first(shape, rngs), second(shape, rngs))


class KernelStack(nnx.Module):
    """Two norms of one kernel."""

    def __init__(self, first: Any, second: Any):
        self.first, self.second = first, second
        self.first_call, self.second_call = unmarked_call(first), unmarked_call(second)

    def __call__(self, kernel: Float[Array, "*weights output"]) -> Float[Array, "*weights output"]:
        return self.second_call(self.second, self.first_call(self.first, kernel))
