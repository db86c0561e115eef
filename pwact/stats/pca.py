"""Principal components of point vectors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pwact.core.accumulator import Accumulator, Named, Result, float_dtype, point_dims
from pwact.core.arguments import whole_number
from pwact.core.caching import memoized
from pwact.core.streaming.blocks import in_blocks
from pwact.core.streaming.joint import Joint, JointState
from pwact.core.streaming.positions import as_samples, known_positions, sample_shape
from pwact.errors import PwactError
from pwact.types import Observation

OWN = Joint(((0, 0),))


@memoized
def pca(components: int, *, positions: str = "pooled") -> Accumulator:
    """The directions in channel space along which point vectors vary most.

    covariance v_k = eigenvalue_k v_k,   |v_k| = 1,   explained_k = eigenvalue_k / sum of all eigenvalues

    The covariance is that of `covariance`, its eigenvectors are found on the device in float32. With
    u = 2^-24, C channels and N samples an update an eigenvalue is off by at most about (4 N + C) u times
    the sum of all eigenvalues, in practice by (sqrt(N) + sqrt(C)) u times the largest; one that is below
    that is noise. v_k is off by that error over the distance to the next eigenvalue: of two eigenvalues
    closer than it, only the plane of both vectors has a meaning.

    Args:
        components: how many, from 1 to the number of channels.
        positions: "pooled": every position of every image is a sample; "each": components at each position,
            over images.

    Returns:
        An accumulator with results `count` (int64, samples), `mean` [channel], `eigenvalue` and `explained`
        [component], descending, and `components` [component, channel], with `row` and `column` in front for
        "each" position of maps. A vector's sign is such that its first entry of at least 3/4 of its largest
        magnitude is positive. Nothing seen: count 0, the others NaN; no variance: `explained` is NaN. Too
        large for float32: inf.

    Raises:
        PwactError: components below 1, positions that are neither; (by `init`) fewer channels than
            components, the activation is neither a map nor a vector, or not of floating-point numbers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pwact.stats import pca
        >>> from pwact.types import Observation
        >>> acc = pca(1)
        >>> x, zero = jnp.array([[0.0, 0.0], [3.0, -4.0]]), jnp.zeros(2, jnp.int32)
        >>> state = acc.init(jax.ShapeDtypeStruct((2,), x.dtype))
        >>> state = acc.update(state, Observation(x, zero, zero, jnp.arange(2), jnp.ones(2, bool)))
        >>> acc.finalize(state)["components"].values.round(3).tolist()
        [[0.6000000238418579, -0.800000011920929]]

    Reference: Pearson, "On lines and planes of closest fit to systems of points in space",
        Philosophical Magazine 2 (1901). Reconstructed from the formulas.
    """
    components = whole_number("components", components, "ask for one component or more")
    positions = known_positions(positions, ("pooled", "each"))

    def init(spec: jax.ShapeDtypeStruct) -> JointState:
        shape = sample_shape(spec, positions, "pca")
        if components > shape[-1]:
            raise PwactError(
                f"components of {shape[-1]} or less, the activation's channels",
                str(components),
                "ask for fewer",
            )
        return OWN.init((shape,), float_dtype(spec))

    def update(state: JointState, seen: Observation) -> JointState:
        return OWN.update(state, (as_samples(seen.activation, positions),), seen.valid)

    def finalize(state: JointState) -> Result:
        (covariance,), (mean,) = OWN.covariances(state), OWN.means(state)
        total = jnp.trace(covariance, axis1=-2, axis2=-1)[..., None]
        known, varies = jnp.isfinite(total), total > 0
        # Scaled to a trace of 1: an eigenvalue of 1e-30 is as good as one of 1.
        scale = jnp.where(known & varies, total, 1)
        ascending, vectors = jnp.linalg.eigh(jnp.where(known[..., None], covariance / scale[..., None], 0))
        shares = jnp.maximum(ascending[..., ::-1][..., :components], 0)
        vectors = _signed(jnp.swapaxes(vectors, -1, -2)[..., ::-1, :][..., :components, :])
        where = point_dims(mean.ndim)[:-1]

        def named(value: Array, *dims: str) -> Named:
            missing = total if value.ndim == total.ndim else total[..., None]
            return Named(jnp.where(jnp.isfinite(missing), value, missing), (*where, *dims))

        return {
            "count": Named(state.samples, ()),
            "mean": Named(mean, (*where, "channel")),
            "eigenvalue": named(shares * scale, "component"),
            "explained": named(jnp.where(varies, shares, jnp.nan), "component"),
            "components": named(vectors, "component", "channel"),
        }

    # A matrix at each position is more to walk than the rows are.
    blockwise = in_blocks(update) if positions == "pooled" else update
    return Accumulator(init, blockwise, OWN.merge, finalize)


def _signed(vectors: Float[Array, "... channel"]) -> Float[Array, "... channel"]:
    """Each vector or its negative; of magnitudes that are equal but for rounding the first decides."""
    size = jnp.abs(vectors)
    first = jnp.argmax(size >= 0.75 * size.max(-1, keepdims=True), axis=-1, keepdims=True)
    return vectors * jnp.where(jnp.take_along_axis(vectors, first, -1) < 0, -1, 1)
