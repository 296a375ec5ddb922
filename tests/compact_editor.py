"""The editors of conftest with fewer numbers: their `rest` is the image at a quarter of its size, enough to draw it anew."""

import torch
import torch.nn.functional as F
from conftest import SignEditor

from recombine.codes import Codes
from recombine.methods.shared.schemas import pair_roles


class CompactEditor(SignEditor):
    def encode(self, images):
        return Codes(super().encode(images).replace(rest=F.avg_pool2d(images, 4).flatten(1)))

    def decode(self, codes):
        images = codes["rest"].reshape(-1, 3, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
        return super().decode(codes.replace(rest=images.flatten(1)))


class PairEditor(torch.nn.Module):
    """A method with the parts of those that learn from pairs: `appearance` holds colour and lamp, `pose` all else."""

    schema, sampler, kinds, image_size, pair_by = SignEditor.schema.select("maker"), "pairs", ("group",), (16, 16), ("maker",)

    def encode(self, images):
        codes = CompactEditor().encode(images)
        return Codes(pose=torch.cat([codes["stripes"], codes["shade"]], 1), appearance=torch.cat([codes["colour"], codes["lamp"]], 1))

    def decode(self, codes):
        pose, appearance = codes["pose"], codes["appearance"]
        apart = {"colour": appearance[:, :3], "lamp": appearance[:, 3:], "stripes": pose[:, :1], "shade": pose[:, 1:]}
        return CompactEditor().decode(Codes(apart, rest=torch.zeros(len(pose), 48)))

    def label_code(self, name, value):
        raise NotImplementedError("pairs have no labels")

    def roles(self):
        return pair_roles(self.pair_by)
