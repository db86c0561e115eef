import jax
import jax.numpy as jnp
import numpy as np

from pwact.studies import shuffles


def some(shape=(4, 3, 5, 6)):
    return jax.random.normal(jax.random.key(0), shape)


def points(a):
    return np.asarray(a).reshape(a.shape[0], -1, a.shape[-1])


def test_joint_keeps_the_bag_of_point_vectors():
    a = some()
    moved = shuffles.joint(jax.random.key(1), a)
    for before, after in zip(points(a), points(moved), strict=True):
        assert not np.array_equal(before, after)
        assert np.array_equal(np.unique(before, axis=0), np.unique(after, axis=0))


def test_channels_keep_only_each_channels_values():
    a = some()
    orders = shuffles.channel_orders(jax.random.key(1), a.shape)
    moved = shuffles.take(a, orders)
    for before, after in zip(points(a), points(moved), strict=True):
        assert np.array_equal(np.sort(before, 0), np.sort(after, 0))
        assert not np.array_equal(np.unique(before, axis=0), np.unique(after, axis=0))


def test_every_image_has_its_own_order():
    orders = np.asarray(shuffles.point_orders(jax.random.key(2), (50, 4, 4, 8)))[..., 0]
    assert len(np.unique(orders, axis=0)) == 50
    assert np.array_equal(np.sort(orders, 1), np.tile(np.arange(16), (50, 1)))


def test_orders_are_uniform():
    orders = np.asarray(shuffles.point_orders(jax.random.key(3), (6000, 1, 3, 1)))[..., 0]
    _, counts = np.unique(orders, axis=0, return_counts=True)
    # Six orders, 1,000 each; a standard deviation is 29.
    assert len(counts) == 6 and np.abs(counts - 1000).max() < 145


def test_take_puts_the_named_point_in_each_place():
    a = jnp.arange(8.0).reshape(1, 2, 2, 2)
    moved = shuffles.take(a, jnp.array([[[3], [2], [1], [0]]]))
    assert moved[0].reshape(4, 2).tolist() == [[6, 7], [4, 5], [2, 3], [0, 1]]


def test_rotation_is_orthogonal_and_no_permutation():
    r = np.asarray(shuffles.rotation(jax.random.key(4), 16), np.float64)
    assert np.allclose(r @ r.T, np.eye(16), atol=1e-5)
    assert np.abs(r).max() < 0.95
