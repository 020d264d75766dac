"""The speed comparison of rendering, on tiny frames."""

import pytest
from opengl import needs_gl

pytest.importorskip("dm_control")


@needs_gl
@pytest.mark.slow  # starts processes
def test_records_of_the_comparison() -> None:
    from handgen.bench import cartpole_render

    measured = {r.metric: r for r in cartpole_render.measure(runs=2, frames=8, size=32, num_processes=1)}
    assert set(measured) == {"cartpole_render/ours", "cartpole_render/reference", "cartpole_render/ratio"}
    ratio = measured["cartpole_render/ratio"]
    assert ratio.low is not None and ratio.high is not None
    assert ratio.low <= ratio.value <= ratio.high
    assert "frames/s" in measured["cartpole_render/ours"].variant
