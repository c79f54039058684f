"""Tokens for the nodes of a lab: even, reproducible, and different for every cluster name.

Nodes that start at the same moment must not pick tokens by themselves (they could not see each other's choice),
so each gets a list. The ring is cut into `nodes * vnodes` slots; each run of `nodes` slots goes to every node once,
in a shuffled order, at a point that is shifted a little inside its slot.
"""

import random

RING = 2**64
LOWEST = -(2**63)


def initial(cluster: str, nodes: int, vnodes: int) -> list[list[int]]:
    """A list of `vnodes` tokens for each of `nodes` nodes, node 1 first."""
    generator = random.Random(f"ringvault lab {cluster}")
    slot = RING // (nodes * vnodes)
    shift = generator.randrange(slot)
    tokens: list[list[int]] = [[] for _ in range(nodes)]
    for run in range(vnodes):
        order = list(range(nodes))
        generator.shuffle(order)
        for place, node in enumerate(order):
            start = (run * nodes + place) * slot + shift
            jitter = generator.randrange(-slot // 4, slot // 4)
            tokens[node].append(_wrap(start + jitter))
    return [sorted(own) for own in tokens]


def additional(cluster: str, present: dict[int, list[int]], index: int, vnodes: int) -> list[int]:
    """Tokens for a node that joins: each splits the widest gap that is left."""
    generator = random.Random(f"ringvault lab {cluster} node {index}")
    taken = sorted(token for own in present.values() for token in own)
    chosen: list[int] = []
    for _ in range(vnodes):
        gaps = [((taken[i] - taken[i - 1]) % RING or RING, taken[i - 1]) for i in range(len(taken))]
        width, low = max(gaps)
        token = _wrap(low - LOWEST + width // 2 + generator.randrange(-width // 8, width // 8))
        chosen.append(token)
        taken = sorted(taken + [token])
    return sorted(chosen)


def _wrap(position: int) -> int:
    """A position on the ring as a token; the lowest token is not allowed for a node."""
    return max(LOWEST + 1, position % RING + LOWEST)
