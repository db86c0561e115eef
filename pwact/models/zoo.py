"""Plain CNNs with a name."""

from __future__ import annotations

from pwact.models.config import ModelConfig


def quick(image_shape: tuple[int, int, int], num_classes: int) -> ModelConfig:
    """Four small blocks that train in seconds: 5x5 then 3x3 kernels, batch norm, GAP, 24,000 parameters.

    Images of 20 pixels or more are halved in the first two blocks, smaller ones in the second only. The map
    in the middle, after `blocks.1`, is 7x7 for 28x28 images.

    Args:
        image_shape: (row, column, channel).
        num_classes: logits.

    Example:
        >>> from pwact.models import quick
        >>> quick((28, 28, 1), 10).map_shapes
        ((14, 14, 16), (7, 7, 32), (7, 7, 32), (7, 7, 32))
    """
    strides = (2, 2, 1, 1) if min(image_shape[:2]) >= 20 else (1, 2, 1, 1)
    return ModelConfig(image_shape, num_classes, widths=(16, 32, 32, 32), strides=strides)


def small_receptive_field(image_shape: tuple[int, int, int], num_classes: int) -> ModelConfig:
    """A bag of local patches: one 9x9 convolution, then 1x1 convolutions and GAP, so no point sees more.

    Images of 20 pixels or more are shrunk fourfold by the first block, smaller ones (5x5 patches) twofold.

    Args:
        image_shape: (row, column, channel).
        num_classes: logits.

    Example:
        >>> from pwact.models import small_receptive_field
        >>> small_receptive_field((28, 28, 1), 10).receptive_fields
        (9, 9, 9, 9)

    Reference: W. Brendel, M. Bethge, Approximating CNNs with bag-of-local-features models, ICLR 2019 (the
    idea; the architecture is our own).
    """
    large = min(image_shape[:2]) >= 20
    return ModelConfig(
        image_shape,
        num_classes,
        widths=(32, 32, 32, 32),
        strides=(4 if large else 2, 1, 1, 1),
        kernel_size=1,
        first_kernel_size=9 if large else 5,
    )
