"""No norm."""

from __future__ import annotations

from pwact.core.caching import memoized
from pwact.nn.norms.norm import Norm


@memoized
def none() -> Norm:
    """Leaves kernels and activations as they are; convolutions keep their bias.

    y = x

    Returns:
        A norm without modules.

    Raises:
        Nothing.

    Example:
        >>> from pwact.nn.norms import none
        >>> none()
        Norm(layer=None, kernel=None, bias=True)

    Source: ours. Status: code.
    """
    return Norm(layer=None, kernel=None, bias=True)
