"""Critics of silhouettes: they see what an action looks like, and their slope leads to it."""

import torch

from handgen.arm.body import FITTED
from handgen.arm.critics import LookingCritics, TargetMask
from handgen.arm.geometry import actions_of, as_tensors, joints_of, random_joints, soft_silhouette

MEASURED = as_tensors(FITTED)


def masks_of(joints: torch.Tensor) -> torch.Tensor:
    return soft_silhouette(MEASURED, joints, 28, 0.03).flatten(1)


def test_the_target_is_the_first_of_the_two_pictures() -> None:
    image = torch.zeros(2, 2, 56, 56) - 0.5
    image[1, 0, :2, :1] = 0.5
    small = TargetMask(28)(image)
    assert small.shape == (2, 784) and float(small[0].sum()) == 0.0 and float(small[1, 0]) == 0.5


def test_targets_of_any_size_are_made_small() -> None:
    assert TargetMask(28)(torch.full((2, 2, 50, 50), 0.5)).shape == (2, 784)


def test_frozen_critics_give_gradient_to_the_action_alone() -> None:
    torch.manual_seed(0)
    critics, action = LookingCritics(MEASURED), torch.zeros(3, 12, requires_grad=True)
    critics(masks_of(random_joints(3, torch.Generator().manual_seed(0))), action, frozen=True).sum().backward()
    assert action.grad is not None and bool((action.grad.abs().sum(1) > 0).all())
    assert all(parameter.grad is None for parameter in critics.parameters())


def test_members_are_different_and_values_depend_on_both() -> None:
    torch.manual_seed(0)
    critics = LookingCritics(MEASURED, members=3)
    target = masks_of(random_joints(4, torch.Generator().manual_seed(1)))
    q = critics(target, torch.zeros(4, 12))
    assert q.shape == (3, 4) and len({round(float(value), 6) for value in q.detach().flatten()}) == 12


def test_a_trained_critic_leads_to_the_target() -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(2)
    critics = LookingCritics(MEASURED)
    optimiser = torch.optim.Adam(critics.parameters(), lr=1e-3)
    for _ in range(150):
        joints = random_joints(32, generator)
        target = masks_of(joints)
        tried = actions_of(joints) + 0.4 * torch.randn(32, 12, generator=generator)
        reward = -20 * (masks_of(joints_of(tried)) - target).square().mean(1)
        loss = (critics(target, tried) - reward).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    joints = random_joints(8, generator)
    target, action = masks_of(joints), actions_of(joints) + 0.3
    action.requires_grad_()
    before = (masks_of(joints_of(action.detach())) - target).square().mean()
    for _ in range(30):
        (gradient,) = torch.autograd.grad(critics(target, action, frozen=True).mean(0).sum(), action)
        action = (action + 0.05 * torch.nn.functional.normalize(gradient, dim=1)).detach().requires_grad_()
    after = (masks_of(joints_of(action.detach())) - target).square().mean()
    assert float(after) < 0.6 * float(before)
