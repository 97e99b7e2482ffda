"""RoPE and attention against closed forms, torch's kernel and transformers' Llama."""

import cmath

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minlm.errors import MinlmError
from minlm.transformer import MultiHeadSelfAttention, RotaryPositionalEmbedding, scaled_dot_product_attention


def test_rope_multiplies_interleaved_pairs_by_a_complex_unit():
    theta, d_k, length = 100.0, 6, 9
    x = torch.randn(2, length, d_k)
    expected = np.empty((2, length, d_k))
    for batch in range(2):
        for position in range(length):
            for i in range(d_k // 2):
                pair = complex(x[batch, position, 2 * i], x[batch, position, 2 * i + 1])
                turned = pair * cmath.exp(1j * position * theta ** (-2 * i / d_k))
                expected[batch, position, 2 * i : 2 * i + 2] = turned.real, turned.imag
    rope = RotaryPositionalEmbedding(theta, d_k, length)
    np.testing.assert_allclose(rope(x).numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(rope(x, torch.arange(length)).numpy(), expected, atol=1e-6)


def test_rope_positions_of_each_row():
    rope = RotaryPositionalEmbedding(10000.0, 8, 32)
    x = torch.randn(2, 3, 4, 8)  # (batch, heads, seq, d_k)
    positions = torch.tensor([[5, 0, 31, 7], [1, 1, 2, 30]])
    together = rope(x, positions.unsqueeze(1))
    for row in range(2):
        for head in range(3):
            for place in range(4):
                alone = rope(x[row, head, place].expand(32, 8))[positions[row, place]]
                torch.testing.assert_close(together[row, head, place], alone)


def test_rope_scores_depend_on_distance_alone():
    rope = RotaryPositionalEmbedding(10000.0, 64, 1024)
    q, k = torch.randn(64), torch.randn(64)
    turned_q, turned_k = rope(q.expand(1024, 64)), rope(k.expand(1024, 64))
    at_distance_7 = (turned_q[7:] * turned_k[:-7]).sum(-1)
    torch.testing.assert_close(at_distance_7, at_distance_7[:1].expand(1017), atol=1e-4, rtol=1e-4)


def test_rope_keeps_dtype_and_stays_out_of_checkpoints():
    rope = RotaryPositionalEmbedding(10000.0, 8, 4)
    assert rope(torch.randn(4, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert rope.state_dict() == {}


def test_rope_needs_an_even_dimension():
    with pytest.raises(MinlmError, match="even head dimension, not 7"):
        RotaryPositionalEmbedding(10000.0, 7, 4)


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_attention_is_torch_attention(leading):
    q, k, v = torch.randn(*leading, 5, 8), torch.randn(*leading, 7, 8), torch.randn(*leading, 7, 4)
    mask = torch.rand(5, 7) < 0.5
    mask[:, 0] = True
    torch.testing.assert_close(scaled_dot_product_attention(q, k, v), F.scaled_dot_product_attention(q, k, v))
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(scaled_dot_product_attention(q, k, v, mask), expected)


def test_attention_mask_true_attends():
    q, k, v = torch.randn(2, 4), torch.randn(3, 4), torch.randn(3, 4)
    only_the_second = torch.tensor([[False, True, False]]).expand(2, 3)
    torch.testing.assert_close(scaled_dot_product_attention(q, k, v, only_the_second), v[1].expand(2, 4))


def test_multi_head_attention_is_torchs():
    ours = MultiHeadSelfAttention(32, 4)
    theirs = torch.nn.MultiheadAttention(32, 4, bias=False, batch_first=True)
    projections = (ours.q_proj, ours.k_proj, ours.v_proj)
    theirs.in_proj_weight.data.copy_(torch.cat([projection.weight.data for projection in projections]))
    theirs.out_proj.weight.data.copy_(ours.output_proj.weight.data)
    x = torch.randn(2, 6, 32)
    future = torch.ones(6, 6, dtype=torch.bool).triu(1)
    torch.testing.assert_close(ours(x), theirs(x, x, x, attn_mask=future, need_weights=False)[0])


def test_attention_is_causal():
    attention = MultiHeadSelfAttention(32, 4, RotaryPositionalEmbedding(10000.0, 8, 10))
    x = torch.randn(1, 10, 32)
    changed = x.clone()
    changed[:, 6:] += 1
    torch.testing.assert_close(attention(x)[:, :6], attention(changed)[:, :6])
    assert not torch.allclose(attention(x)[:, 6:], attention(changed)[:, 6:])


def test_heads_must_divide_d_model():
    with pytest.raises(MinlmError, match=r"d_model \(10\) must be divisible by num_heads \(3\)"):
        MultiHeadSelfAttention(10, 3)
