"""Backpropagation by eye: the value and the gradient on every edge of three small circuits.

A circuit is an ordinary function. `f.edges(...)` runs it forward and backward and gives one row for every
input and intermediate result: its name, the line it comes from, its value, and the derivative of the output
with respect to it. Backpropagation is nothing else: each gate multiplies the gradient of its output by its
own local derivative, and hands the product to its inputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import gradc


@gradc.compile(wrt=(0, 1, 2))
def product(x, y, z):
    q = x + y
    f = q * z
    return f


@gradc.compile(wrt=(0, 1, 2, 3))
def gates(x, y, z, w):
    p = x * y
    m = np.maximum(z, w)
    s = p + m
    f = 2 * s
    return f


@gradc.compile(wrt=(0, 1))
def neuron(w, x):
    """The sigmoid of w[0] x[0] + w[1] x[1] + w[2], one gate a line."""
    a = w[0] * x[0]
    b = w[1] * x[1]
    c = a + b
    d = c + w[2]
    e = -d
    f = np.exp(e)
    g = f + 1
    h = 1 / g
    return h


def show(title: str, circuit: Any, *args: Any) -> dict[str, tuple[float, float]]:
    """Print the edges of a circuit; returns `{name: (value, gradient)}`."""
    print(title)
    print(f"  {'edge':8}{'value':>8}{'gradient':>10}   line")
    table = {}
    for row in circuit.edges(*args):
        table[row.name] = (float(row.value), float(row.gradient))
        print(f"  {row.name:8}{row.value:8.2f}{row.gradient:10.2f}   {row.line}")
    return table


def main() -> dict[str, dict[str, tuple[float, float]]]:
    # f = (x + y) z. The last row is where the backward pass starts: the derivative of the output with respect
    # to itself is 1. The multiply gate hands q the gradient z = -4, and z the gradient q = 3; the add gate
    # hands both of its inputs what it got, -4.
    first = show("f = (x + y) z at x = -2, y = 5, z = -4", product, -2.0, 5.0, -4.0)
    value, (dx, dy, dz) = product.value_and_grad(-2.0, 5.0, -4.0)
    print(f"  compiled: f = {value:g}, df/dx = {dx:g}, df/dy = {dy:g}, df/dz = {dz:g}\n")

    # Three gates, three habits:
    #   add       distributes: p and m both get the gradient of s
    #   max       routes: the larger input, z, gets all of the gradient of m, and w nothing
    #   multiply  switches: x gets the gradient of p times y, and y the gradient of p times x
    second = show("f = 2 (x y + max(z, w)) at x = 3, y = -4, z = 2, w = -1", gates, 3.0, -4.0, 2.0, -1.0)
    print()

    # The derivative of the sigmoid h is (1 - h) h = 0.27 * 0.73 = 0.20. That is what arrives at d, after four
    # gates: -1 / g^2, 1, exp(e) and -1. From there on, add distributes and multiply switches.
    w, x = (2.0, -3.0, -3.0), (-1.0, -2.0)
    third = show("h = sigmoid(w[0] x[0] + w[1] x[1] + w[2]) at w = (2, -3, -3), x = (-1, -2)", neuron, w, x)
    value, (dw, dx) = neuron.value_and_grad(w, x)
    print(f"  compiled: h = {value:.2f}")
    print(f"            dh/dw = ({', '.join(f'{each:.2f}' for each in dw)})")
    print(f"            dh/dx = ({', '.join(f'{each:.2f}' for each in dx)})")
    return {"product": first, "gates": second, "neuron": third}


if __name__ == "__main__":
    main()
