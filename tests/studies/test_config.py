import dataclasses

import pytest

from pwact.errors import PwactError
from pwact.models import build
from pwact.studies import PRESETS, StudyConfig, preset
from pwact.studies.measure import model_probe
from pwact.studies.networks import FLATTEN, MOVED, SHUFFLED, SMALL, TRAINED, UNTRAINED, kinds


def test_the_rules_are_the_studys():
    """The thresholds as they were fixed before anything ran; changing one must fail here."""
    for config in PRESETS.values():
        assert dataclasses.asdict(config.arrangement) == {
            "retained_support": 0.95,
            "aii_support": 0.5,
            "difference_support": 0.1,
            "retained_refute": 0.85,
        }
        assert dataclasses.asdict(config.concentration) == {
            "gini_support": 0.6,
            "difference_support": 0.0,
            "difference_refute": 0.0,
            "margin_error": 0.001,
        }
        assert (config.budget, config.depth, config.minimum_seeds) == (0.1, 0.5, 10)
        assert config.level == 0.95 and config.permutations >= 16
        assert config.calibration.auroc == 0.95 and config.calibration.seeds == 10
        assert config.calibration.false_verdicts == 0.05
    for name in ("quick", "full"):
        assert (
            preset(name).draws == 10_000 and preset(name).seeds >= 10 and preset(name).calibration_seeds >= 10
        )


@pytest.mark.parametrize(
    "blocks, depth, expected", [(4, 0.5, 1), (5, 0.5, 1), (3, 0.5, 0), (1, 0.5, 0), (4, 1.0, 3), (6, 0.5, 2)]
)
def test_primary_block_is_nearest_in_relative_depth(blocks, depth, expected):
    config = StudyConfig("p", "digits", widths=(4,) * blocks, depth=depth)
    assert config.primary_block == expected and config.primary_site == f"blocks.{expected}.relu"


@pytest.mark.parametrize("field", ["seeds", "calibration_seeds", "images", "permutations", "ranks", "draws"])
@pytest.mark.parametrize("value", [0, -1, True])
def test_numbers_out_of_range_are_refused(field, value):
    with pytest.raises(PwactError, match=field):
        StudyConfig("p", "digits", **{field: value})


def test_an_unknown_preset_names_the_known():
    with pytest.raises(PwactError, match="quick"):
        preset("quik")


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3)])
def test_networks_differ_in_what_they_are_for_and_in_nothing_else(shape):
    config = preset("quick")
    by_name = {kind.name: kind for kind in kinds(config, shape, 10)}
    main = by_name[TRAINED].model
    for name in (SHUFFLED, UNTRAINED, MOVED):
        assert by_name[name].model == main
    assert dataclasses.replace(by_name[FLATTEN].model, head="gap") == main
    small = by_name[SMALL].model
    assert small.map_shapes[config.primary_block :] == main.map_shapes[config.primary_block :]
    assert small.receptive_fields[-1] == small.first_kernel_size < main.receptive_fields[-1]
    assert by_name[SHUFFLED].split == "train"
    assert [kind.split for name, kind in by_name.items() if name != SHUFFLED] == ["test"] * 5
    assert by_name[MOVED].interventions[0].site == config.primary_site


def test_the_small_receptive_field_is_small_and_the_sites_exist():
    config = preset("quick")
    main = model_probe(config.model((28, 28, 1), 10))
    small = model_probe(config.small_receptive_field((28, 28, 1), 10))
    for probe in (main, small):
        assert set(config.sites) <= set(probe.sites)
    last = config.sites[-1]
    assert small.sites[last].receptive_field.size == (9, 9)
    assert min(main.sites[last].receptive_field.size) > 20
    assert main.sites[config.primary_site].shape == small.sites[config.primary_site].shape


def test_a_probe_of_shapes_takes_a_real_networks_variables():
    import jax.numpy as jnp
    import numpy as np
    from flax import nnx

    config = preset("smoke").model((8, 8, 1), 10)
    image = jnp.asarray(np.random.default_rng(0).normal(size=(3, 8, 8, 1)), jnp.float32)
    model = build(config, 7)
    model.eval()
    outputs, _ = model_probe(config).run(nnx.state(model), image)
    # The same program, compiled op by op or whole: a few roundings of logits of size 1.
    assert np.allclose(outputs, model(image), atol=1e-5)
