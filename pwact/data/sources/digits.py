"""scikit-learn's digits: 1,797 grey images of 8x8 pixels."""

from __future__ import annotations

import functools

import numpy as np

from pwact.data.arrays import arrays
from pwact.data.dataset import ArrayDataset


@functools.cache
def digits() -> ArrayDataset:
    """1,797 handwritten digits of 8x8x1 pixels in 0 .. 16, kept as uint8.

    Returns:
        The dataset; read once a process.

    Example:
        >>> from pwact.data import digits
        >>> len(digits()), digits().image_shape
        (1797, (8, 8, 1))

    Reference: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI (1998).
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return arrays(bunch.images.astype(np.uint8)[..., None], bunch.target, num_classes=10, name="digits")
