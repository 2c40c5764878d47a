"""layer: experiments/notebooks/layer.py with the system's NumPy, 1 or 2 (python/package compares its bits, with a new one).

NumPy 1 widens a lone number where it meets a Python int, and NumPy 2 does not: lone numbers and arrays are rounded alike.
"""
import pathlib
import sys

try:
    import numpy as np
except ImportError:
    print("layer: skipped: NumPy is not installed")
    sys.exit(77)
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "experiments" / "notebooks"))
import layer  # noqa: E402

numbers = np.float32([0, -0.0, 1, 1 + 2**-8, 1 + 3 * 2**-8, -3.14159, 1e-40, 3.4e38, np.inf])
rounded = layer.bf16(numbers)
assert rounded.tolist()[2:6] == [1, 1, 1 + 2**-6, -3.140625], rounded
for number, one in zip(numbers, rounded):
    alone = layer.bf16(number)
    assert alone.dtype == np.float32 and alone.tobytes() == one.tobytes(), (number, alone, one)

# One key, a ridge of .02: the state of NUMERICS with D = 2, by both forms.
H, q, lam, f = np.float32([[1, 0], [0, 0]]), np.float32([1, .5]), np.float32(.02), np.float32(1)
three, two = layer.chebyshev(layer.bf16, H, q, lam, f, 30), layer.two_term(layer.bf16, H, q, lam, f, 30)
assert three.tolist() == [1.03125, 23.75] and two.tolist() == [.9921875, 24.75], (three, two)
print(f"layer: NumPy {np.__version__}: lone numbers as arrays, both forms")
