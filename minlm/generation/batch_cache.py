"""The key/value cache of a batch whose rows have different lengths.

The cache in `minlm.transformer.attention` grows by concatenation and serves one text. This one is allocated once, for
the whole context, and its rows can be dropped or replaced.
"""

import torch
from torch import Tensor

from minlm.transformer import attention
from minlm.transformer.devices import move
from minlm.transformer.model import TransformerLM
from minlm.transformer.modules import Device


class BatchLayerCache(attention.LayerCache):
    """Keys and values of one layer, for rows of different lengths.

    Attributes:
        stored: keys and values, (batch, num_heads, context_length, d_k) each.
        positions, slots, end: where the new tokens go, set by `BatchCache.begin`: their positions in the rows, int64
            (batch, 1, new); the same as indices into `stored` viewed as (…, d_k), int64 (batch · num_heads · new,);
            and the length of the longest row, new tokens included.
    """

    def __init__(self, shape: tuple[int, int, int, int], device: torch.device, dtype: torch.dtype):
        self.stored = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(2)]
        self.positions = self.slots = torch.empty(0, dtype=torch.int64, device=device)
        self.end = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store the keys and values (batch, num_heads, new, d_k) of new tokens; return all, (…, end, d_k) each."""
        for stored, new in zip(self.stored, (keys, values), strict=True):
            d_k = new.shape[-1]
            stored.view(-1, d_k).index_copy_(0, self.slots, new.reshape(-1, d_k).to(stored.dtype))
        return self.stored[0][:, :, : self.end], self.stored[1][:, :, : self.end]


class BatchCache(attention.KeyValueCache):
    """A `BatchLayerCache` for each layer of a model.

    Rows are left-aligned: token p of a row has position p, and positions beyond a row's length are masked. So each row
    computes what it would compute alone.

    Attributes:
        lengths: int64 (batch,), the number of tokens in each row; on the CPU, where reading it waits for no device. The
            caller of the model adds the number of new tokens.
    """

    def __init__(self, model: TransformerLM, batch_size: int):
        config, weight = model.config, model.lm_head.weight
        self.num_heads, self.context_length = config["num_heads"], config["context_length"]
        shape = (batch_size, self.num_heads, self.context_length, config["d_model"] // self.num_heads)
        self.layers: list[BatchLayerCache] = [
            BatchLayerCache(shape, weight.device, weight.dtype) for _ in range(config["num_layers"])
        ]
        self.lengths = torch.zeros(batch_size, dtype=torch.int64)
        self.device = weight.device

    def begin(self, new: int, device: Device = None) -> Tensor:
        """Make room for `new` tokens in each row; return their mask (batch, 1, new, end)."""
        positions = self.lengths[:, None, None] + torch.arange(new)  # (batch, 1, new)
        end = int(positions.max()) + 1
        positions = move(positions, self.device)
        heads = torch.arange(len(positions) * self.num_heads, device=self.device).view(-1, self.num_heads, 1)
        slots = (heads * self.context_length + positions).flatten()
        for layer in self.layers:
            layer.positions, layer.slots, layer.end = positions, slots, end
        return torch.arange(end, device=self.device) <= positions.unsqueeze(-1)

    def keep(self, rows: Tensor) -> None:
        """Drop all rows except `rows`, int64 on the CPU."""
        self.lengths = self.lengths[rows]
        rows = move(rows, self.device)
        for layer in self.layers:
            layer.stored = [stored[rows] for stored in layer.stored]

    def append(self, other: "BatchCache") -> None:
        """Add the rows of `other` after the own ones."""
        self.lengths = torch.cat([self.lengths, other.lengths])
        for layer, new in zip(self.layers, other.layers, strict=True):
            layer.stored = [torch.cat(pair) for pair in zip(layer.stored, new.stored, strict=True)]

    def replace(self, rows: Tensor, other: "BatchCache") -> None:
        """Replace `rows`, int64 on the CPU, by the rows of `other`, or each of them by its only row."""
        self.lengths[rows] = other.lengths
        rows = move(rows, self.device)
        for layer, new in zip(self.layers, other.layers, strict=True):
            for stored, replacement in zip(layer.stored, new.stored, strict=True):
                stored[rows] = replacement
