"""The arrays that a study leaves, as docs/design.md describes them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from pwact.studies import arrangement
from pwact.studies.concentration import FILLS, ORDERS, Concentration
from pwact.studies.fills import kappa
from pwact.studies.judging import Moved
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


def moved(found: Mapping[str, Mapping[str, Moved]], classes: int) -> xr.Dataset:
    """Agreement (network, seed, site, mode) and the indices (network, seed, site) of every network.

    Args:
        found: network -> site -> decisions.
        classes: number of classes.
    """
    sites = list(dict.fromkeys(site for each in found.values() for site in each))
    seeds = max(len(decided.clean) for each in found.values() for _, decided in each.values())
    shape = (len(found), seeds, len(sites), len(arrangement.MODES))
    agreement, index = np.full(shape, np.nan), np.full(shape, np.nan)
    for row, each in enumerate(found.values()):
        for site, (modes, decided) in each.items():
            for place, mode in enumerate(modes):
                at = (row, slice(None), sites.index(site), arrangement.MODES.index(mode))
                agreement[at] = decided.agreement[:, place].mean(1)
                index[at] = arrangement.by_seed(decided.agreement[:, place], decided.clean, classes)
    dims = ("network", "seed", "site")
    indices = {
        name: (dims, index[..., arrangement.MODES.index(mode)]) for mode, name in INDEX_OF_MODE.items()
    }
    return _worded(
        xr.Dataset(
            {"agreement": ((*dims, "mode"), agreement), **indices},
            {"network": list(found), "site": sites, "mode": list(arrangement.MODES)},
        )
    )


def concentrated(found: Mapping[str, Concentration]) -> xr.Dataset:
    """Gini, Hoyer and k90/P (network, seed, image), Lorenz curves, and the causal check's kappa.

    Args:
        found: by network, all with as many seeds, images and points.
    """
    image, networks = ("network", "seed", "image"), list(found)
    shares = next(iter(found.values())).lorenz.shape[1]

    def stacked(name: str) -> np.ndarray:
        return np.stack([np.asarray(getattr(each, name)) for each in found.values()])

    kept = kappa(stacked("kept").mean(-1), stacked("nothing").mean(-1)[:, :, None])
    return _worded(
        xr.Dataset(
            {
                **{name: (image, stacked(name)) for name in ("gini", "hoyer", "k90")},
                "lorenz": (("network", "seed", "quantile"), stacked("lorenz")),
                "kappa": (("network", "seed", "order", "fill"), kept),
            },
            {
                "network": networks,
                "quantile": np.linspace(0, 1, shares),
                "order": list(ORDERS),
                "fill": list(FILLS),
            },
        )
    )


def _worded(dataset: xr.Dataset) -> xr.Dataset:
    for name, words in WORDS.items():
        if name in dataset:
            dataset[name].attrs["long_name"] = words
    return dataset
