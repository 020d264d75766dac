"""Experience of a painter: pictures to fit, programs to learn, and paintings that it has just made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, Protocol, cast

import torch
from lightning import LightningDataModule
from torch import Tensor

from handgen.datamodules.replay import Experience
from handgen.datamodules.scenes import random_scenes, scene_pictures
from handgen.datamodules.strokes import Pictures, Source, load_pictures
from handgen.errors import UserError, check_ranges
from handgen.painter.actions import ActionTable
from handgen.painter.checks import check_experience
from handgen.painter.rollout import Rollout, paint_program, random_programs
from handgen.painter.scenes import SceneWorld
from handgen.painter.shifts import grid_side, shifted_pictures, shifted_programs, varied_programs
from handgen.painter.worlds import World
from handgen.processes import gathered, process_count, process_rank, seed_of_process

Batch = dict[str, Any]
PROGRAM_CHUNK = 125
IMITATED_SHARE = 4
"""Paintings of ``rl`` for each program that is learnt beside them: half as much time as with one for each."""
TEST_SCENES = 650


class PaintingAgent(Protocol):
    """What this source asks of the method."""

    table: ActionTable
    hparams: dict[str, Any]
    device: torch.device

    def paint(self, world: World, count: int, target: Tensor | None = None) -> Rollout:
        """Paint."""
        ...

    def programs(self, image: Tensor) -> Tensor:
        """Fitted programs of pictures."""
        ...

    def paint_with(self, engine: str, brush: str) -> None:
        """Paint with an engine, and MyPaint with a brush."""
        ...

    def world(self) -> World:
        """What is painted in."""
        ...


class Paintings(LightningDataModule):
    """Batches of three stages, one after the other; resuming is exact.

    - ``stage="fit"``: ``image`` float (B, C, H, W) in [0, 1].
    - ``stage="distill"``: ``rollout``, paintings of fitted programs, or of random ones ("sleep").
    - ``stage="rl"``: ``rollout``, paintings just made; ``image``, pictures; ``fake``, paintings of the last batches,
      and for conditional painters ``fake_target``, what these were to show; for a joint discriminator the programs of
      both, ``actions`` and ``fake_actions`` (B, T, K); ``programs``, a small batch as of ``distill``.

    Targets of which several paintings are made (``model.paintings_of_a_target``) have these side by side.

    Those of the first two have ``progress``, the share of their stage that is done; those of ``rl`` tell whether they
    are the ``first`` and whether the discriminator is still ``warming`` up, have pictures for all its updates, each as
    often as any other (once where there are enough of them), and the ``progress`` of ``rl`` over the Trainer's epochs.

    Args:
        source: ``digits``, ``mnist``, ``omniglot``, ``celeba``, ``hands``, ``folder`` (`load_pictures`) or ``scenes``.
        folder: where the files are; default: a folder named after the source in HANDGEN_DATA, or else in ``data``.
        train_count: largest number of training pictures.
        fit_updates: batches of ``fit``.
        distill_updates: batches of ``distill``.
        distill_on: programs ``fitted`` to the training pictures, or ``random`` ones, whose renderings are the pictures.
        shift_cells: cells of the table's grid by which fitted programs are moved at most as they are learnt, and
            painted anew; their targets are moved along, where a cell is a whole number of pixels (else neither is).
        varied_share: share of the fitted programs that are turned, stretched and sheared at random as they are learnt,
            with their paintings in the place of the pictures (`handgen.painter.shifts.varied_programs`).
        fit_batch_size: B of ``fit`` and ``distill``.
        batch_size: B of ``rl``.
        warming_updates: batches of ``rl`` from which the discriminator alone learns.
        real: what paintings are to look like: ``pictures``, or ``programs`` fitted to them, which no brush's edges tell
            from paintings.
        replay_batches: from which older paintings are drawn.
        epoch_updates: batches of an epoch.
        engine: ``torch`` or ``mypaint``.
        brush: of MyPaint.
        most_objects: of a scene.
        seed: of the order; None takes that of the run. The pictures are the same for all.
    """

    def __init__(
        self,
        source: Source | Literal["scenes"] = "digits",
        folder: str | None = None,
        train_count: int = 8000,
        fit_updates: int = 1500,
        distill_updates: int = 1500,
        distill_on: Literal["fitted", "random"] = "fitted",
        shift_cells: int = 2,
        varied_share: float = 0.0,
        fit_batch_size: int = 64,
        batch_size: int = 64,
        warming_updates: int = 50,
        real: Literal["pictures", "programs"] = "pictures",
        replay_batches: int = 20,
        epoch_updates: int = 100,
        engine: Literal["torch", "mypaint"] = "torch",
        brush: str = "pen",
        most_objects: int = 2,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_ranges(
            train_count=(train_count, train_count >= 10, "be at least 10"),
            fit_updates=(fit_updates, fit_updates >= 0, "not be negative"),
            distill_updates=(distill_updates, distill_updates >= 0, "not be negative"),
            shift_cells=(shift_cells, shift_cells >= 0, "not be negative"),
            varied_share=(varied_share, 0.0 <= varied_share <= 1.0, "lie in [0, 1]"),
            batch_size=(batch_size, batch_size >= 2, "be at least 2"),
            fit_batch_size=(fit_batch_size, fit_batch_size >= 2, "be at least 2"),
            replay_batches=(replay_batches, replay_batches >= 1, "be at least 1"),
            epoch_updates=(epoch_updates, epoch_updates >= 1, "be at least 1"),
        )
        self.dataset = str(source)
        self.pictures: dict[str, Pictures] = {}
        self.truth: dict[str, Tensor] = {}
        self.done = 0
        self.seed = torch.initial_seed() if seed is None else seed
        self.generator = torch.Generator().manual_seed(self.seed)
        self._programs: Tensor | None = None
        self._sampled: PaintingAgent | None = None
        self._fakes: list[dict[str, Tensor]] = []

    @property
    def painter(self) -> PaintingAgent:
        """The method that is being trained, or sampled.

        Raises:
            UserError: if it does not paint.
        """
        module = self._sampled if self.trainer is None else self.trainer.lightning_module
        if not hasattr(module, "paint"):
            raise UserError("Paintings is the experience of a painter, such as handgen.painter.module.Painter")
        return cast(PaintingAgent, module)

    def setup(self, stage: str) -> None:
        """Load the pictures, at the painter's size, or draw the scenes; without a trainer there is nothing to do.

        Raises:
            UserError: for settings that do not go with the painter's, and for absent or damaged files.
        """
        if self.pictures or (self.trainer is None and self._sampled is None):
            return
        h, painter = self.hparams, self.painter.hparams
        check_experience(h, painter)
        self.painter.paint_with(h["engine"], h["brush"])
        if process_rank():
            self.generator.manual_seed(seed_of_process(self.seed, process_rank()))
        if h["source"] == "scenes":
            for seed, (name, count) in enumerate((("train", h["train_count"]), ("test", TEST_SCENES))):
                programs = self._random(count, torch.Generator().manual_seed(seed), held_out=name == "test")
                self.pictures[name] = scene_pictures(cast(SceneWorld, self.world()), programs)
                self.truth[name] = programs
        else:
            self.pictures = load_pictures(
                h["source"], painter["image_size"], painter["channels"], h["train_count"], folder=h["folder"]
            )

    def held_out(self, painter: PaintingAgent) -> Tensor:
        """Test pictures, uint8 (N, C, H, W), at the size of a painter that is not in training."""
        self._sampled = painter
        self.setup("test")
        return self.pictures["test"].images

    def world(self) -> World:
        """What is painted in: the painter's own."""
        return self.painter.world()

    @property
    def paintings(self) -> int:
        """Paintings made in ``rl``."""
        return int(max(0, self.done - self._unrewarded_updates) * self.hparams["batch_size"])

    @property
    def env_steps(self) -> int:
        """Actions painted in ``rl``."""
        return self.paintings * int(self.painter.hparams["length"])

    @property
    def rewards_follow(self) -> bool:
        """Whether the batches to come are of ``rl``, and there are any to come."""
        return self.done >= self._unrewarded_updates and self._asked_updates > self.done

    @property
    def _rewarded_updates(self) -> int:
        """Batches of ``rl`` in all epochs that the Trainer has been asked for; at least 1."""
        return max(1, self._asked_updates - self._unrewarded_updates)

    @property
    def _asked_updates(self) -> int:
        """Batches of all epochs that the Trainer has been asked for."""
        assert self.trainer is not None
        return int((self.trainer.max_epochs or 0) * self.hparams["epoch_updates"])

    @property
    def _unrewarded_updates(self) -> int:
        """Batches before those of ``rl``."""
        return int(self.hparams["fit_updates"] + self.hparams["distill_updates"])

    # The loop.

    def train_dataloader(self) -> Experience:
        """Batches of the coming epoch."""
        return Experience(self, self.hparams["epoch_updates"])

    def val_dataloader(self) -> list[int]:
        """One batch of nothing: callbacks look at what the painter paints."""
        return [0]

    def test_dataloader(self) -> list[int]:
        """As for validation."""
        return [0]

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Leave batches where they are: they are made on the painter's device."""
        return batch

    def next_batch(self) -> Batch:
        """The next batch, of the stage that has come."""
        fit, distill = self.hparams["fit_updates"], self.hparams["distill_updates"]
        done, self.done = self.done, self.done + 1
        if done < fit:
            return {"stage": "fit", "image": self._draw(self.hparams["fit_batch_size"]), "progress": done / fit}
        if done < fit + distill:
            return {
                "stage": "distill",
                "rollout": self._programs_drawn(self.hparams["fit_batch_size"]),
                "progress": (done - fit) / distill,
            }
        return self._rollout(done - fit - distill)

    def _draw(self, count: int) -> Tensor:
        """Training pictures, float (B, C, H, W) in [0, 1]."""
        return self._images(drawn_evenly(len(self.pictures["train"]), count, self.generator))

    def _images(self, rows: Tensor) -> Tensor:
        return self.pictures["train"].images[rows].to(self.painter.device).float() / 255

    def _real(self, count: int) -> dict[str, Tensor]:
        """What the discriminator is shown as real: ``image`` (B, C, H, W) in [0, 1], and ``actions`` if it asks."""
        joint = self.painter.hparams["joint"]
        if self.hparams["real"] == "pictures" and not joint:
            return {"image": self._draw(count)}
        programs = self._fitted()
        rows = drawn_evenly(len(programs), count, self.generator)
        actions = programs[rows].to(self.painter.device)
        pictures = self.hparams["real"] == "pictures"
        image = self._images(rows) if pictures else paint_program(self.world(), actions).finished
        return {"image": image, "actions": actions} if joint else {"image": image}

    def _fitted(self) -> Tensor:
        """Programs (N, T, K) fitted to the training pictures, once."""
        if self._programs is None:
            rows = torch.arange(len(self.pictures["train"]))
            painter = self.painter
            self._programs = torch.cat([painter.programs(self._images(part)) for part in rows.split(PROGRAM_CHUNK)])
        return self._programs

    def _programs_drawn(self, count: int) -> Rollout:
        """Paintings of programs, with what they were to show."""
        painter, world = self.painter, self.world()
        conditional = painter.hparams["conditional"]
        if self.hparams["distill_on"] == "random":
            actions = self._random(count, self.generator).to(painter.device)
            made = paint_program(world, actions)
            return Rollout(
                made.canvases, made.actions, made.log_prob, made.noise, made.finished if conditional else None
            )
        programs = self._fitted()
        rows = drawn_evenly(len(programs), count, self.generator)
        actions, target = self._shifted(programs[rows].to(painter.device), self._images(rows) if conditional else None)
        varied = round(self.hparams["varied_share"] * count)
        if not varied:
            return paint_program(world, actions, target=target)
        actions = torch.cat([varied_programs(painter.table, actions[:varied], self.generator), actions[varied:]])
        made = paint_program(world, actions, target=target)
        if target is None:
            return made
        return replace(made, target=torch.cat([made.finished[:varied], target[varied:]]))

    def _shifted(self, actions: Tensor, target: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Programs (B, T, K), and targets (B, C, H, W) with them, moved by a few cells."""
        table, most = self.painter.table, self.hparams["shift_cells"]
        side = grid_side(table)
        if not most or not side or (target is not None and target.shape[-1] % side):
            return actions, target
        moved, cells = shifted_programs(table, actions, most, self.generator)
        return moved, None if target is None else shifted_pictures(target, cells * (target.shape[-1] // side))

    def _random(self, count: int, generator: torch.Generator, held_out: bool = False) -> Tensor:
        """Programs (B, T, K) that nobody meant; of scenes, with objects on places of their own, held out or not."""
        world, length = self.world(), self.painter.hparams["length"]
        if isinstance(world, SceneWorld):
            return random_scenes(world, count, self.hparams["most_objects"], length, generator, held_out)
        most = self.painter.hparams["most_strokes"]
        return random_programs(world.table, count, length, generator, most_strokes=most)

    def _rollout(self, index: int) -> Batch:
        """Paintings just made, and what the discriminator learns from."""
        painter, count = self.painter, self.hparams["batch_size"]
        conditional = painter.hparams["conditional"]
        group = painter.hparams["paintings_of_a_target"]
        target = self._draw(count // group).repeat_interleave(group, 0) if conditional else None
        rollout = painter.paint(self.world(), count, target)
        warming = index < self.hparams["warming_updates"]
        batch: Batch = {
            "stage": "rl",
            "rollout": rollout,
            "first": index == 0,
            "warming": warming,
            "progress": min(1.0, index / self._rewarded_updates),
        }
        if painter.hparams["reward"] == "discriminator":
            batch |= self._for_discriminator(rollout, target)
        if painter.hparams["imitation_weight"] > 0 and not warming:
            batch["programs"] = self._programs_drawn(max(painter.hparams["minibatches"], count // IMITATED_SHARE))
        return batch

    def _for_discriminator(self, rollout: Rollout, target: Tensor | None) -> Batch:
        """Pictures and paintings of the last batches, for as many updates as it makes."""
        count, h = self.hparams["batch_size"], self.painter.hparams
        made = {"fake": (255 * rollout.finished).round().byte()}
        if target is not None:
            made["fake_target"] = (255 * target).round().byte()
        if h["joint"]:
            made["fake_actions"] = rollout.actions.transpose(0, 1)
        self._fakes = [*self._fakes, made][-self.hparams["replay_batches"] :]
        shown = count * h["discriminator_updates"]
        rows = drawn_evenly(len(self._fakes) * count, shown, self.generator)
        return {**self._real(shown), **{name: _rows([fakes[name] for fakes in self._fakes], rows) for name in made}}

    # Resuming.

    def state_dict(self) -> dict[str, Any]:
        """How far training is, the programs, and the paintings that are kept."""
        return {
            "done": self.done,
            "programs": self._programs,
            "processes": gathered({"generator": self.generator.get_state(), "fakes": self._fakes}),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises:
            UserError: if it was written by another number of processes.
        """
        states = state_dict.get("processes", [state_dict])  # one alone in checkpoints of earlier versions
        if len(states) != process_count():
            raise UserError(f"the checkpoint holds the paintings of {len(states)} processes: resume with as many")
        self.done, self._programs = state_dict["done"], state_dict["programs"]
        self.generator.set_state(states[process_rank()]["generator"].cpu())
        self._fakes = states[process_rank()]["fakes"]


def drawn_evenly(count: int, wanted: int, generator: torch.Generator) -> Tensor:
    """Row numbers (wanted,) below ``count`` in no order, each as often as any other: once, where there are enough."""
    rounds = [torch.randperm(count, generator=generator) for _ in range(-(-wanted // count))]
    return torch.cat(rounds)[:wanted]


def _rows(parts: list[Tensor], rows: Tensor) -> Tensor:
    """Chosen rows of parts one after the other; those of bytes as float in [0, 1]."""
    chosen = torch.cat(parts)[rows.to(parts[0].device)]
    return chosen.float() / 255 if chosen.dtype == torch.uint8 else chosen
