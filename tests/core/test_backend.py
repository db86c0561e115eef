from __future__ import annotations

import jax
import pytest

from pwact.core import backend


@pytest.fixture
def fresh():
    backend._known.cache_clear()
    yield
    backend._known.cache_clear()


def test_the_options_of_this_machine_compile():
    jax.jit(lambda x: x + 1, compiler_options=backend.compiler_options())(1.0)


def test_an_option_that_this_version_does_not_know_is_left_out(fresh, monkeypatch):
    monkeypatch.setattr(backend, "CPU_OPTIONS", {"xla_cpu_option_of_another_version": "1"})
    assert backend.compiler_options() == {}


def test_accelerators_get_no_option_of_the_cpu(fresh, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert backend.compiler_options() == {}


def test_micro_batches_are_around_the_cache(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(backend, "cache_bytes", lambda: 2 << 20)
    assert backend.micro_batches(1 << 20, 128 << 10, 10_000) == [32, 16, 64, 8]
    assert backend.micro_batches(1 << 20, 128 << 10, 10) == [16, 8, 4]
    assert backend.micro_batches(1 << 30, 1 << 31, 10) == [1, 2]


def test_cache_is_a_sensible_size():
    assert 1 << 17 <= backend.cache_bytes() <= 1 << 30
