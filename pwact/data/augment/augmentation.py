"""What an augmentation is: a function of an image and a key that says how it was made."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, Num

from pwact.errors import PwactError


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """A random function of images that keeps shape and dtype. Made by the factories of `pwact.data.augment`.

    Two of one recipe are equal and hash alike, so a compiled program that holds one as a static argument is
    used again.

    Args:
        name: of the factory.
        one: `one(key, image, *steps, **settings)` for one image [row, column, channel], traceable by jax.
        settings: of the factory, by name.
        steps: augmentations that it is put together from.

    Raises:
        PwactError: called with images of another rank or dtype, or with as many keys as there are images not.

    Example:
        >>> import jax, numpy as np
        >>> from pwact.data import augment
        >>> recipe = augment.chain(augment.crop(padding=2), augment.flip())
        >>> recipe.describe()
        'chain(crop(padding=2), flip())'
        >>> images = np.zeros((3, 8, 8, 1), np.uint8)
        >>> recipe(images, jax.random.split(jax.random.key(0), 3)).shape
        (3, 8, 8, 1)
    """

    name: str
    one: Callable[..., Array]
    settings: tuple[tuple[str, Any], ...] = ()
    steps: tuple[Augmentation, ...] = ()

    def __call__(
        self, image: Num[Any, "batch row column channel"], key: Key[Array, " key"]
    ) -> Num[Array, "batch row column channel"]:
        image = jnp.asarray(image)
        if len(key) != len(image):
            raise PwactError(
                "one key an image", f"{len(key)} keys for {len(image)} images", "use augment.image_keys"
            )
        if image.dtype not in (jnp.uint8, jnp.float32):
            raise PwactError("uint8 or float32 images", f"{image.dtype}", "augment images as they are stored")
        return jax.vmap(self.single)(key, image)

    def single(self, key: Key[Array, ""], image: Num[Array, "row column channel"]) -> Array:
        """One image."""
        return self.one(key, image, *self.steps, **dict(self.settings))

    def describe(self) -> str:
        """The call that makes it again, for provenance."""
        arguments = [step.describe() for step in self.steps]
        arguments += [f"{name}={value!r}" for name, value in self.settings]
        return f"{self.name}({', '.join(arguments)})"


def image_keys(key: Key[Array, ""], index: Int[Any, " batch"]) -> Key[Array, " batch"]:
    """A key for each image from one key and its place in the dataset, whatever batch it is in.

    Args:
        key: of the epoch or the step.
        index: [batch], as in `Batch.index`.

    Example:
        >>> import jax, numpy as np
        >>> from pwact.data.augment import image_keys
        >>> keys = image_keys(jax.random.key(0), np.array([3, 8], np.int32))
        >>> bool(keys[1] == image_keys(jax.random.key(0), np.array([8], np.int32))[0])
        True
    """
    return jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.asarray(index))


def checked(name: str, expected: str, value: Any, good: bool) -> None:
    """Refuse a setting outside its range."""
    if not good:
        raise PwactError(f"{name} {expected}", f"{name}={value!r}", "correct the recipe")
