"""Made-up source text and random weights for tests."""

import random

from torch import nn

WORDS = [
    "user",
    "order",
    "price",
    "total",
    "count",
    "index",
    "list",
    "node",
    "value",
    "name",
    "state",
    "event",
    "query",
    "token",
    "parse",
    "format",
    "update",
]


def readable_code(seed: int, functions: int = 12) -> str:
    """Made-up JavaScript that no filter refuses; other seeds give other text."""
    draw = random.Random(seed)
    lines = []
    for number in range(functions):
        a, b, c, d = (f"{draw.choice(WORDS)}{draw.choice(WORDS).title()}" for _ in range(4))
        lines += [
            f"export function {a}{draw.choice(WORDS).title()}({b}, {c}) {{",
            f"  const {d} = {b}.{draw.choice(WORDS)}({c});",
            f"  if ({d} > {number}) {{",
            f"    return {draw.choice(WORDS)}({d}, {a});",
            "  }",
            f"  return {draw.choice(WORDS)}{draw.choice(WORDS).title()};",
            "}",
            "",
        ]
    return "\n".join(lines)


def randomise(network: nn.Module, gain: float) -> None:
    """Draws the matrices anew; unlike untrained ones, none of them is zero."""
    for parameter in network.parameters():
        if parameter.dim() == 2:
            nn.init.normal_(parameter, std=gain * parameter.shape[1] ** -0.5)
