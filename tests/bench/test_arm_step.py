"""The arm's benchmark: equal output is the headline, and what else is measured stands beside it."""

from handgen.bench import arm_step
from handgen.bench._sides import compared


def test_records_of_equal_output_and_of_masks_alone() -> None:
    measured = {r.metric: r for r in arm_step.measure(runs=2, steps=3, processes=1)}
    wanted = {f"{what}/{part}" for what in ("arm_step", "arm_step_masks") for part in ("ours", "reference", "ratio")}
    assert set(measured) == wanted
    assert "picture and reward" in measured["arm_step/ratio"].variant
    assert "silhouettes alone" in measured["arm_step_masks/ratio"].variant
    assert measured["arm_step/reference"].value == measured["arm_step_masks/reference"].value


def test_several_processes_are_counted_together() -> None:
    rates = {"reference": [10.0, 20.0], "arm_step_processes": [40.0, 40.0]}
    unit = arm_step.unit_of("arm_step_processes", 2)
    ours, reference, ratio = compared("arm_step_processes", unit, rates["arm_step_processes"], rates["reference"])
    assert (ours.value, reference.value, ratio.value) == (40.0, 15.0, 3.0)
    assert "2 processes (reference: 1)" in ratio.variant
