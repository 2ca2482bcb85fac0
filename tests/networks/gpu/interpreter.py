"""Mends Triton 3.9's interpreter for the tests: a comparison of scalars, spread over a block, must be a mask."""

import numpy as np
from triton.runtime import interpreter


def mend() -> None:
    """A scalar's comparison keeps the type of what was compared, and as a block of integers it is refused as a mask."""

    def create_splat(builder, block_type, scalar):
        data = np.broadcast_to(scalar.data.reshape(-1)[0], block_type.shape)
        return interpreter.TensorHandle(data, scalar.dtype.scalar)

    interpreter.InterpreterBuilder.create_splat = create_splat
