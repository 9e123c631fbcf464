"""The blocks: caching, padding."""

import pytest
import torch
from torch.nn import functional as F

from autodrag.models.attention import TransformerDecoder, TransformerEncoder, attend
from autodrag.models.predictor import block_causal


def decoder_and_memory() -> tuple[TransformerDecoder, torch.Tensor]:
    torch.manual_seed(0)
    return TransformerDecoder(width=32, heads=4, layers=2, mlp_ratio=2.0).eval(), torch.randn(2, 7, 32)


def test_block_causal_lets_a_step_see_itself_and_the_past() -> None:
    mask = block_causal(steps=3, k=2, start=0, device=torch.device("cpu"))
    assert mask.shape == (6, 6)
    assert mask[0].tolist() == [True, True, False, False, False, False]
    assert mask[3].tolist() == [True, True, True, True, False, False]
    later = block_causal(steps=2, k=2, start=1, device=torch.device("cpu"))
    assert torch.equal(later, mask[2:])


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("recorded", [False, True])
def test_decoding_part_by_part_equals_decoding_at_once(batch: int, recorded: bool) -> None:
    decoder, tokens = decoder_and_memory()
    x, memory = torch.randn(batch, 4, 32), decoder.project_memory(tokens[:batch])
    with torch.set_grad_enabled(recorded):
        whole = decoder(x, memory, block_causal(4, 1, 0, x.device))
        caches = decoder.caches(tokens=4)
        parts = torch.cat([decoder(x[:, i : i + 1], memory, caches=caches) for i in range(4)], dim=1)
    assert torch.allclose(parts, whole, atol=1e-5)
    if recorded:
        weight = decoder.blocks[0].attention.qkv.weight
        gradients = [torch.autograd.grad(y.square().sum(), weight, retain_graph=True)[0] for y in (whole, parts)]
        assert torch.allclose(*gradients, rtol=1e-3, atol=1e-4)


def test_padding_in_the_memory_changes_nothing() -> None:
    decoder, tokens = decoder_and_memory()
    encoder = TransformerEncoder(width=32, heads=4, layers=2, mlp_ratio=2.0).eval()
    mask = torch.tensor([True] * 5 + [False] * 2).expand(2, 7)[:, None, None]
    x = torch.randn(2, 3, 32)
    with torch.no_grad():
        padded = decoder(x, decoder.project_memory(encoder(tokens, mask), mask))
        alone = decoder(x, decoder.project_memory(encoder(tokens[:, :5])))
    assert torch.allclose(padded, alone, atol=1e-5)


def test_attention_in_low_precision_is_attention() -> None:
    q, k, v = torch.randn(3, 2, 4, 9, 8)
    mask = torch.tensor([True] * 6 + [False] * 3).expand(2, 9)[:, None, None]
    whole = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    low = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), mask)
    assert low.dtype == torch.bfloat16
    assert torch.allclose(low.float(), whole, atol=0.05)
    assert torch.allclose(attend(q, k, v, mask), whole, atol=1e-5)
