from __future__ import annotations

import numpy as np
import pytest

from pwact.core.sweep.loads import in_micro_batches, loads, prefetched
from pwact.errors import PwactError
from pwact.types import Batch


class Data:
    """Six images whose one pixel is their place; `read` can be made to lie."""

    name, num_classes, image_shape = "six", 3, (1, 1, 1)
    labels = np.array([2, 0, 1, 0, 2, 1], np.int32)

    def __init__(self, lie=lambda batch: batch):
        self.lie = lie

    def __len__(self):
        return 6

    def read(self, positions):
        at = np.asarray(positions)
        image = at.astype(np.float32).reshape(-1, 1, 1, 1)
        return self.lie(Batch(image, self.labels[at], at.astype(np.int32), np.ones(len(at), bool)))


def test_every_image_once_sorted_by_label_within_a_load():
    found = list(loads(Data(), 4, False))
    assert [batch.index.tolist() for batch in found] == [[1, 3, 2, 0], [5, 4]]
    for batch in found:
        np.testing.assert_array_equal(batch.image.ravel(), batch.index)
        np.testing.assert_array_equal(batch.label, Data.labels[batch.index])


def test_padding_is_not_valid():
    batch = in_micro_batches(next(loads(Data(), 5, False)), 2, 3)
    assert batch.image.shape == (3, 2, 1, 1, 1)
    assert batch.valid.tolist() == [[True, True], [True, True], [True, False]]


def test_prefetching_keeps_order_and_errors():
    def items():
        yield from range(3)
        raise KeyError("the fourth")

    seen = []
    with pytest.raises(KeyError, match="the fourth"):
        for item in prefetched(items()):
            seen.append(item)
    assert seen == [0, 1, 2]


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        (lambda b: b._replace(image=b.image[:-1]), "shapes"),
        (lambda b: b._replace(image=b.image.astype(np.float64)), "uint8 or float32"),
        (lambda b: b._replace(label=(b.label + 1) % 3), "as dataset.labels says"),
        (lambda b: b._replace(index=b.index - 1), "indices"),
    ],
)
def test_a_read_that_is_not_what_was_asked_for(lie, words):
    with pytest.raises(PwactError, match=words):
        list(loads(Data(lie), 6, False))


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_of_no_class(label):
    data = Data()
    data.labels = np.array([2, 0, 1, label, 2, 1], np.int32)
    with pytest.raises(PwactError, match=rf"label {label} of image 3"):
        list(loads(data, 4, False))


def test_a_dataset_may_use_its_buffer_again():
    class Thrifty(Data):
        buffer = np.zeros((6, 1, 1, 1), np.float32)

        def read(self, positions):
            batch = super().read(positions)
            self.buffer[: len(batch.image)] = batch.image
            return batch._replace(image=self.buffer[: len(batch.image)])

    for batch in list(loads(Thrifty(), 2, False)):
        np.testing.assert_array_equal(batch.image.ravel(), batch.index)


@pytest.mark.parametrize(
    ("broken", "error", "words"),
    [
        ({3, 4}, OSError("truncated"), r"position 3 of 'six'; found OSError: truncated"),
        (
            {3},
            PwactError("a whole file", "half of cat.png", "mend it"),
            r"^expected a whole file; found half",
        ),
        (None, MemoryError("too much"), r"4 images of 'six' at once, from 0 on; found MemoryError: too much"),
    ],
)
def test_an_image_that_cannot_be_read(broken, error, words):
    class Broken(Data):
        def read(self, positions):
            if len(positions) > 1 if broken is None else broken & {int(at) for at in positions}:
                raise error
            return super().read(positions)

    with pytest.raises(PwactError, match=words):
        list(loads(Broken(), 4, False))
