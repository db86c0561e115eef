"""The arrays that a study leaves, as docs/design.md describes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from pwact.studies import arrangement
from pwact.studies.concentration import FILLS, ORDERS
from pwact.studies.fills import kappa
from pwact.studies.judging import Measurements
from pwact.train.trained import Trained

WORDS = {
    "loss": "Loss",
    "accuracy": "Accuracy",
    "aii_s": "AII_s: point vectors moved jointly",
    "aii_i": "AII_i: each channel moved on its own",
    "aii_rotated": "AII_i in a random basis of the channels",
    "gini": "Gini index",
    "hoyer": "Hoyer index",
    "k90": "k90 / P",
    "lorenz": "Lorenz curve",
}
INDEX_OF_MODE = {"joint": "aii_s", "channel": "aii_i", "rotated": "aii_rotated"}


def curves(networks: Mapping[str, Trained]) -> xr.Dataset:
    """Loss and accuracy (network, seed, epoch, split) in training; NaN where a network has none.

    Args:
        networks: by name.
    """
    one = [trained.curves.assign_coords(network=name) for name, trained in networks.items()]
    joined = xr.concat(one, "network", join="outer", coords="minimal", compat="equals")
    return _worded(joined.transpose("network", "seed", "epoch", "split"))


def moved(found: Measurements, primary: str, seeds: Sequence[int]) -> xr.Dataset:
    """P1: indices (network, seed, site) and what they are made of.

    Args:
        found: everything measured.
        primary: the site whose agreement is kept for every image.
        seeds: of the networks of each kind.

    Returns:
        `agreement` (network, seed, site, mode), `chance` and the indices (network, seed, site), the indices
        over all seeds (`..._pooled`, a ratio of means as in the tables, network and site),
        `agreement_by_image` (network, seed, mode, image) at the primary site, and `place` (network, image)
        of the images in the whole dataset; NaN where something was not measured.
    """
    sites = list(dict.fromkeys(site for each in found.moved.values() for site in each))
    first = next(iter(found.moved.values()))[primary].decided
    images = max(len(sample.place) for sample in found.samples.values())
    shape = (len(found.moved), len(first.clean), len(sites))
    agreement, index = (np.full((*shape, len(arrangement.MODES)), np.nan) for _ in range(2))
    chance = np.full(shape, np.nan)
    by_image = np.full((*shape[:2], len(arrangement.MODES), images), np.nan, np.float32)
    for row, each in enumerate(found.moved.values()):
        for site, one in each.items():
            at = (row, slice(None), sites.index(site))
            shares = np.eye(found.classes)[one.decided.clean].mean(1)
            chance[at] = (shares**2).sum(1)
            for mode in one.modes:
                column, values = arrangement.MODES.index(mode), one.agreement(mode)
                agreement[*at, column] = values.mean(1)
                index[*at, column] = arrangement.by_seed(values, one.decided.clean, found.classes)
                if site == primary:
                    by_image[row, :, column, : values.shape[1]] = values
    dims = ("network", "seed", "site")
    above, free = agreement.mean(1) - chance.mean(1)[..., None], 1 - chance.mean(1)[..., None]
    pooled = arrangement.ratio(above, np.broadcast_to(free, above.shape))
    indices: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    for mode, name in INDEX_OF_MODE.items():
        place = arrangement.MODES.index(mode)
        indices[name] = (dims, index[..., place])
        indices[f"{name}_pooled"] = (("network", "site"), pooled[..., place])
    return _worded(
        xr.Dataset(
            {
                "agreement": ((*dims, "mode"), agreement),
                "chance": (dims, chance),
                **indices,
                "agreement_by_image": (("network", "seed", "mode", "image"), by_image),
                "place": (("network", "image"), _places(found, list(found.moved), images)),
            },
            {
                "network": list(found.moved),
                "seed": list(seeds),
                "site": sites,
                "mode": list(arrangement.MODES),
            },
        )
    )


def concentrated(found: Measurements, seeds: Sequence[int]) -> xr.Dataset:
    """P4: Gini, Hoyer and k90/P (network, seed, image), Lorenz curves, and the causal check's kappa.

    Args:
        found: everything measured.
        seeds: of the networks of each kind.

    Returns:
        `gini`, `hoyer`, `k90` with NaN for an image without positive contribution, `lorenz`
        (network, seed, quantile), `kappa` (network, seed, order, fill) and over all seeds `kappa_pooled`
        (network, order, fill), a ratio of means as in the tables, and `place` (network, image).
    """
    measured = found.concentrated
    images = max(np.shape(each.gini)[1] for each in measured.values())

    def stacked(name: str) -> np.ndarray:
        tables = [np.asarray(getattr(each, name), np.float32) for each in measured.values()]
        missing = ((0, 0), (0, images))
        return np.stack([np.pad(t, missing, constant_values=np.nan)[:, :images] for t in tables])

    kept = np.stack([np.mean(each.kept, -1) for each in measured.values()])
    nothing = np.stack([np.mean(each.nothing, -1) for each in measured.values()])
    lorenz = np.stack([np.asarray(each.lorenz) for each in measured.values()])
    return _worded(
        xr.Dataset(
            {
                **{name: (("network", "seed", "image"), stacked(name)) for name in ("gini", "hoyer", "k90")},
                "lorenz": (("network", "seed", "quantile"), lorenz),
                "kappa": (("network", "seed", "order", "fill"), kappa(kept, nothing[:, :, None])),
                "kappa_pooled": (
                    ("network", "order", "fill"),
                    kappa(kept.mean(1), nothing.mean(1)[:, None]),
                ),
                "place": (("network", "image"), _places(found, list(measured), images)),
            },
            {
                "network": list(measured),
                "seed": list(seeds),
                "quantile": np.linspace(0, 1, lorenz.shape[-1]),
                "order": list(ORDERS),
                "fill": list(FILLS),
            },
        )
    )


def _places(found: Measurements, names: list[str], images: int) -> np.ndarray:
    """Where each measured image stands in the whole dataset; -1 where there are fewer."""
    places = np.full((len(names), images), -1, np.int32)
    for row, name in enumerate(names):
        own = found.samples[found.split[name]].place
        places[row, : len(own)] = own
    return places


def _worded(dataset: xr.Dataset) -> xr.Dataset:
    for name, words in WORDS.items():
        if name in dataset:
            dataset[name].attrs["long_name"] = words
    return dataset
