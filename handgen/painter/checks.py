"""Settings of a painter and of its experience that are out of range, or contradict each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from handgen.errors import UserError, check_at_least, check_positive, check_ranges
from handgen.painter.actions import action_table
from handgen.painter.scenes import MOST_OBJECTS
from handgen.painter.shifts import grid_side
from handgen.painter.world import CHANNELS

Settings = Mapping[str, Any]


def check_painter(h: Settings) -> None:
    """Refuse settings of `handgen.painter.module.Painter`.

    Raises:
        UserError: naming the first that is not right.
    """
    counts = ("length", "strokes", "policy_epochs", "minibatches", "discriminator_updates", "most_strokes", "width")
    check_at_least(1, **{name: h[name] for name in (*counts, "paintings_of_a_target")})
    check_at_least(0, fit_steps=h["fit_steps"])
    check_positive(
        **{name: h[name] for name in ("temperature", "clip", "fit_lr", "distill_lr", "rl_lr", "discriminator_lr")}
    )
    check_ranges(
        channels=(h["channels"], h["channels"] in CHANNELS, "be 1 or 3"),
        gamma=(h["gamma"], 0 <= h["gamma"] <= 1, "lie in [0, 1]"),
        trace=(h["trace"], 0 <= h["trace"] <= 1, "lie in [0, 1]"),
        glimpse=(
            h["glimpse"],
            0 <= h["glimpse"] <= h["image_size"] and h["glimpse"] % 2 == 0,
            f"be even and lie in [0, {h['image_size']}], the pixels of a canvas' side",
        ),
    )
    if h["glimpse"] and h["blind"] and not h["conditional"]:
        raise UserError("a blind painter of nothing in particular has nothing to look at: set model.glimpse=0")
    if (h["reward"] == "l2" or h["complement"] or h["paintings_of_a_target"] > 1) and not h["conditional"]:
        raise UserError(
            "reward=l2, complement=true and paintings_of_a_target need a picture to paint: set model.conditional=true"
        )
    if h["joint"] and (h["adversary"] != "spectral" or h["conditional"] or h["reward"] == "l2"):
        raise UserError("joint=true is for painters of nothing in particular with adversary=spectral")


def check_experience(data: Settings, painter: Settings) -> None:
    """Refuse settings of `handgen.datamodules.paintings.Paintings` that do not go with the painter's.

    Raises:
        UserError: naming the first that is not right.
    """
    scenes = "shape" in action_table(painter["table"]).names
    if scenes != (data["source"] == "scenes"):
        raise UserError(
            f"model.table={painter['table']} and data.source={data['source']}: scenes need both, others none"
        )
    on_fitted = data["distill_on"] == "fitted"
    if scenes and (on_fitted or data["fit_updates"] > 0):
        raise UserError("scenes have no strokes to fit: set data.fit_updates=0 and data.distill_on=random")
    most = min(painter["length"], MOST_OBJECTS, painter["most_strokes"] or MOST_OBJECTS)
    check_ranges(
        most_objects=(data["most_objects"], not scenes or 1 <= data["most_objects"] <= most, f"lie in [1, {most}]")
    )
    if data["varied_share"] > 0 and not (on_fitted and grid_side(action_table(painter["table"]))):
        raise UserError("varied_share is for programs that are fitted and have their places on a grid: set it to 0")
    imitates = on_fitted and (data["distill_updates"] > 0 or painter["imitation_weight"] > 0)
    if data["fit_updates"] == 0 and (imitates or data["real"] == "programs" or painter["joint"]):
        raise UserError(
            "distill, imitation_weight, real=programs and joint=true need fitted strokes: set data.fit_updates above 0 "
            "(or, for the first two, data.distill_on=random)"
        )
    if data["real"] == "programs" and painter["conditional"]:
        raise UserError("real=programs is for painters of nothing in particular: a pair would show by its target alone")
    count, group = data["batch_size"], painter["paintings_of_a_target"]
    check_ranges(
        batch_size=(count, count % group == 0, f"be a multiple of model.paintings_of_a_target={group}"),
        minibatches=(painter["minibatches"], painter["minibatches"] <= count, f"be at most data.batch_size={count}"),
    )
