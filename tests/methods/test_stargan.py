"""StarGAN against numbers worked by hand, its routes, and its order of turns."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from games import HAIR, SMILING, batch, bright, count, losses, optimizers, parameters, routes, schema, train_step
from torch import nn

from recombine.codes import Codes
from recombine.data.schema import Attribute, Schema
from recombine.method import Progress
from recombine.methods.stargan import PRESETS, Config, StarGAN

SMALL = Config(width=4, blocks=1, critic_width=4, critic_steps=1)


class Constant(nn.Module):
    """A critic that gives the same for every image, with a weight that it does not use."""

    def __init__(self, logits):
        super().__init__()
        self.logits, self.unused = logits, nn.Parameter(torch.zeros(()))

    def forward(self, images):
        return images.mean((1, 2, 3)).reshape(-1, 1, 1, 1) * 0 + 0.5, self.logits.expand(len(images), -1)


class Shift(nn.Module):
    """A generator that adds a hundredth of the first label to the image and keeps the labels."""

    def __init__(self):
        super().__init__()
        self.labels = []

    def forward(self, images, labels):
        self.labels.append(labels)
        return images + labels[:, :1, None, None] / 100


def test_parameter_counts_are_the_papers_at_128_pixels_and_5_labels():
    # Generator: (3+5) x 64 x 49, down 64 x 128 x 16 and 128 x 256 x 16, six times 2 x 256 x 256 x 9, up as down, 64 x 3 x 49; and 2
    # numbers a channel in every norm. Critic: 3-64-128-...-2048 with kernels of 16 and biases, 2048 x 9 and 2048 x 5 x 4. The
    # paper says 53.2 million of RaFD's 8 expressions.
    five = tuple(Attribute(name, "binary", ("0", "1")) for name in "abcde")
    with torch.device("meta"):
        method = StarGAN(PRESETS["paper"], Schema(attributes=five, height=128, width=128))
        rafd = StarGAN(PRESETS["paper"], Schema(attributes=(Attribute("expression", "categorical", tuple("abcdefgh")),), height=128, width=128))
    norms = 2 * (64 + 128 + 256 + 6 * 2 * 256 + 128 + 64)
    assert count(method.generator) == 8 * 64 * 49 + 2 * (64 * 128 + 128 * 256) * 16 + 12 * 256 * 256 * 9 + 64 * 3 * 49 + norms == 8_430_528
    sizes = (3, 64, 128, 256, 512, 1024, 2048)
    assert count(method.critic) == sum(16 * a * b + b for a, b in pairwise(sizes)) + 2048 * 9 + 2048 * 5 * 4 == 44_762_048
    assert method.critic.label.kernel_size == (2, 2)
    assert round((count(rafd.generator) + count(rafd.critic)) / 1e6, 1) == 53.2


def test_small_networks_stay_in_their_budget():
    method = StarGAN(PRESETS["small"], Schema(attributes=(SMILING, HAIR), height=32, width=32))
    assert count(method) < 500_000


def test_terms_of_an_undecided_critic():
    # Scores of 0.5 everywhere: critic 0.5 - 0.5, slope of length 0: (0 - 1)^2, generator -0.5. Logits of 0: ln 2 for the binary
    # attribute, added to ln 3 for the three values. The image moves by c'/100 and then by c/100.
    method = StarGAN(SMALL, schema(SMILING, HAIR))
    method.critic, method.generator = Constant(torch.zeros(4)), Shift()
    data = batch(method.schema)
    terms = losses(method, data)
    assert {name: weight for name, (weight, _) in terms.items()} == {
        "critic/adv": 1.0, "critic/gp": 10.0, "critic/class": 1.0, "generator/adv": 1.0, "generator/class": 1.0, "generator/rec": 10.0,
    }  # fmt: skip
    assert terms["critic/adv"][1].item() == 0 and terms["critic/gp"][1].item() == 1 and terms["generator/adv"][1].item() == -0.5
    for name in ("critic/class", "generator/class"):
        assert terms[name][1].item() == pytest.approx(math.log(2) + math.log(3), abs=1e-6)
    own = data.labels["Smiling"].float()
    wanted = own[data.uniform("order").argsort()]
    assert terms["generator/rec"][1].item() == pytest.approx(((own + wanted) / 100).mean().item(), abs=1e-6)


def test_the_class_loss_has_true_labels_for_the_critic_and_target_labels_for_the_generator():
    # Logit 2 for smiling, and 1, 0, 0 for hair: softplus(-2) = 0.126928 for a smile, softplus(2) = 2.126928 for none;
    # ln(e + 2) = 1.551445 less 1 for the first colour. All eight images are permuted together, so the mean stays.
    method = StarGAN(SMALL, schema(SMILING, HAIR))
    method.critic, method.generator = Constant(torch.tensor([2.0, 1, 0, 0])), Shift()
    data = batch(method.schema)
    smile, first = data.labels["Smiling"].float(), (data.labels["hair"] == 0).float()
    by_hand = 0.126928 * smile + 2.126928 * (1 - smile) + 1.551445 - first
    terms = losses(method, data)
    assert terms["critic/class"][1].item() == pytest.approx(by_hand.mean().item(), abs=1e-5)
    assert terms["generator/class"][1].item() == pytest.approx(by_hand.mean().item(), abs=1e-5)
    # With half of the images unlabelled, those whose target label is unknown add nothing to the generator's.
    known = torch.arange(8) < 4
    data = replace(data, known={"Smiling": known, "hair": known})
    order = data.uniform("order").argsort()
    terms = losses(method, data)
    assert terms["critic/class"][1].item() == pytest.approx((by_hand * known).mean().item(), abs=1e-5)
    assert terms["generator/class"][1].item() == pytest.approx((by_hand * known)[order].mean().item(), abs=1e-5)


def test_target_labels_are_permuted_and_the_cycle_leads_back():
    method = StarGAN(SMALL, schema(SMILING, HAIR))
    method.critic, method.generator = Constant(torch.tensor([2.0, 1, 0, 0])), Shift()
    data = batch(method.schema)
    own = torch.cat([data.labels["Smiling"][:, None], nn.functional.one_hot(data.labels["hair"], 3)], 1).float()
    order = data.uniform("order").argsort()
    assert sorted(order.tolist()) == list(range(8)) and order.tolist() != list(range(8))
    losses(method, data)
    there, back = method.generator.labels  # both players look at one translated image
    assert torch.equal(there, own[order]) and torch.equal(back, own)

    # A missing label is the critic's prediction: sigmoid(2) = 0.880797, softmax(1, 0, 0) = 0.576117, 0.211942, 0.211942.
    nothing = {name: torch.zeros(8, dtype=torch.bool) for name in data.known}
    losses(method, replace(data, known=nothing))
    assert torch.allclose(method.generator.labels[-1], torch.tensor([0.880797, 0.576117, 0.211942, 0.211942]).expand(8, 4))


def test_the_generator_has_every_fifth_turn():
    # Batches of 8, of which a process may hold a part.
    method = StarGAN(replace(SMALL, critic_steps=5), schema())
    data = batch(method.schema)
    for part in (data, data.slice(0, 4)):
        turns = [[t.player for t in method.turns(part, Progress(images_seen=8 * step))] for step in range(10)]
        assert turns == 2 * [*4 * [["critic"]], ["critic", "generator"]]


def test_every_loss_reaches_its_network_and_no_other():
    method = StarGAN(SMALL, schema(SMILING, HAIR))
    assert routes(method, batch(method.schema)) == {
        "critic/adv": {"critic"},
        "critic/gp": {"critic"},
        "critic/class": {"critic"},
        "generator/adv": {"generator"},
        "generator/class": {"generator"},
        "generator/rec": {"generator"},
    }
    for turn in method.turns(batch(method.schema), Progress()):
        other = parameters(method, "generator" if turn.player == "critic" else "critic")
        terms = [turn.total()] if turn.player == "critic" else [turn.losses["rec"][1]]
        assert all(g is None for term in terms for g in torch.autograd.grad(term, other, retain_graph=True, allow_unused=True))


def test_codes_are_the_critics_predictions_and_the_image_itself():
    method = StarGAN(SMALL, schema(SMILING, HAIR)).eval()
    images = batch(method.schema).images
    codes = method.encode(images)
    logits = method.critic(images)[1]
    assert list(codes) == ["Smiling", "hair", "rest"] and torch.equal(codes["rest"], images)
    assert torch.allclose(codes["Smiling"], logits[:, :1].sigmoid()) and torch.allclose(codes["hair"], logits[:, 1:].softmax(1))
    labels = Codes({"hair": method.label_code("hair", "blond"), "Smiling": method.label_code("Smiling", 1), "rest": images[:1]})
    assert torch.equal(method.decode(labels), method.generator(images[:1], torch.tensor([[1.0, 0, 0, 1]])))


def test_labels_survive_the_first_normalisation_because_of_zero_padding():
    # A constant plane is shifted away by instance normalisation wherever the kernel meets no border.
    torch.manual_seed(0)
    method = StarGAN(SMALL, schema(SMILING, HAIR))
    images, labels = batch(method.schema).images[:1], torch.tensor([[0.0, 1, 0, 0], [1.0, 1, 0, 0]])
    assert method.generator.layers[0].padding_mode == "zeros"
    first, second = (method.generator(images, label[None]) for label in labels)
    assert (first - second).abs().mean() > 1e-3


def test_images_are_normalised_by_themselves_unless_set_otherwise():
    images = batch(schema(SMILING, HAIR)).images
    for running, same in ((False, True), (True, False)):
        torch.manual_seed(0)
        method = StarGAN(replace(SMALL, running_statistics=running), schema(SMILING, HAIR))
        labels = torch.eye(4)[:1].expand(8, 4)
        assert torch.equal(method.train().generator(images, labels), method.eval().generator(images, labels)) == same
        assert len(list(method.buffers())) == (0 if same else 3 * 7)


def trained_on_brightness(class_weight):
    """How much brighter dark images become under the label 1 than under 0, after a training on images whose label is their brightness."""
    torch.manual_seed(0)
    method = StarGAN(replace(SMALL, outer_kernel=3, critic_width=8, adv_weight=0.1, gp_weight=1.0, class_weight=class_weight, learning_rate=3e-3), schema(size=8))
    steppers = optimizers(method)

    for step in range(60):
        train_step(method, steppers, bright(method.schema, 16, step, noise=0.3), Progress(images_seen=16 * step))
    method.eval()
    data = bright(method.schema, 16, 1000, noise=0.3)
    codes = method.encode(data.images[data.labels["Smiling"] == 0])
    on, off = (method.decode(codes.replace(Smiling=torch.full_like(codes["Smiling"], value))) for value in (1.0, 0.0))
    return (on - off).mean().item()


def test_the_class_loss_makes_the_generator_obey():
    # Beside a training without it, in which only the cycle uses the label. The true change is 1.2.
    obeyed, ignored = trained_on_brightness(class_weight=4.0), trained_on_brightness(class_weight=0.0)
    assert obeyed > 0.6 and abs(ignored) < 0.3
