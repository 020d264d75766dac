"""Strokes found by descent: a network that turns a picture into strokes, learnt through the differentiable brush.

What it proposes for a picture is then moved by descent on that picture alone (`fitted`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from handgen.painter.actions import COLOUR_NAMES, FLAG, ActionTable
from handgen.painter.brush import bezier_points, coverage, paint

LEAST_OPACITY = 0.5
"""Strokes that are more transparent are left out of programs."""
SHARPNESS = 4.0
"""Of the opacity, at the end of the descent."""
FEATURES = 256
GROUPS = 8


def picture_encoder(channels: int, image_size: int, width: int = 32) -> nn.Sequential:
    """Pictures (B, C, H, W), ink 1 and paper 0, to `FEATURES` numbers; the same in training and evaluation.

    Args:
        channels: C.
        image_size: H and W, a multiple of 8.
        width: channels of the first convolution, a multiple of `GROUPS`.
    """
    layers: list[nn.Module] = []
    for incoming, outgoing in ((channels, width), (width, 2 * width), (2 * width, 4 * width)):
        layers += [nn.Conv2d(incoming, outgoing, 3, 2, 1), nn.GroupNorm(GROUPS, outgoing), nn.ReLU(inplace=True)]
    flat = 4 * width * (image_size // 8) ** 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, FEATURES), nn.ReLU(inplace=True))


class StrokeNet(nn.Module):
    """A picture to S strokes that start anywhere: places, diameter, opacity, colour.

    Args:
        strokes: S.
        image_size: height and width of pictures, a multiple of 8.
        channels: of pictures; 1 paints in black.
        width: channels of the first convolution.
        sizes: smallest and largest diameter, as shares of the canvas' side.
    """

    def __init__(
        self,
        strokes: int = 5,
        image_size: int = 32,
        channels: int = 1,
        width: int = 32,
        sizes: tuple[float, float] = (0.02, 0.25),
    ) -> None:
        super().__init__()
        self.strokes, self.channels, self.sizes = strokes, channels, sizes
        self.numbers = 8 + (3 if channels == 3 else 0)
        self.encoder = picture_encoder(channels, image_size, width)
        self.out = nn.Linear(FEATURES, strokes * self.numbers)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Pictures (B, C, H, W) in [0, 1] to strokes, as of `strokes_of`."""
        return self.strokes_of(self.propose(image))

    def propose(self, image: Tensor) -> Tensor:
        """Pictures (B, C, H, W) in [0, 1] to numbers without bounds (B, S, K)."""
        numbers: Tensor = self.out(self.encoder(1.0 - image)).view(-1, self.strokes, self.numbers)
        return numbers

    def strokes_of(self, numbers: Tensor, sharpness: float = 1.0) -> dict[str, Tensor]:
        """Numbers without bounds (B, S, K) to strokes; those in colour are opaque, as strokes of programs are.

        Args:
            numbers: what was proposed.
            sharpness: how sharply black strokes are told from absent ones.

        Returns:
            ``places`` (B, S, 3, 2), ``size`` (B, S), ``opacity`` (B, S) and ``colour`` (B, S, 3).
        """
        places = torch.sigmoid(numbers[..., :6]).unflatten(-1, (3, 2))
        smallest, largest = self.sizes
        size = smallest + (largest - smallest) * torch.sigmoid(numbers[..., 6] - 1.0)
        opacity = torch.sigmoid(sharpness * (numbers[..., 7] + 2.0))
        shape = (*numbers.shape[:2], 3)
        colour = torch.sigmoid(numbers[..., 8:]) if self.channels == 3 else torch.zeros(shape, device=numbers.device)
        opacity = torch.ones_like(opacity) if self.channels == 3 else opacity
        return {"places": places, "size": size, "opacity": opacity, "colour": colour}


@torch.inference_mode(False)
@torch.enable_grad()
def fitted(net: StrokeNet, image: Tensor, steps: int, rate: float = 0.1) -> dict[str, Tensor]:
    """What a network proposes for pictures, moved by descent on the squared error of each.

    Every picture has its own strokes and its own descent, whatever else is in the batch. As it goes on, transparent
    strokes have to become opaque or to vanish (`SHARPNESS`): a program knows no others.

    Args:
        net: proposes; it does not learn, and is left in evaluation mode.
        image: (B, C, H, W) in [0, 1].
        steps: of Adam; 0 leaves what is proposed.
        rate: of the first step, falling evenly to 0.

    Returns:
        Strokes, as of `StrokeNet.strokes_of`, without gradients.
    """
    image = image.clone()  # tensors of inference mode cannot be learnt from
    with torch.no_grad():
        numbers = net.eval().propose(image)
    numbers.requires_grad_()
    optimiser = torch.optim.Adam([numbers], lr=rate)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = rate * (1.0 - step / steps)
        sharpness = 1.0 + (SHARPNESS - 1.0) * step / steps
        painted = paint_strokes(net.strokes_of(numbers, sharpness), image.shape[-1], net.channels)
        optimiser.zero_grad()
        (painted - image).square().flatten(1).mean(1).sum().backward()
        optimiser.step()
    with torch.no_grad():
        return net.strokes_of(numbers, SHARPNESS if steps else 1.0)


def paint_strokes(strokes: dict[str, Tensor], size: int, channels: int) -> Tensor:
    """What `StrokeNet` decided, painted one stroke after the other on white, (B, C, size, size) in [0, 1]."""
    places, diameter = strokes["places"], strokes["size"]
    count, each = diameter.shape
    radius = (0.5 * diameter).flatten()[:, None].expand(-1, 2)
    covered = coverage(places.flatten(0, 1), radius, size).unflatten(0, (count, each))
    canvas = torch.ones(count, channels, size, size, device=places.device)
    for index in range(each):
        colour = strokes["colour"][:, index, :channels]
        canvas = paint(canvas, covered[:, index], colour, strokes["opacity"][:, index])
    return canvas


def table_sizes(table: ActionTable) -> tuple[float, float]:
    """The smallest and the largest diameter that a table has."""
    component = table.components[table.names.index("size")]
    return (min(component.values), max(component.values)) if component.values else (component.low, component.high)


@torch.no_grad()
def to_actions(strokes: dict[str, Tensor], table: ActionTable, length: int, most_strokes: int | None = None) -> Tensor:
    """The nearest actions (B, T, C) to strokes: for each a jump to its start, unless the pen is there, and the stroke.

    A compound stroke, which has no control point, goes through the middle of the curve.

    Strokes that hardly show (`LEAST_OPACITY`) are left out, and those that no longer fit; what is left of T are jumps
    to where the pen is, which paint nothing.

    Args:
        strokes: of `StrokeNet`.
        table: what an action is.
        length: T.
        most_strokes: actions of a program that may draw; None knows no limit.
    """
    places, size, colour = strokes["places"], strokes["size"], strokes["colour"]
    known = {"size": size, "pressure": torch.ones_like(size)}
    known |= {name: colour[..., i] for i, name in enumerate(COLOUR_NAMES)}
    drawn = torch.ones_like(size)
    ends = [places[:, :, 2]]
    if not any(name.startswith("control") for name in table.names):
        ends.insert(0, bezier_points(places.flatten(0, 1), segments=2)[:, 1].view_as(ends[0]))
    known |= {"control": places[:, :, 1]}
    lines = torch.stack([table.encode({**known, FLAG: drawn, "end": end}) for end in ends], dim=2)
    jumps = table.encode({**known, FLAG: 0.0 * drawn, "end": places[:, :, 0]})
    lines, jumps = (actions * table.used(actions) for actions in (lines, jumps))
    middle = table.encode({FLAG: size.new_zeros(1), "end": size.new_full((1, 2), 0.5)})[0]
    most = length if most_strokes is None else most_strokes
    kept = strokes["opacity"] >= LEAST_OPACITY
    rows = []
    for row in range(len(size)):
        actions: list[Tensor] = []
        pen, drawn_so_far = middle, 0
        for jump, line in zip(jumps[row][kept[row]], lines[row][kept[row]], strict=True):
            # A pen that has not moved yet is between the middle cells, not in one: the first stroke has a jump always.
            starts = [] if actions and torch.equal(jump, pen) else [jump]
            if len(actions) + len(starts) + len(line) > length or drawn_so_far + len(line) > most:
                continue
            actions += [*starts, *line]
            pen, drawn_so_far = lift(line[-1], table), drawn_so_far + len(line)
        rows.append(torch.stack([*actions, *[pen] * (length - len(actions))]))
    return torch.stack(rows)


def lift(action: Tensor, table: ActionTable) -> Tensor:
    """The jump to where an action (C,) ends."""
    ends = torch.tensor([name.startswith("end") for name in table.names], device=action.device)
    return action * ends
