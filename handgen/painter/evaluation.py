"""What paintings are worth: graded by a classifier that rewards nobody, or compared with their targets."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from handgen import paths
from handgen.episodes import mean_measurement
from handgen.painter.fit import paint_strokes, to_actions
from handgen.painter.judge import Classifier, grade, train_classifier
from handgen.painter.policy import NOISE, Policy
from handgen.painter.rollout import paint_program, strokes_drawn
from handgen.painter.scene_search import accuracies, metropolis_hastings
from handgen.painter.scenes import SceneWorld
from handgen.painter.tree_search import search
from handgen.results import Measurement
from handgen.whole_files import whole_file

if TYPE_CHECKING:
    from handgen.painter.module import Painter

CHUNK_PIXELS = 250 * 10 * 32 * 32
"""Of all canvases of paintings that are made side by side, a gigabyte or so of features."""
CLASSIFIER_UPDATES = 800


def real_classifier(images: Tensor, labels: Tensor, classes: int) -> Classifier:
    """A classifier trained on real training pictures, kept in the cache.

    Args:
        images: uint8 (N, C, H, W).
        labels: int64 (N,).
        classes: number of classes.
    """
    content = hashlib.sha256(images.numpy().tobytes() + labels.numpy().tobytes()).hexdigest()[:16]
    path = paths.cache_root() / "painter" / f"classifier-{content}-{CLASSIFIER_UPDATES}.pt"
    model = Classifier(classes, images.shape[-1], images.shape[1])
    if path.is_file():
        model.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
        return model.eval()
    model = train_classifier(images, labels, classes, updates=CLASSIFIER_UPDATES)
    with whole_file(path) as partial:
        torch.save(model.state_dict(), partial)
    return model


@dataclass(frozen=True)
class Painted:
    """What is left of N paintings.

    Attributes:
        finished: (N, C, H, W) in [0, 1].
        actions: (N, T, K), their programs.
    """

    finished: Tensor
    actions: Tensor


def chunk_of(painter: Painter) -> int:
    """How many paintings are made side by side."""
    h = painter.hparams
    return int(max(1, min(250, CHUNK_PIXELS // (h["length"] * h["image_size"] ** 2))))


@torch.no_grad()
def paint_many(
    painter: Painter, count: int, target: Tensor | None, policy: Policy, greedy: bool | None = None
) -> Painted:
    """Paint ``count`` pictures, or targets (N, C, H, W) in [0, 1], a few at a time.

    Args:
        painter: whose world is painted in.
        count: N.
        target: what is to be painted.
        policy: decides.
        greedy: take the likeliest choices; None does so where there is a target.
    """
    world, finished, actions, few = painter.world(), [], [], chunk_of(painter)
    likeliest = target is not None if greedy is None else greedy
    for first in range(0, count, few):
        wanted = None if target is None else target[first : first + few]
        made = painter.paint(world, min(few, count - first), wanted, likeliest, policy)
        finished.append(made.finished)
        actions.append(made.actions.transpose(0, 1))
    return Painted(torch.cat(finished), torch.cat(actions))


def search_many(painter: Painter, count: int, target: Tensor | None, policy: Policy) -> Painted:
    """The same by `handgen.painter.tree_search`, one after the other."""
    found, length = [], int(painter.hparams["length"])
    on_the_way = painter.hparams["credit"] == "difference"
    proposes = partial(policy, temperature=painter.hparams["temperature"])
    for row in range(count):
        wanted = None if target is None else target[row : row + 1]
        noise = torch.randn(1, NOISE, device=painter.device)
        score = partial(painter.worth, target=wanted)
        found.append(search(proposes, painter.world().copy(), length, noise, score, wanted, on_the_way=on_the_way))
    return Painted(torch.stack([canvas for _, canvas in found]), torch.stack([actions for actions, _ in found]))


def grade_pictures(pictures: Tensor, classifier: Classifier, real: Tensor, variant: str) -> list[Measurement]:
    """Pictures, float (N, C, H, W) in [0, 1], in the eyes of a classifier, beside real ones, uint8 (M, C, H, W)."""
    graded, count = grade(classifier, pictures, real), len(pictures)
    sure, kid = graded.confident, graded.kid
    measured = [
        Measurement("samples/confident", sure.value, sure.low, sure.high, count, variant),
        Measurement("samples/kid", kid.value, kid.low, kid.high, count, variant),
    ]
    if not math.isnan(graded.class_entropy):  # as where it is sure of none
        measured.append(Measurement("samples/class_entropy", graded.class_entropy, n=count, variant=variant))
    return measured


def measure_samples(painted: Painted, classifier: Classifier | None, real: Tensor, variant: str) -> list[Measurement]:
    """Paintings of nothing in particular: graded where there is a classifier of real pictures, strokes counted."""
    drawn = strokes_drawn(painted.actions).float()
    graded = [] if classifier is None else grade_pictures(painted.finished.cpu(), classifier, real, variant)
    return [*graded, mean_measurement("samples/strokes", drawn, variant)]


def measure_copies(
    painted: Tensor, image: Tensor, strokes: Tensor, variant: str, blank: Tensor | None = None
) -> list[Measurement]:
    """How near copies (N, C, H, W) come to pictures in [0, 1]: their error as a share of a blank canvas' error.

    Args:
        painted: what was painted.
        image: what was to be painted.
        strokes: (N,), strokes drawn.
        variant: who painted.
        blank: (1, C, H, W), what a painting begins with; None is white.
    """
    error_of_blank = ((1.0 if blank is None else blank) - image).square().mean()
    share = (painted - image).square().flatten(1).mean(1) / error_of_blank
    return [
        mean_measurement("recon/mse_of_blank", share, variant),
        mean_measurement("recon/strokes", strokes.float(), variant),
    ]


@torch.no_grad()
def best_of(painter: Painter, image: Tensor, tries: int, policy: Policy) -> Tensor:
    """Programs (N, T, K), for each picture (N, C, H, W) the one of ``tries`` whose painting is nearest.

    The first try is of the likeliest choices; the others are drawn.
    """
    best, least = torch.empty(0), torch.full((len(image),), float("inf"), device=image.device)
    for number in range(tries):
        painted = paint_many(painter, len(image), image, policy, greedy=number == 0)
        actions, error = painted.actions, (painted.finished - image).square().flatten(1).mean(1)
        best = actions if not len(best) else torch.where((error < least)[:, None, None], actions, best)
        least = torch.minimum(least, error)
    return best


def measure_scenes(
    painter: Painter, image: Tensor, truth: Tensor, policy: Policy, variant: str, tries: Sequence[int] = (1, 20)
) -> list[Measurement]:
    """How right the programs of scenes (N, 3, H, W) are, of one try and of the nearest of more."""
    measured = []
    for count in tries:
        name = variant if count == 1 else f"{variant}_best_of_{count}"
        measured += accuracies(best_of(painter, image, count, policy).cpu(), truth, painter.table, name)
    return measured


def measure_search(
    painter: Painter, image: Tensor, truth: Tensor, renders: Sequence[int], seed: int = 0
) -> list[Measurement]:
    """The same of Metropolis-Hastings with so many renders a scene; ``renders`` of a painter are tries times length."""
    world, length = painter.world(), int(painter.hparams["length"])
    if not isinstance(world, SceneWorld):
        return []
    measured = []
    for budget in renders:
        generator = torch.Generator().manual_seed(seed)
        found = [metropolis_hastings(world, each, budget, length, generator).actions for each in image]
        measured += accuracies(torch.stack(found), truth, painter.table, f"metropolis_hastings_{budget}")
    return measured


@dataclass(frozen=True)
class Fit:
    """Strokes found for N pictures, without a policy.

    Attributes:
        painted: (N, C, H, W) in [0, 1], the strokes as they are.
        programs: (N, T, K), the same as actions of the table.
        written: (N, C, H, W) in [0, 1], what these paint.
    """

    painted: Tensor
    programs: Tensor
    written: Tensor


@torch.no_grad()
def fit_pictures(painter: Painter, image: Tensor) -> Fit:
    """Strokes and programs of pictures (N, C, H, W) in [0, 1], a few at a time."""
    h, found = painter.hparams, []
    for part in image.split(chunk_of(painter)):
        strokes = painter.strokes(part)
        programs = to_actions(strokes, painter.table, h["length"], h["most_strokes"])
        painted = paint_strokes(strokes, h["image_size"], h["channels"])
        unused = torch.zeros(len(programs), NOISE)  # not drawn: a fit that is remembered leaves random numbers alone
        found.append((painted, programs, paint_program(painter.world(), programs, unused).finished))
    return Fit(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def measure_fit(painter: Painter, image: Tensor, fit: Fit) -> list[Measurement]:
    """How near fitted strokes come to their pictures (N, C, H, W) in [0, 1], as they are and as programs."""
    count = torch.full((len(image),), painter.hparams["strokes"])
    measured = measure_copies(fit.painted, image, count, "fit")
    return measured + measure_copies(fit.written, image, strokes_drawn(fit.programs), "programs")


@torch.no_grad()
def measure_programs(painter: Painter, image: Tensor, programs: Tensor, policy: Policy, variant: str) -> Measurement:
    """How unlikely a policy finds programs (N, T, K) of pictures (N, C, H, W), in nats for a program."""
    unlikely, few = [], chunk_of(painter)
    for part, written in zip(image.split(few), programs.split(few), strict=True):
        rollout = paint_program(painter.world(), written, target=part if painter.hparams["conditional"] else None)
        unlikely.append(painter.program_nll(rollout, policy))
    return mean_measurement("programs/nll", torch.cat(unlikely), variant)
