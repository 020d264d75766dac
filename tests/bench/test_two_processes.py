"""What a second process is worth, in little."""

import pytest

from handgen.bench import two_processes

TINY = (
    "--model.image_size=32",
    "--data.image_size=32",
    "--model.width=8",
    "--model.latent_dim=4",
    "--data.batch_size=8",
)


@pytest.mark.slow
@pytest.mark.integration
def test_records_of_the_comparison(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("HANDGEN_CACHE", str(tmp_path_factory.mktemp("cache")))
    measured = {r.metric: r for r in two_processes.measure(1, images=64, epochs=2, words=TINY)}
    assert set(measured) == {"two_processes/ours", "two_processes/reference", "two_processes/ratio"}
    ours, reference = measured["two_processes/ours"].value, measured["two_processes/reference"].value
    assert measured["two_processes/ratio"].value == pytest.approx(ours / reference)
