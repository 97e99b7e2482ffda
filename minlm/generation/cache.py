"""The key/value cache of a batch whose rows have read different numbers of tokens."""

import torch
from torch import Tensor

from minlm.transformer import attention
from minlm.transformer.data import move
from minlm.transformer.model import TransformerLM
from minlm.transformer.modules import Device


class LayerCache(attention.LayerCache):
    """Keys and values (batch, num_heads, context_length, d_k) for rows of different lengths.

    Attributes, set by `KeyValueCache.begin`:
        positions: int64 (batch, 1, new), where in each row the new tokens go.
        slots: int64 (batch · num_heads · new,), the same as rows of the keys seen as one table of vectors.
        end: the number of positions in use in the longest row, the new ones included.
    """

    def __init__(self, shape: tuple[int, int, int, int], device: torch.device, dtype: torch.dtype):
        self.stored = [torch.zeros(shape, device=device, dtype=dtype) for _ in range(2)]  # keys and values
        self.positions = self.slots = torch.empty(0, dtype=torch.int64, device=device)
        self.end = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new tokens' keys and values (batch, num_heads, new, d_k); return all (…, end, d_k)."""
        for stored, new in zip(self.stored, (keys, values), strict=True):
            d_k = new.shape[-1]
            stored.view(-1, d_k).index_copy_(0, self.slots, new.reshape(-1, d_k).to(stored.dtype))
        return self.stored[0][:, :, : self.end], self.stored[1][:, :, : self.end]


class KeyValueCache(attention.KeyValueCache):
    """A `LayerCache` for each layer of a model.

    Rows are aligned at the left: token p of a row has position p, and whatever is beyond a row's length is masked. So
    each row of a batch computes what it would compute alone.

    Attributes:
        lengths: int64 (batch,), tokens each row has read, on the CPU, where reading it waits for nothing. The caller of
            the model adds how many were new.
    """

    def __init__(self, model: TransformerLM, batch_size: int):
        config, weight = model.config, model.lm_head.weight
        self.num_heads, self.context_length = config["num_heads"], config["context_length"]
        shape = (batch_size, self.num_heads, self.context_length, config["d_model"] // self.num_heads)
        self.layers: list[LayerCache] = [
            LayerCache(shape, weight.device, weight.dtype) for _ in range(config["num_layers"])
        ]
        self.lengths = torch.zeros(batch_size, dtype=torch.int64)
        self.device = weight.device

    def begin(self, new: int, device: Device = None) -> Tensor:
        """Announce `new` tokens for each row; return the mask (batch, 1, new, end) for them."""
        positions = self.lengths[:, None, None] + torch.arange(new)  # (batch, 1, new)
        end = int(positions.max()) + 1
        positions = move(positions, self.device)
        tables = torch.arange(len(positions) * self.num_heads, device=self.device).view(-1, self.num_heads, 1)
        slots = (tables * self.context_length + positions).flatten()
        for layer in self.layers:
            layer.positions, layer.slots, layer.end = positions, slots, end
        return torch.arange(end, device=self.device) <= positions.unsqueeze(-1)

    def keep(self, rows: Tensor) -> None:
        """Forget all rows but these, int64 on the CPU."""
        self.lengths = self.lengths[rows]
        rows = move(rows, self.device)
        for layer in self.layers:
            layer.stored = [stored[rows] for stored in layer.stored]

    def replace(self, rows: Tensor, other: "KeyValueCache") -> None:
        """Put the rows of `other`, or its only row, in the place of these, int64 on the CPU."""
        self.lengths[rows] = other.lengths
        rows = move(rows, self.device)
        for layer, new in zip(self.layers, other.layers, strict=True):
            for stored, given in zip(layer.stored, new.stored, strict=True):
                stored[rows] = given
