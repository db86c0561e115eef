"""One sweep on one and on several devices: exact where nothing is rounded, to a bound where sums are."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

COMMON = """
import sys
import jax, jax.numpy as jnp, numpy as np, pwact
from pwact.core.sweep import mesh
from pwact.stats import *

images = np.random.default_rng(0).integers(0, 256, (203, 8, 8, 3), np.uint8)
label = np.random.default_rng(1).integers(0, 4, 203)
data = pwact.data.arrays(images, label, num_classes=5, name="noise")
kernel = np.random.default_rng(2).normal(size=(3, 3, 3, 16)).astype(np.float32)
head = np.random.default_rng(3).normal(size=(16, 5)).astype(np.float32)


def model(variables, image):
    layout = ("NHWC", "HWIO", "NHWC")
    with jax.named_scope("conv"):
        x = jax.lax.conv_general_dilated(image, variables[0], (1, 1), "SAME", dimension_numbers=layout)
    with jax.named_scope("act"):
        x = jax.nn.relu(x)
    return x.mean((1, 2)) @ variables[1]


probe = pwact.probe(model, jnp.zeros((2, 8, 8, 3)), variables=(kernel, head))
site = next(name for name in probe.sites if "relu" in name)
statistics = {
    "m": moments(), "e": extrema(), "f": firing(), "t": top_k(3), "c": by_class(moments(), 5),
    "h": by_class(histogram(bins=8), 5), "q": exact_quantiles((0.5, 0.9)), "v": covariance(),
    "a": accuracy(), "g": of_gradient(moments()),
}


def swept(devices, **kwargs):
    return pwact.sweep(
        probe, (kernel, head), data, statistics, sites=[site],
        preprocess=lambda x: x.astype(jnp.float32) / 255 - 0.5, devices=devices, batch_size=64,
        gradient_of=lambda logits, label, prediction: logits[:, 0], **kwargs,
    )


def compared(one, other):
    assert list(one[site].data_vars) == list(other[site].data_vars)
    for name, value in one[site].data_vars.items():
        found = other[site][name]
        if np.issubdtype(value.dtype, np.integer) or name.split(".")[0] in "ehqt":
            np.testing.assert_array_equal(found, value, err_msg=name)
        else:
            # Sums of 203 values of size up to 10 in another order: 203 * 2^-24 * 10 is 1.2e-4 at most.
            np.testing.assert_allclose(found, value, rtol=2e-5, atol=1e-5, err_msg=name)
"""

GOES_ON = """
import os, tempfile

def stop(done, total):
    if done > total // 2:
        raise KeyboardInterrupt

with tempfile.TemporaryDirectory() as folder:
    state = os.path.join(folder, "state")
    try:
        swept(jax.devices()[:4], state=state, progress=stop)
    except KeyboardInterrupt:
        pass
    try:
        swept(jax.devices()[:2], state=state)
    except pwact.PwactError as error:
        assert "another devices (4, now 2)" in str(error), error
    else:
        raise AssertionError
    again = swept(jax.devices()[:4], state=state)
    assert again.attrs["resumed"] != "[]"
    whole = swept(jax.devices()[:4])
    for name, value in whole[site].data_vars.items():
        np.testing.assert_array_equal(again[site][name], value)
"""

CASES = {
    "as many devices as there are, and some": """
        assert len(jax.devices()) == 8
        one = swept(jax.devices()[:1])
        for number in (2, 3, 8):
            other = swept(jax.devices()[:number])
            compared(one, other)
        assert other.attrs["devices"].count("CpuDevice") == 8 or other.attrs["devices"].count("cpu") == 8
        assert swept(None).attrs["devices"] == other.attrs["devices"]
        compared(one, swept(jax.devices()[5:6]))
    """,
    "states dealt by channel": """
        one = swept(jax.devices()[:1])
        mesh.LARGE_STATE_BYTES = 1000
        compared(one, swept(jax.devices()[:4]))
        compared(one, swept(jax.devices()[:8], micro_batch=2))
    """,
    "what is not finite is named": """
        images[150, 2, 3, 1] = 255
        try:
            pwact.sweep(
                probe, (kernel, head), data, {"m": moments()}, sites=[site], devices=jax.devices()[:4],
                preprocess=lambda x: jnp.where(
                    (jnp.arange(8) == 2)[None, :, None, None] & (x == 255), jnp.inf, x.astype(jnp.float32)
                ),
            )
        except pwact.PwactError as error:
            first = min(np.argwhere((images == 255)[:, 2]).tolist())[0]
            assert f"inf for the image of dataset index {first}," in str(error), error
        else:
            raise AssertionError
    """,
    "an interrupted sweep goes on": GOES_ON,
    "an interrupted sweep of states by channel goes on": "mesh.LARGE_STATE_BYTES = 1000\n" + GOES_ON,
    "devices that are none": """
        for devices in ([], [jax.devices()[0]] * 2, [3], 2, jax.devices()[0]):
            try:
                swept(devices)
            except pwact.PwactError as error:
                assert "a sequence of devices of this process, each once" in str(error)
            else:
                raise AssertionError
    """,
}


@pytest.mark.parametrize("case", CASES)
def test_several_devices(case):
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
    }
    program = COMMON + textwrap.dedent(CASES[case])
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
