"""What TFLite Micro runs: operators and types, as its wheel answered for a file of each.

Source: tflite_micro 0.dev20261023182759, whose interpreter registers every operator it has. Each was found by loading a
file with it, each type by running one; `tests/lints` asks the installed wheel the same.
"""

from __future__ import annotations

VERSION = "0.dev20261023182759"
SCHEMA = 3

_OPERATORS_NAMES = """
    ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_ARGS
    BROADCAST_TO CALL_ONCE CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV
    DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED
    GATHER GATHER_ND GREATER GREATER_EQUAL HARD_SWISH IF L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL LOG
    LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG
    NOT_EQUAL PACK PAD PADV2 PRELU QUANTIZE READ_VARIABLE REDUCE_ALL REDUCE_MAX REDUCE_MIN RELU RELU6 RESHAPE
    RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX SPACE_TO_BATCH_ND
    SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM SVDF TANH TRANSPOSE
    TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK VAR_HANDLE WHILE ZEROS_LIKE
"""
OPERATORS = frozenset(_OPERATORS_NAMES.split())

# Custom operators that it brings: a detector's last step, a ring buffer, compressed weights, and the audio front end.
_CUSTOM_NAMES = """
    TFLite_Detection_PostProcess CIRCULAR_BUFFER TFLM_DECODE
    SignalDelay SignalEnergy SignalFftAutoScale SignalFilterBank SignalFilterBankLog
    SignalFilterBankSpectralSubtraction SignalFilterBankSquareRoot SignalFramer SignalIrfft SignalOverlapAdd SignalPCAN
    SignalRfft SignalStacker SignalWindow
"""
CUSTOM = frozenset(_CUSTOM_NAMES.split())

_INT8 = ("float32", "int8")
_INT16 = ("float32", "int8", "int16")
_INT32 = ("float32", "int8", "int16", "int32")
_BY_TYPES = {
    ("float32",): "CEIL COS EXP FLOOR FLOOR_DIV L2_POOL_2D LOG NEG ROUND SIN SQRT SQUARE",
    _INT8: "ARG_MAX DEPTH_TO_SPACE ELU GATHER HARD_SWISH L2_NORMALIZATION LOG_SOFTMAX MIRROR_PAD REDUCE_MAX "
    "REDUCE_MIN RESIZE_BILINEAR SPACE_TO_DEPTH",
    _INT16: "ABS AVERAGE_POOL_2D BATCH_MATMUL CONV_2D DEPTHWISE_CONV_2D EXPAND_DIMS FULLY_CONNECTED LEAKY_RELU "
    "LOGISTIC MAX_POOL_2D MEAN PRELU RELU RELU6 RESIZE_NEAREST_NEIGHBOR RSQRT SOFTMAX SUM TANH TRANSPOSE "
    "TRANSPOSE_CONV",
    _INT32: "ADD CAST CONCATENATION MAXIMUM MINIMUM MUL PAD SLICE SQUARED_DIFFERENCE STRIDED_SLICE SUB",
    ("float32", "int8", "int32"): "DIV",
    ("int8", "uint8", "int16"): "DEQUANTIZE",
    ("float32", "int8", "uint8", "int16", "int32"): "QUANTIZE",
}
# Types of the data that an operator takes; those that are not here were not tried.
TYPES = {operator: types for types, operators in _BY_TYPES.items() for operator in operators.split()}

# Operators whose weights may have four bits; FULLY_CONNECTED with one scale for all channels only.
INT4_WEIGHTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
