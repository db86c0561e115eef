"""How a result came to be: hashes, versions, the machine."""

from __future__ import annotations

import datetime
import functools
import hashlib
import importlib.metadata
import platform
from typing import Any

import jax
import numpy as np

from pwact._version import __version__
from pwact.errors import NonFiniteError

MADE_BY = ("versions", "backend", "device")
"""Of `machine`, what the bits of a result depend on."""

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "xarray", "h5netcdf")


def variables_hash(variables: Any) -> str:
    """The sha256 of a pytree of arrays: paths, shapes, dtypes and bytes.

    Args:
        variables: what `probe.run` takes; None is the hash of nothing.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> import numpy as np
        >>> one, other = {"bias": np.zeros(2)}, {"bias": np.ones(2)}
        >>> variables_hash(one) == variables_hash(one), variables_hash(one) == variables_hash(other)
        (True, False)
    """
    digest = hashlib.sha256()
    for path, array in _arrays(variables):
        digest.update(f"{path} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def index_hash(indices: Any) -> str:
    """The sha256 of dataset indices as they come, each as a little-endian 64-bit integer.

    A dataset's `index_hash` is that of its indices in increasing order, the same on every machine.

    Args:
        indices: integers [image].

    Example:
        >>> index_hash([0, 1, 2])[:12]
        'ab25350e3e65'
    """
    return hashlib.sha256(np.asarray(indices).astype("<i8").tobytes()).hexdigest()


def check_finite_variables(variables: Any) -> None:
    """Refuse variables that hold a NaN or an infinity, and name the array.

    Example:
        >>> import numpy as np
        >>> check_finite_variables({"bias": np.array([0.0, np.inf])})
        Traceback (most recent call last):
        pwact.errors.NonFiniteError: expected variables of finite numbers; found 1 of 2 not finite in ...
    """
    for path, array in _arrays(variables):
        if jax.numpy.issubdtype(array.dtype, np.inexact):
            bad = int(array.size - np.isfinite(array).sum())
            if bad:
                raise NonFiniteError(
                    "variables of finite numbers",
                    f"{bad} of {array.size} not finite in {path}",
                    "load the checkpoint again, or train with a smaller step",
                )


def machine() -> dict[str, str]:
    """The time, the library versions and the device, as they are now.

    Example:
        >>> sorted(machine())
        ['backend', 'created', 'device', 'platform', 'versions']
    """
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": _versions(),
        "backend": jax.default_backend(),
        "device": ", ".join(sorted({device.device_kind for device in jax.devices()})),
        "platform": _platform(),
    }


@functools.cache
def _versions() -> str:
    found = {"pwact": __version__, "python": platform.python_version()}
    found |= {name: importlib.metadata.version(name) for name in LIBRARIES}
    return " ".join(f"{name}={version}" for name, version in found.items())


@functools.cache
def _platform() -> str:
    return f"{platform.system()} {platform.machine()}"


def _arrays(variables: Any) -> list[tuple[str, np.ndarray]]:
    def host(leaf: Any) -> np.ndarray:
        if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        return np.asarray(leaf)

    return [
        (jax.tree_util.keystr(path), host(leaf))
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables)
    ]
