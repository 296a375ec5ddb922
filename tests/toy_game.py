"""A game small enough to be trained thousands of times: two players, noise, a penalty, phases and a controller."""

from collections.abc import Iterator

import torch
from torch import nn

from recombine.codes import Codes
from recombine.data.batch import Batch
from recombine.data.schema import Schema
from recombine.method import Phase, Progress, Turn
from recombine.networks import BatchNorm2d


class ToyGame(nn.Module):
    """An autoencoder and a critic with gradient penalty; `norm` adds batch normalisation, `bad_from` an infinite loss."""

    sampler = "iid"

    def __init__(self, schema: Schema, norm: bool = False, bad_from: int = 1 << 60, bad_until: int = 1 << 60):
        super().__init__()
        self.schema, self.bad_from, self.bad_until = schema, bad_from, bad_until
        normed = [BatchNorm2d(4)] if norm else []
        pixels = schema.channels * schema.height * schema.width
        self.encoder = nn.Sequential(nn.Conv2d(schema.channels, 4, 3, 2, 1), *normed, nn.Flatten(), nn.Linear(pixels // 3, 8))
        self.decoder = nn.Sequential(nn.Linear(8, pixels), nn.Tanh(), nn.Unflatten(1, (schema.channels, schema.height, schema.width)))
        self.critic = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 8), nn.Tanh(), nn.Linear(8, 1))
        self.controllers = {"penalty": 1.0}
        self.seen: list[tuple[str, bool, bool]] = []

    @property
    def image_size(self):
        return self.schema.image_size

    def encode(self, images):
        return Codes(rest=self.encoder(images))

    def decode(self, codes):
        return self.decoder(codes["rest"])

    def players(self):
        return {"autoencoder": ["encoder", "decoder"], "critic": ["critic"]}

    def optimizer(self, player, parameters):
        return torch.optim.Adam(parameters, lr=1e-2)

    def phases(self):
        return [Phase("critic only", 1.0, frozen=("encoder", "decoder")), Phase("both", 3.0)]

    def turns(self, batch: Batch, progress: Progress) -> Iterator[Turn]:
        self.seen.append((progress.phase, self.encoder.training, next(self.encoder.parameters()).requires_grad))
        x = batch.images
        code = self.encoder(x)
        if progress.phase == "both":
            fake = self.decoder(code + 0.1 * batch.noise("code", 8))
            rec = (fake - x).abs().mean()
            if self.bad_from <= progress.images_seen < self.bad_until:
                rec = rec / 0
            yield Turn("autoencoder", {"rec": (1.0, rec), "adv": (-0.1, self.critic(fake).mean())})
        fake = self.decoder(self.encoder(x)).detach()
        between = torch.lerp(x, fake, batch.uniform("between", 1, 1, 1)).requires_grad_()
        slope = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)[0]
        penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        wasserstein = self.critic(fake).mean() - self.critic(x).mean()
        weight = self.controllers["penalty"]
        yield Turn("critic", {"wasserstein": (1.0, wasserstein), "penalty": (weight, penalty)}, {"slope": slope.norm()})

    def control(self, measured, progress):
        self.controllers["penalty"] = min(10.0, max(0.1, self.controllers["penalty"] + 0.01 * (measured["critic/penalty"] - 0.5)))
