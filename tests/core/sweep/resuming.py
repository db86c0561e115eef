"""A sweep to be killed: `python resuming.py STATE OUT`, where "none" keeps no state. Says how far it is."""

from __future__ import annotations

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

import pwact
from pwact.core.accumulator import Accumulator, Named
from pwact.core.streaming.counter import Counter
from pwact.stats import by_class, extrema, firing, moments

IMAGES, CLASSES, LOAD, PASSES = 610, 5, 16, 2


def around_the_mean() -> Accumulator:
    """The mean in a first pass; how many images lie above it in a second."""

    def update(state, seen):
        done, total, images, above = state
        valid = seen.valid[:, None, None, None]
        over = valid & (seen.activation > (total / jnp.maximum(images.to_float(), 1.0))[None])
        return (
            done,
            total + jnp.where((done == 0) & valid, seen.activation, 0).sum(0),
            images.add(jnp.where(done == 0, seen.valid.sum(), 0)),
            above.add(jnp.where(done == 0, 0, over.sum(0))),
        )

    return Accumulator(
        lambda spec: (
            jnp.zeros((), int),
            jnp.zeros(spec.shape),
            Counter.zeros(),
            Counter.zeros(spec.shape),
        ),
        update,
        lambda left, right: left,
        lambda state: {"above": Named(state[3], ("row", "column", "channel"))},
        advance=lambda state: (state[0] + 1, *state[1:]),
        passes=PASSES,
    )


STATISTICS = {
    "m": moments(),
    "c": by_class(moments(), CLASSES),
    "f": firing(),
    "a": around_the_mean(),
    "e": extrema(),
}


def model(variables, image):
    """A convolution, a ReLU (`relu`), a mean; logits [batch, class]."""
    layout = ("NHWC", "HWIO", "NHWC")
    stem = jax.lax.conv_general_dilated(image, variables, (1, 1), "SAME", dimension_numbers=layout)
    return checkpoint_name(jax.nn.relu(stem), "relu").mean((1, 2))


def question(seed: int = 0):
    """Probe, variables, dataset, sites: the same in every process."""
    rng = np.random.default_rng(seed)
    variables = rng.normal(size=(3, 3, 2, CLASSES)).astype(np.float32)
    data = pwact.data.arrays(
        rng.normal(size=(IMAGES, 6, 6, 2)).astype(np.float32),
        rng.integers(0, CLASSES, IMAGES),
        num_classes=CLASSES,
        name="noise",
    )
    return pwact.probe(model, data.images[:1], variables=variables), variables, data


def arrays(tree) -> dict[str, np.ndarray]:
    """All that a sweep found, by path."""
    return {
        f"{node.path}:{name}": array.values for node in tree.leaves for name, array in node.data_vars.items()
    }


class Changed:
    """A dataset with another `read`."""

    def __init__(self, data, read):
        names = ("name", "num_classes", "image_shape", "labels", "fingerprint", "index_hash")
        self.__dict__.update({name: getattr(data, name) for name in names}, read=read)

    def __len__(self):
        return len(self.labels)


if __name__ == "__main__":
    state, out = sys.argv[1:3]
    probe, variables, data = question()

    def slowly(positions):
        time.sleep(0.01)
        return data.read(positions)

    found = pwact.sweep(
        probe,
        variables,
        Changed(data, slowly),
        STATISTICS,
        sites=["relu"],
        batch_size=LOAD,
        progress=lambda done, total: print(done, flush=True),
        **({} if state == "none" else {"state": state, "save_every": 0.05}),
    )
    np.savez(out, order=found.attrs["order_sha256"], resumed=found.attrs["resumed"], **arrays(found))
