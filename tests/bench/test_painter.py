"""The painter's speed comparisons, in little."""

import pytest

from handgen.bench import painter_strokes, painter_update, scenes_render
from handgen.errors import UserError


@pytest.mark.parametrize(("what", "bench", "settings"), [
    ("painter_strokes", painter_strokes, {"strokes": 2}),
    ("painter_update", painter_update, {"updates": 2, "batch_size": 4, "discriminator_updates": 1}),
    ("scenes_render", scenes_render, {"pictures": 2, "size": 32}),
])  # fmt: skip
def test_records_of_the_comparison(what: str, bench: object, settings: dict[str, int]) -> None:
    try:
        measured = {r.metric: r for r in bench.measure(runs=2, **settings)}  # type: ignore[attr-defined]
    except UserError as error:
        if what == "painter_update":  # which needs neither MyPaint's library nor OpenGL
            raise
        pytest.skip(str(error))
    assert set(measured) == {f"{what}/ours", f"{what}/reference", f"{what}/ratio"}
    ratio = measured[f"{what}/ratio"]
    assert ratio.low is not None and ratio.high is not None and 0 < ratio.low <= ratio.value <= ratio.high


def test_the_plain_model_is_another() -> None:
    text = scenes_render.plain_model()
    assert 'type="plane"' in text and "quality" not in text and 'castshadow="true"' in text
