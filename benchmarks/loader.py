"""Is reading images the bottleneck of training, or computing on them?

    python benchmarks/loader.py [--rounds 3] [--steps 40]     writes benchmarks/results/loader-<backend>.json

Images a second that `pwact.train.feed` gives, from each kind of source and with 1, 2 and 4 threads,
against images a second that the training step of the quick network takes from memory: one network, and
as many as there are cores. The same 4,000 images of `mnist5k` (28x28, grey) lie in .npy files, in a
folder of PNG, in one of JPEG, and in a dataset of TFDS that is prepared here; so files are small and
decoding is cheap, and the files have just been written, so the operating system has them in memory. A
reader that is alone has all cores; in training it shares them with the steps, which read ahead while
they compute. All figures are medians of rounds, in each of which everything takes its turn.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from sweep import RESULTS, processor

import pwact
from pwact.core import backend, provenance
from pwact.data import Dataset
from pwact.models import quick
from pwact.train import QUICK, feed, train
from pwact.train.company import Company

THREADS = (1, 2, 4)


def sources(data: Dataset, home: pathlib.Path) -> dict[str, Dataset]:
    """The same images, stored in each way."""
    pixels, labels = np.asarray(data.read(np.arange(len(data))).image), np.asarray(data.labels)
    (home / "npy").mkdir()
    np.save(home / "npy" / "images.npy", pixels)
    np.save(home / "npy" / "labels.npy", labels)
    for kind in ("png", "jpeg"):
        for label in range(data.num_classes):
            (home / kind / str(label)).mkdir(parents=True)
        for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            Image.fromarray(image[..., 0]).save(home / kind / str(label) / f"{number:05d}.{kind}")
    return {
        "npy, memory-mapped": pwact.data.npy(home / "npy"),
        "folder of PNG": pwact.data.folder(home / "png"),
        "folder of JPEG": pwact.data.folder(home / "jpeg"),
        "TFDS, ArrayRecord of PNG": pwact.data.tfds(str(prepare(home / "tfds", pixels, labels))),
    }


def prepare(home: pathlib.Path, pixels: np.ndarray, labels: np.ndarray) -> pathlib.Path:
    """A dataset in the layout of TFDS, written by TFDS itself."""
    import tensorflow_datasets
    from tensorflow_datasets import core, features
    from tensorflow_datasets.core import registered

    def info(self: Any) -> Any:
        kinds = {
            "image": features.Image(shape=pixels.shape[1:]),
            "label": features.ClassLabel(num_classes=int(labels.max()) + 1),
        }
        return core.DatasetInfo(builder=self, features=features.FeaturesDict(kinds))

    def examples() -> Any:
        for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            file = io.BytesIO()
            Image.fromarray(image[..., 0]).save(file, "PNG")
            file.seek(0)
            yield number, {"image": file, "label": int(label)}

    with registered.skip_registration():
        members = {
            "VERSION": core.Version("1.0.0"),
            "_info": info,
            "_split_generators": lambda self, manager: {"train": examples()},
            "_generate_examples": lambda self: None,
            "name": "stored",
        }
        kind = type("Stored", (tensorflow_datasets.core.GeneratorBasedBuilder,), members)
    home.mkdir()
    kind(data_dir=str(home)).download_and_prepare(file_format="array_record")
    return home / "stored" / "1.0.0"


def readers(data: Dataset, places: np.ndarray, home: pathlib.Path) -> dict[str, Callable[[], None]]:
    """Each way to get the images of these steps to the device, by source and threads."""
    pixels = feed.resident(data, None)
    gather = jax.jit(lambda pixels, at: pixels[at])
    steps = [jnp.asarray(at) for at in places[0]]

    def stays() -> None:
        jax.block_until_ready([gather(pixels, at) for at in steps])

    def streams(dataset: Dataset, threads: int) -> Callable[[], None]:
        read = feed.streamed(dataset, places, None, threads)
        return lambda: [jax.block_until_ready(image) for image in read(0, places.shape[1])]

    ways: dict[str, Callable[[], None]] = {"resident on the device": stays}
    for name, dataset in sources(data, home).items():
        for threads in THREADS:
            ways[f"{name}, {threads} thread{'s' if threads > 1 else ''}"] = streams(dataset, threads)
    return ways


def training(data: Dataset, networks: int, steps: int) -> Callable[[], None]:
    """The training step of the quick network, from images on the device."""
    config = quick(data.image_shape, data.num_classes)
    first = train(config, data, seeds=range(networks), treatment="untrained")
    company = Company(first, data, devices=1, resident=True)
    state = {"carries": company.init()}

    def run() -> None:
        state["carries"], _ = company.steps(state["carries"], 0, 0, steps)

    return run


def measure(rounds: int, steps: int) -> dict[str, Any]:
    data = pwact.data.split(pwact.data.mnist5k(), seed=0)["train"]
    batch, cores = QUICK.batch_size, backend.cores()
    steps = min(steps, len(data) // batch)
    places = np.random.default_rng(0).permutation(len(data))[: steps * batch].reshape(1, steps, batch)
    before = os.getloadavg()[0]
    taken: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as home:
        ways = readers(data, places, pathlib.Path(home))
        images = dict.fromkeys(ways, places.size)
        for networks in sorted({1, cores}):
            name = f"training, {networks} network{'s' if networks > 1 else ''}"
            ways[name] = training(data, networks, steps)
            images[name] = networks * places.size
        for run in ways.values():
            run()
        for _ in range(rounds):
            for name, run in ways.items():
                started = time.perf_counter()
                run()
                taken.setdefault(name, []).append(images[name] / (time.perf_counter() - started))
    training_ways = [name for name in ways if name.startswith("training")]
    return {
        "claim": "images a second that each source gives, and that training takes",
        "images_a_second": {name: round(statistics.median(every)) for name, every in taken.items()},
        "times_what_training_takes": {
            needs: {
                name: round(statistics.median(a / b for a, b in zip(every, taken[needs], strict=True)), 2)
                for name, every in taken.items()
                if name not in training_ways
            }
            for needs in training_ways
        },
        "image_shape": data.image_shape,
        "images_a_step": batch,
        "steps": steps,
        "rounds": rounds,
        "load_before": before,
        "load_after": os.getloadavg()[0],
        "cores": cores,
        "processor": processor(),
        **provenance.machine(),
    }


def table(found: dict[str, Any]) -> str:
    """In Markdown."""
    needs = list(found["times_what_training_takes"])
    rows = [
        f"| source | images a second | {' | '.join(f'times what {one} takes' for one in needs)} |",
        "|---" * (2 + len(needs)) + "|",
    ]
    for name, speed in found["images_a_second"].items():
        shares = [found["times_what_training_takes"][one].get(name) for one in needs]
        rows.append(f"| {name} | {speed:,} | {' | '.join('' if x is None else f'{x:.1f}' for x in shares)} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    found = measure(options.rounds, options.steps)
    path = RESULTS / f"loader-{jax.default_backend()}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
