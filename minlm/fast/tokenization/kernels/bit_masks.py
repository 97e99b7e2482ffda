"""Rows of bits, 64 in each integer: bit k of a row is bit k % 64 of its integer k // 64."""

from minlm.fast.tokenization.kernels.compiler import kernel
from minlm.fast.tokenization.kernels.instructions import lowest_bit, natural, num_bits

ALL = -1  # all 64 bits set
ALL_BUT_HIGHEST = 0x7FFFFFFFFFFFFFFF


@kernel
def get_bit(masks, row, i):
    """Bit i of a row, as 0 or 1."""
    return masks[row, i >> 6] >> (i & 63) & 1


@kernel
def set_bits(masks, row, i, count):
    """Set the bits i … i + count - 1."""
    while count > 0:
        n = min(count, 32, 64 - (i & 63))
        masks[row, i >> 6] |= ((1 << n) - 1) << (i & 63)
        i += n
        count -= n


@kernel
def clear_bits(masks, row, i, count):
    """Clear the bits i … i + count - 1."""
    while count > 0:
        n = min(count, 32, 64 - (i & 63))
        masks[row, i >> 6] &= ~(((1 << n) - 1) << (i & 63))
        i += n
        count -= n


@kernel
def list_bits(masks, size, positions):
    """Write the numbers of the bits set below `size`, then `size` itself; return how many are set."""
    num_set = 0
    masks[size >> 6] &= ~(ALL << (size & 63))
    for block in range(size // 64 + 1):
        mask = masks[block]
        for first in range(0, num_bits(mask), 8):  # eight at a time: a branch after each bit could not be predicted
            for k in range(8):
                positions[natural(num_set + first + k)] = block * 64 + lowest_bit(mask)
                mask &= mask - 1
        num_set += num_bits(masks[block])
    positions[num_set] = size
    return num_set


@kernel
def shift_in(mask, last):
    """The mask shifted by one byte; its lowest bit is the highest of `last`, the mask of the 64 bytes before."""
    return mask << 1 | (last >> 63 & 1)


@kernel
def next_bits(masks, row, block):
    """The bits of a row that follow each of a block's: the block shifted the other way. There must be a next block."""
    return (masks[row, block] >> 1 & ALL_BUT_HIGHEST) | masks[row, block + 1] << 63
