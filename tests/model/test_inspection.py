"""What a network costs, counted by hand and against published numbers; and the machine."""

import os

import pytest
import torch
from torch import nn

import nets
from nets.arl import Attention
from utils.model import inspection
from utils.system import machine


def test_cost_of_a_convolution_counted_by_hand():
    network = nn.Conv2d(3, 4, 3, padding=1)
    found = inspection.cost(network, torch.zeros(1, 3, 10, 8))
    # 4 channels of 10x8, each of 27 multiplications and 27 additions; 108 weights, 4 biases
    assert found == {"parameters": 112, "gflops": 4 * 80 * 27 * 2 / 1e9}


@pytest.mark.parametrize(("name", "multiply_adds"), [("resnet18", 1.81e9), ("resnet50", 4.09e9)])
def test_cost_of_resnets_as_torchvision_prints_it(name, multiply_adds):
    # torchvision's tables of weights (GFLOPS there counts a multiply-add once, with the classifier)
    network = nets.build(name, 1000)
    found = inspection.cost(network, torch.zeros(1, 3, 224, 224, dtype=torch.uint8))
    assert found["gflops"] * 1e9 / 2 == pytest.approx(multiply_adds, rel=0.01)
    assert network.training


def test_machine():
    found = machine.machine()
    assert found["cores"] == os.cpu_count()
    assert found["memory_gb"] > 0
    assert isinstance(found["processor"], str)


@pytest.mark.parametrize("name", nets.CLASSIFIERS)
def test_the_block_of_a_network_shows_whether_it_attends(name: str):
    with torch.device("meta"):
        network = nets.build(name)
    block = inspection.residual_block(network)
    assert block is not type(network)
    alphas = [key for key, _ in network.named_parameters() if key.endswith("alpha")]
    assert issubclass(block, Attention) == bool(alphas)


def test_a_network_without_such_blocks_is_shown_itself():
    assert inspection.residual_block(nn.Sequential(nn.Linear(2, 2))) is nn.Sequential
