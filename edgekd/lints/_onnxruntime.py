"""What ONNX Runtime reads: the newest stamps of each release, and operators of its own that the CPU has.

Sources: stamps from 1.19 on and 1.16 by loading files with rising ones in each release's wheel, 1.17 and 1.18 from
https://onnxruntime.ai/docs/reference/compatibility.html; operators by asking 1.32.0 for its kernels.
"""

from __future__ import annotations

VERSION = "1.32.0"

# Release, newest IR version, newest operator set.
STAMPS = (
    ((1, 16), 9, 19),
    ((1, 17), 9, 20),
    ((1, 18), 10, 21),
    ((1, 19), 10, 21),
    ((1, 20), 10, 21),
    ((1, 21), 10, 22),
    ((1, 22), 10, 22),
    ((1, 23), 11, 23),
    ((1, 24), 13, 25),
    ((1, 25), 13, 26),
    ((1, 30), 13, 26),
    ((1, 32), 14, 28),
)

# The standard's domains that it has kernels for.
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
NO_KERNEL = frozenset({"ImageDecoder"})

# Kernels of the domain `com.microsoft` on the CPU.
_CONTRIB_NAMES = """
    Attention AttnLSTM BeamSearch BiasGelu BifurcationDetector BranchwiseRMSNorm CDist CausalConvWithState
    ConvTransposeWithDynamicPads CropAndResize DecoderMaskedMultiHeadAttention DequantizeLinear DynamicQuantizeLSTM
    DynamicQuantizeMatMul DynamicTimeWarping EmbedLayerNormalization EngramGate ExpandDims FastGelu FusedConv FusedGemm
    FusedMatMul GatedAdd GatedDeltaNet GatedRMSNorm GatherBlockQuantized GatherND GatherPacked Gelu GreedySearch
    GridSample GroupQueryAttention HyperConnectionPostMix HyperConnectionPreMix Inverse LinearAttention
    LinearAttentionGate MRotaryEmbedding MatMulBnb4 MatMulFpQ4 MatMulInteger16 MatMulIntegerToFloat MatMulNBits
    MaxpoolWithMask MoE MoEGroupRouter MultiHeadAttention MurmurHash3 NGramHashMapping NGramRepeatBlock NhwcMaxPool Pad
    QAttention QEmbedLayerNormalization QGemm QLinearAdd QLinearAveragePool QLinearConcat QLinearConv
    QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearSigmoid QLinearSoftmax QLinearWhere QMoE QuantizeLinear
    QuickGelu Range RotaryEmbedding SampleOp Sampling ScaledSiLU SkipLayerNormalization SkipSimplifiedLayerNormalization
    SparseAttention SparseToDenseMatMul Tokenizer TransposeMatMul Trilu UnfoldTensor Unique VarlenCausalConvWithState
    VarlenNGramHashMapping WhisperBeamSearch WordConvEmbedding
"""
CONTRIB = frozenset(_CONTRIB_NAMES.split())


def newest_stamps(version: str) -> tuple[int, int] | None:
    """Say which IR version and operator set a release reads at most.

    Args:
        version: Of ONNX Runtime; those between two known releases read what the older one does.

    Returns:
        `None` for releases older than all that are known.

    >>> newest_stamps("1.23.2")
    (11, 23)
    """
    release = tuple(int(part) for part in version.split(".")[:2])
    known = [(ir, opset) for since, ir, opset in STAMPS if since <= release]
    return known[-1] if known else None
