"""What onnxruntime_perf_test 1.21.0 said, built from Debian 13's source package, and Abseil's form of its usage."""

from __future__ import annotations

import pytest

from edgekd.runtimes._perf_test_log import read_flags, read_log, read_times

USAGE = """perf_test [options...] model_path [result_file]
Options:
\t-m [test_mode]: Specifies the test mode. Value could be 'duration' or 'times'.
\t\tProvide 'duration' to run the test for a fix duration, and 'times' to repeated for a certain times.\x20
\t-M: Disable memory pattern.
\t-I: Generate tensor input binding. Free dimensions are treated as 1 unless overridden using -f.
\t-i: Specify EP specific runtime options as key value pairs. Different runtime options available are:\x20
\t    [Usage]: -e <provider_name> -i '<key1>|<value1> <key2>|<value2>'
\t-D [Disable thread spinning]: disable spinning entirely for thread owned by onnxruntime intra-op thread pool.
\t-h: help
"""
ABSEIL = """onnxruntime_perf_test: onnxruntime_perf_test [options...] model_path [result_file]

Note: Options may be specified with either a single dash(-option) or a double dash(--option). Both forms are accepted.

Options:

  Flags from command_args_parser.cc:
    --D (Disables spinning entirely for thread owned by onnxruntime intra-op
      thread pool.); default: false;
    --m (Specifies the test mode. Value could be 'duration' or 'times'.);
      default: "duration";
    --plugin_ep_libs (Specifies a list of plugin execution provider (EP)
      registration names and their corresponding shared libraries to register.
      [Usage]: --plugin_ep_libs "plugin_ep_name_1|plugin_ep_1.dll
      plugin_ep_name_2|plugin_ep_2.dll ... "); default: "";

Try --helpfull to get a list of all flags or --help=substring shows help for
flags which include specified substring in either in the name, or description or
path.
"""
RAN = """Setting intra_op_num_threads to 1
Disabling intra-op thread spinning entirely
Session creation time cost: 0.00445622 s
First inference time cost: {first} ms
Total inference time cost: 0.0437704 s
Total inference requests: 5
Average inference time cost: 8.75407 ms
Total inference run time: 0.0437953 s
Number of inferences per second: 114.167\x20
Avg CPU usage: 80 %
Peak working set size: 81788928 bytes
"""
HALF = """onnxruntime/test/onnx/onnx_model_info.cc:55 void OnnxModelInfo::InitOnnxModelInfo(const PathString&) \
Failed to load model from "half.onnx" because protobuf parsing failed.
Stacktrace:
perf(+0x84825) [0x7f74d4e1e825]
perf(+0x60ed4) [0x7f74d4dfaed4]

"""
FAILS = """Setting intra_op_num_threads to 1
\x1b[1;31m2026-11-29 14:17:19.958992917 [E:onnxruntime:, sequential_executor.cc:677 ExecuteKernel] Non-zero status code
\x1b[m
Run failed:PerformanceRunner::RunOneIteration caught exception: Non-zero status code returned.

"""


def test_flags_of_both_parsers() -> None:
    assert read_flags(USAGE) == {"m", "M", "I", "i", "D", "h"}
    assert read_flags(ABSEIL) == {"D", "m", "plugin_ep_libs"}
    # Where Abseil strips names, as it does for phones unless told otherwise.
    assert read_flags("onnxruntime_perf_test [options...] model_path [result_file]\n\nNo flags matched.\n") == set()


def test_times_are_read_as_far_as_they_tell() -> None:
    assert read_log(RAN.format(first=16)).load_ns == 4_456_220
    assert read_log(RAN.format(first=16)).first_ns is None  # 16 to 17 ms
    assert read_log(RAN.format(first=116)).first_ns == 116_000_000


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (HALF, HALF.splitlines()[0]),
        (FAILS, FAILS.splitlines()[3].removeprefix("Run failed:")),
        ("there is no test data for model dtln\nRun failed:failed to initialize.\n", "failed to initialize."),
        ("r.csv is not supported\n", "r.csv is not supported"),
        ("Setting intra_op_num_threads to 1\n", ""),
    ],
)
def test_the_complaint_is_one_line(said: str, complaint: str) -> None:
    assert read_log(said).complaint == complaint


def test_every_inference() -> None:
    assert read_times("dnsmos,0.0152299,81788928,80,0\ndnsmos,0.00781985,81788928,80,1\n") == [15_229_900, 7_819_850]
    assert read_times("a,b,9.8e-05,34410496,-1,0\n") == [98_000]


@pytest.mark.parametrize(
    "content",
    ["m,fast,34410496,-1,0\n", "m,1,34410496,-1,1\n", "Min Latency: 5.0954e-05 s\n", "\n", "m,0.1,34410496,50\n"],
)
def test_another_file_is_no_result(content: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_times(content)
