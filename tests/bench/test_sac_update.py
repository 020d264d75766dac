"""The speed comparison of SAC, on tiny networks."""

import pytest

from handgen.bench import sac_update

pytest.importorskip("stable_baselines3")


def test_records_of_the_comparison() -> None:
    measured = {r.metric: r for r in sac_update.measure(runs=2, updates=5, hidden=8, batch_size=4, warmup=10)}
    assert set(measured) == {"sac_update/ours", "sac_update/reference", "sac_update/ratio"}
    ratio = measured["sac_update/ratio"]
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.low <= ratio.value <= ratio.high
    assert "updates/s" in measured["sac_update/ours"].variant
