"""One of several processes that sweep together: `python several.py PORT PROCESS PROCESSES OUT [KEY=VALUE ...]`.

Keys: `state`, a path; `slow`, seconds that reading a load takes; `bad`, a dataset index whose image is NaN;
`torn`, one that cannot be read; `other`, a seed of other variables in the last process; `lost`, seconds.
"""

from __future__ import annotations

import json
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
from pwact.core.sweep import peers  # noqa: E402
from pwact.stats import exact_quantiles, top_k  # noqa: E402
from tests.core.sweep.resuming import LOAD, STATISTICS, Changed, arrays, question  # noqa: E402

peers.LOST_SECONDS = float(ASKED.get("lost", peers.LOST_SECONDS))
last = PROCESS == PROCESSES - 1
probe, variables, data = question()
if "other" in ASKED and last:
    variables = question(int(ASKED["other"]))[1]


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
    {**STATISTICS, "q": exact_quantiles((0.3, 0.5)), "t": top_k(4)},
    sites=["relu"],
    batch_size=LOAD,
    micro_batch=LOAD,
    progress=lambda done, total: print(done, total, flush=True),
    **({"state": ASKED["state"], "save_every": 0.1} if "state" in ASKED else {}),
)
np.savez(OUT, attrs=json.dumps({k: str(v) for k, v in found.attrs.items()}), **arrays(found))
