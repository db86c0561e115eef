"""Which images went by."""

from __future__ import annotations

import numpy as np
import pytest

from pwact.core.provenance import index_hash
from pwact.core.sweep.audit import Audit
from pwact.errors import PwactError
from pwact.types import Batch


class Three:
    name, index_hash = "three", index_hash([4, 5, 6])

    def __len__(self):
        return 3


three = Three()


def audit(index, valid, counted):
    found = Audit()
    none = np.zeros(len(index))
    found.add(Batch(none, none, np.asarray(index), np.asarray(valid, bool)))
    return found.finish(three, counted)


def test_the_audit_counts():
    assert audit([4, 5, 6], [1, 1, 1], 3) == audit([4, 5, 6, 9], [1, 1, 1, 0], 3)
    assert audit([4, 5, 6], [1, 1, 1], 3) != audit([5, 4, 6], [1, 1, 1], 3)
    for index, valid, counted, words in (
        ([4, 5, 5], [1, 1, 1], 3, "more than once, first dataset index 5"),
        ([4, 5, 6], [1, 1, 0], 2, "2 read and 2 counted"),
        ([4, 5, 6], [1, 1, 1], 2, "3 read and 2 counted"),
        ([4, 5, 6, 7], [1, 1, 1, 1], 4, "4 read"),
        ([4, 5, 7], [1, 1, 1], 3, "the images that 'three' says it holds"),
    ):
        with pytest.raises(PwactError, match=words):
            audit(index, valid, counted)
