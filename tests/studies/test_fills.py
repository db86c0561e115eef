import jax
import jax.numpy as jnp
import numpy as np

from pwact.studies.fills import cycle, kappa, keep, mean_fill, other_image_fill
from pwact.studies.orders import blob_order, random_order, top_points


def some(shape=(6, 4, 5, 3)):
    return jax.random.normal(jax.random.key(0), shape)


def test_keep_takes_whole_point_vectors():
    a, fill = some(), -some() - 10
    mask = jax.random.bernoulli(jax.random.key(1), 0.5, a.shape[:3])
    got = np.asarray(keep(a, mask, fill))
    m = np.asarray(mask)
    assert np.array_equal(got[m], np.asarray(a)[m]) and np.array_equal(got[~m], np.asarray(fill)[~m])


def test_keep_everything_and_nothing():
    a = some()
    fill = mean_fill(a.mean((0, 1, 2)), a)
    assert np.array_equal(keep(a, jnp.ones(a.shape[:3], bool), fill), a)
    assert np.array_equal(keep(a, jnp.zeros(a.shape[:3], bool), fill), fill)
    assert np.ptp(np.asarray(fill), axis=(0, 1, 2)).max() == 0


def test_other_image_is_another_image_at_the_same_place():
    a = some()
    fill = np.asarray(other_image_fill(jax.random.key(2), a))
    sources = [next(i for i in range(6) if np.array_equal(fill[n], a[i])) for n in range(6)]
    assert sorted(sources) == list(range(6)) and all(n != i for n, i in enumerate(sources))


def test_cycle_is_one_cycle():
    successor = np.asarray(cycle(jax.random.key(3), 11))
    seen, at = [], 0
    for _ in range(11):
        seen.append(at)
        at = successor[at]
    assert at == 0 and sorted(seen) == list(range(11))


def test_kappa_closed_form():
    assert kappa(1.0, 0.3) == 1.0 and kappa(0.3, 0.3) == 0.0
    assert np.isclose(kappa(0.65, 0.3), 0.5)
    assert np.isnan(kappa(1.0, 1.0))
    assert np.allclose(kappa(np.array([0.5, 1.0]), np.array([0.0, 0.5])), [0.5, 1.0])


def test_top_points_sets_exactly_the_highest():
    score = np.array(some((3, 4, 5, 1))[..., 0])
    mask = np.asarray(top_points(jnp.asarray(score), 7))
    assert (mask.sum((1, 2)) == 7).all()
    for image, chosen in zip(score, mask, strict=True):
        assert image[chosen].min() > image[~chosen].max()
    assert (np.asarray(top_points(jnp.zeros((2, 3, 3)), 4)).sum((1, 2)) == 4).all()


def test_random_order_is_uniform_over_points():
    mask = np.asarray(top_points(random_order(jax.random.key(0), (4000, 3, 3)), 3))
    # Each point is chosen with 1/3; 4,000 draws give a standard error of 0.0075.
    assert np.abs(mask.mean(0) - 1 / 3).max() < 0.04


def test_a_blob_is_connected():
    import scipy.ndimage

    for count in (1, 5, 12, 30):
        masks = np.asarray(top_points(blob_order(jax.random.key(count), (40, 7, 6)), count))
        assert all(scipy.ndimage.label(mask)[1] == 1 for mask in masks)
