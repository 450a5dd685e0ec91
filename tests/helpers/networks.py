"""Pictures, and networks that are as if trained, for the tests of `nets`."""

from functools import cache

import torch
from torch import Tensor, nn

import nets


def pictures(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def settled(network: nn.Module) -> nn.Module:
    """In evaluation mode, with BN statistics and affine weights that are no longer 0 and 1."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.bias.data, module.running_mean):
                value.copy_(torch.randn(value.shape, generator=generator) * 0.1)
            for value in (module.weight.data, module.running_var):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return network.eval()


@cache
def network(name: str) -> nn.Module:
    """A settled network for tests that leave it as it is: they share it, as building takes long."""
    torch.manual_seed(0)
    return settled(nets.build(name))


def empty(name: str, *arguments: object, **options: object) -> nn.Module:
    """A network without numbers, built at once: its shapes, names and counts are all there."""
    with torch.device("meta"):
        return nets.build(name, *arguments, **options)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
