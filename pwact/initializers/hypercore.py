"""How deep each node lies in a weighted hypergraph."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float


def core_numbers(incidence: Float[Any, "edge node"]) -> Float[np.ndarray, " node"]:
    """The largest k for which a node belongs to the (k, 2)-hypercore.

    The (k, 2)-hypercore is the largest set of nodes each of which has a weighted degree of k or more, where a
    hyperedge counts for the nodes of it that are in the set, and only if there are two or more. It is found
    by peeling: the node of least degree goes, and has as its number the largest such degree so far.

    Args:
        incidence: weight of each node in each hyperedge, 0 or more; 0 where it is not in it.

    Returns:
        float64, in the weights' unit; to rounding (nodes x 2^-52 of the largest degree).

    Example:
        >>> import numpy as np
        >>> triangle_and_tail = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 1, 0], [0, 0, 1, 1]], float)
        >>> core_numbers(triangle_and_tail).tolist()
        [2.0, 2.0, 2.0, 1.0]

    Reference: S. Limnios, G. Dasoulas, D. Thilikos, M. Vazirgiannis, Hcore-Init: neural network
        initialization based on graph degeneracy, arXiv 2004.07636; peeling after V. Batagelj,
        M. Zaveršnik, An O(m) algorithm for cores decomposition of networks, arXiv cs/0310049.
    """
    weight = np.asarray(incidence, np.float64)
    inside = weight > 0
    size = inside.sum(1)
    degree = weight[size > 1].sum(0)
    number = np.zeros(weight.shape[1])
    left = np.ones(weight.shape[1], bool)
    reached = 0.0
    for _ in range(len(number)):
        node = int(np.argmin(np.where(left, degree, np.inf)))
        reached = number[node] = max(reached, degree[node])
        left[node] = False
        size = size - inside[:, node]
        # An edge that keeps one node counts for it no more; other degrees do not depend on who left.
        ended = inside[:, node] & (size == 1)
        degree -= np.where(left, weight[ended], 0).sum(0)
    return number
