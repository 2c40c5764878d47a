import pytest
from layer_torch import layer  # your kernel

@pytest.mark.gka("goldens")
def test_layer(gka_golden):
    gka_golden.check(layer)
