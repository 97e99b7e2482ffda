"""Keys and values of what a model has already read, so that the next token costs one position, not all."""

import torch
from torch import Tensor

from minlm.training.device import move


class LayerCache:
    """Keys and values (batch, num_heads, context_length, d_k) of one attention layer.

    Attributes, set by `KeyValueCache.begin`:
        positions: int64 (batch, 1, new), where in each row the new tokens go.
        slots: int64 (batch · num_heads · new,), the same as rows of `keys` seen as one table of vectors.
        longest: how many positions are in use in the longest row, the new ones included.
    """

    def __init__(self, shape: tuple[int, int, int, int], device: torch.device, dtype: torch.dtype):
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.positions = self.slots = torch.empty(0, dtype=torch.int64, device=device)
        self.longest = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new tokens' keys and values (batch, num_heads, new, d_k); return all (…, longest, d_k)."""
        for stored, new in ((self.keys, keys), (self.values, values)):
            d_k = new.shape[-1]
            stored.view(-1, d_k).index_copy_(0, self.slots, new.reshape(-1, d_k).to(stored.dtype))
        return self.keys[:, :, : self.longest], self.values[:, :, : self.longest]


class KeyValueCache:
    """A `LayerCache` for each layer of a model; the rows of a batch may have read different numbers of tokens.

    Rows are aligned at the left: token p of a row has position p, and what lies behind a row's length is masked.
    So each row of a batch computes what it would compute alone.

    Attributes:
        lengths: int64 (batch,), tokens each row has read; on the CPU, where reading it waits for nothing. Whoever calls
            the model adds how many were new.
    """

    def __init__(
        self,
        batch_size: int,
        num_layers: int,
        num_heads: int,
        context_length: int,
        d_k: int,
        device: torch.device,
        dtype: torch.dtype,
    ):
        shape = (batch_size, num_heads, context_length, d_k)
        self.num_heads, self.context_length = num_heads, context_length
        self.layers = [LayerCache(shape, device, dtype) for _ in range(num_layers)]
        self.lengths = torch.zeros(batch_size, dtype=torch.int64)
        self.device = device

    def begin(self, new: int) -> Tensor:
        """Say that each row continues with `new` tokens; return the mask (batch, 1, new, longest) for them."""
        positions = self.lengths[:, None, None] + torch.arange(new)  # (batch, 1, new)
        longest = int(positions.max()) + 1
        positions = move(positions, self.device)
        tables = torch.arange(len(positions) * self.num_heads, device=self.device).view(-1, self.num_heads, 1)
        slots = (tables * self.context_length + positions).flatten()
        for layer in self.layers:
            layer.positions, layer.slots, layer.longest = positions, slots, longest
        return torch.arange(longest, device=self.device) <= positions.unsqueeze(-1)

    def keep(self, rows: Tensor) -> None:
        """Forget all rows but these, int64 on the CPU."""
        self.lengths = self.lengths[rows]
        rows = move(rows, self.device)
        for layer in self.layers:
            layer.keys, layer.values = layer.keys[rows], layer.values[rows]

    def replace(self, rows: Tensor, other: "KeyValueCache") -> None:
        """Put the rows of `other`, or its only row, in the place of these, int64 on the CPU."""
        self.lengths[rows] = other.lengths
        rows = move(rows, self.device)
        for layer, new in zip(self.layers, other.layers, strict=True):
            layer.keys[rows], layer.values[rows] = new.keys, new.values
