"""torchvision's classification models, without weights: a proven spec, and how much of the network it permutes."""

from typing import NamedTuple

import pytest
import torch
from explained import explains

import modecomb_viz as mc
from modecomb_viz.architectures import build


class Known(NamedTuple):
    """A model, the side of an image that it takes, the share of its weights that must be permuted, and its groups."""

    name: str
    side: int
    floor: float
    groups: int


MODELS = [
    Known("alexnet", 64, 0.999, 7),
    Known("vgg11", 32, 0.999, 10),
    Known("vgg11_bn", 32, 0.999, 10),
    Known("resnet18", 32, 0.999, 12),
    Known("resnet50", 32, 0.999, 37),
    Known("wide_resnet50_2", 32, 0.999, 37),
    Known("resnext50_32x4d", 32, 0.999, 21),
    Known("densenet121", 32, 0.999, 120),
    Known("mobilenet_v2", 32, 0.999, 25),
    Known("mobilenet_v3_small", 32, 0.999, 27),
    Known("efficientnet_b0", 32, 0.999, 40),
    Known("shufflenet_v2_x1_0", 32, 0.99, 21),
    Known("squeezenet1_0", 64, 0.998, 25),
    Known("convnext_tiny", 32, 0.999, 22),
    Known("regnet_y_400mf", 32, 0.999, 37),
    Known("mnasnet1_0", 64, 0.999, 25),
    Known("vit_b_16", 224, 0.999, 25),
    Known("swin_t", 64, 0.999, 28),
    Known("swin_v2_t", 64, 0.999, 52),
    Known("maxvit_t", 224, 0.998, 73),
]


#: Large models of families of which another is tried every time.
LARGE = ("alexnet", "vgg11_bn", "maxvit_t", "densenet121", "wide_resnet50_2")


@pytest.mark.parametrize(
    "known",
    [pytest.param(k, marks=[pytest.mark.slow] * (k.name in LARGE)) for k in MODELS],
    ids=lambda known: known.name,
)
def test_torchvision_models_are_proven_and_permuted(known, capsys):
    model = build(f"torchvision:{known.name}")
    x = torch.randn(1, 3, known.side, known.side, generator=torch.Generator().manual_seed(0))
    spec = mc.trace_permutation_spec(model, x)
    with capsys.disabled():
        print(f" {known.name}: {spec.permuted_share:.2%} of the weights in {len(spec.sizes)} groups")
    assert spec.permuted_share >= known.floor
    assert len(spec.sizes) >= known.groups


def test_the_residual_stream_of_a_transformer_is_one_shared_group():
    spec = mc.trace_permutation_spec(_small_vit(), torch.randn(1, 3, 32, 32))
    stream = spec.axes_to_perm["conv_proj.weight"][0]
    assert spec.axes_to_perm["encoder.ln.weight"] == (stream,)
    assert spec.axes_to_perm["class_token"] == (None, None, stream)
    assert len(spec.writers[stream]) > 4
    assert f"shared {stream}" in str(spec)
    heads = spec.axes_to_perm["encoder.layers.encoder_layer_0.self_attention.in_proj_weight"][0]
    assert [block for _, block in heads] == [8] * 3
    mlp = spec.axes_to_perm["encoder.layers.encoder_layer_0.mlp.0.weight"][0]
    assert spec.sizes[mlp] == 64


def _small_vit():
    from modecomb_viz.untrusted import import_torchvision

    transformer = import_torchvision().models.VisionTransformer
    return transformer(image_size=32, patch_size=8, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=64).eval()


def test_names_and_options_are_checked():
    assert build("torchvision:resnet18", num_classes=10).fc.out_features == 10
    with explains("no classification model 'resnet19'", "resnet18"):
        build("torchvision:resnet19")
    with explains("weights", "would download"):
        build("torchvision:resnet18", weights="DEFAULT")
    with explains("torchvision:resnet18", "cannot be built with", "unexpected keyword argument 'widths'"):
        build("torchvision:resnet18", widths=3)
