"""One of several processes that sweep: `python several.py PORT PROCESS PROCESSES OUT [KEY=VALUE ...]`.

Keys: `state`, a path; `slow`, seconds that reading a load takes; `lost`, seconds without a sign of life;
`batch`, images of a load; and what goes wrong: `bad`, the dataset index of an image that is NaN; `torn`, of
one that cannot be read; `other`, a seed of other variables in the last process; `dies`, which saving
together with the others the last process does not live to see.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import time

import jax

PORT, PROCESS, PROCESSES, OUT = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
ASKED = dict(argument.split("=") for argument in sys.argv[5:])
# No collective of the devices is wanted, and these would listen on more than the loopback.
jax.config.update("jax_cpu_collectives_implementation", None)
if PROCESSES > 1:
    address = f"127.0.0.1:{PORT}"
    jax.distributed.initialize(address, PROCESSES, PROCESS, coordinator_bind_address=address)

import numpy as np  # noqa: E402

import pwact  # noqa: E402
from pwact.core.sweep import loop, peers  # noqa: E402
from pwact.stats import by_class, exact_quantiles, extrema, moments  # noqa: E402
from tests.core.sweep.resuming import CLASSES, Changed, arrays, question  # noqa: E402

STATISTICS = {
    "m": moments(),
    "c": by_class(moments(), CLASSES),
    "e": extrema(),
    "q": exact_quantiles((0.3, 0.5)),
}

peers.LOST_SECONDS = float(ASKED.get("lost", peers.LOST_SECONDS))
last = PROCESS == PROCESSES - 1
probe, variables, data = question()
if "other" in ASKED and last:
    variables = question(int(ASKED["other"]))[1]
if "dies" in ASKED and last:
    save_with_all, times = loop.Run._save_with_all, itertools.count(1)

    def dying(run):
        if next(times) == int(ASKED["dies"]):
            os.kill(os.getpid(), signal.SIGKILL)
        save_with_all(run)

    loop.Run._save_with_all = dying


def read(positions):
    time.sleep(float(ASKED.get("slow", 0)))
    batch = data.read(positions)
    if int(ASKED.get("torn", -1)) in positions:
        raise OSError("image file is truncated")
    bad = (batch.index == int(ASKED.get("bad", -1)))[:, None, None, None]
    return batch._replace(image=np.where(bad, np.nan, batch.image))


found = pwact.sweep(
    probe,
    variables,
    Changed(data, read),
    STATISTICS,
    sites=["relu"],
    batch_size=int(ASKED.get("batch", 16)),
    progress=lambda done, total: print(done, total, flush=True),
    **({"state": ASKED["state"], "save_every": 0.1} if "state" in ASKED else {}),
)
attrs = {name: str(value) for name, value in found.attrs.items()}
np.savez(OUT, attrs=json.dumps(attrs), **arrays(found))
