"""The comparison of SAC+AE's update: both sides learn, and the records say what was measured."""

import torch

from handgen.bench.sac_ae_update import PlainSACAE, measure, transitions


def test_the_reference_learns() -> None:
    torch.manual_seed(0)
    agent, batch = PlainSACAE(16, 8), transitions(4, 16)
    before = {name: value.clone() for name, value in agent.state_dict().items()}
    agent.update(batch, 0)
    changed = {name.split(".")[0] for name, value in agent.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"encoder", "critic", "actor", "decoder", "target_encoder", "target_critic", "log_alpha"}


def test_records_of_a_tiny_comparison() -> None:
    records = measure(runs=2, updates=2, batch_size=4, image_size=16, hidden=8, own_processes=False)
    assert len({record.variant for record in records}) == len(records) / 3 in (1, 2)
    found = {record.metric: record for record in records if "bfloat16" not in record.variant}
    assert set(found) == {f"sac_ae_update/{name}" for name in ("ours", "reference", "ratio")}
    ratio = found["sac_ae_update/ratio"]
    assert 0 < ratio.low <= ratio.value <= ratio.high
    assert "batch 4, 16 px" in ratio.variant
