import gka_check, pytest
from layer_torch import layer  # your kernel

@pytest.mark.parametrize("golden", gka_check.goldens("goldens"))
def test_layer(golden):
    assert gka_check.passes(gka_check.call(layer, golden), golden)
