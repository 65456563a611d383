"""A training step of the digits network: `gradc.fit` beside the same step written by hand in NumPy.

    python -m benchmarks.digits_step

Network 64-64-32-10, batches of 32 in float32, Adam with a cosine schedule. Both sides run whole epochs, with
what belongs to them (the order of the rows, the smaller last batch), and the time is per step.
"""

from __future__ import annotations

import numpy as np

import gradc
from benchmarks.rounds import Row, microseconds_each

EPOCHS = 10


def measure() -> list[Row]:
    """The rows of the table."""
    from examples import digits

    X, _, y, _ = digits.data()
    Y = np.eye(10, dtype=np.float32)[y]
    params = digits.initial_params()
    loss = gradc.compile(digits.loss)
    steps = EPOCHS * -(-len(X) // digits.BATCH)
    adam = gradc.optim.adam(gradc.optim.cosine(digits.RATE, steps))

    def ours() -> None:
        gradc.fit(
            loss, params, (X, Y), optimizer=adam, epochs=EPOCHS, batch_size=digits.BATCH, progress=False
        )

    def theirs() -> None:
        digits.fit_by_hand(params, X, Y, EPOCHS, digits.hand_schedule(steps))

    return [
        Row("digits training step", "NumPy by hand", 0.5, *microseconds_each(ours, theirs, per=steps)),
    ]


if __name__ == "__main__":
    from benchmarks.__main__ import table

    print(table(measure()))
