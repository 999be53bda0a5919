"""Real shells answer, and phones' recorded words are read as their makers say."""

from __future__ import annotations

import platform
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.runtimes._machine import DESCRIBE, STATE, choose_cores, describe, mask_of, read_state
from tests.transports import phone_says


def answer(script: str) -> str:
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False).stdout


def test_this_machine_is_what_python_says_it_is() -> None:
    said = describe(answer(DESCRIBE))
    assert (said["host"], said["arch"]) == (platform.node(), platform.machine())
    assert platform.release() in said["os"]
    assert said["cpu"]


def test_the_state_of_this_machine_has_a_load_and_no_battery_service() -> None:
    facts = read_state(answer(STATE)).facts(())
    assert isinstance(facts["load"], float)
    assert "thermal_status" not in facts
    assert "battery_percent" not in facts


def test_a_phone_is_known_by_its_serial_since_all_are_called_localhost() -> None:
    said = describe(
        "@hostname\nlocalhost\n@arch\naarch64\n@kernel\nLinux 5.10.1\n@cpuinfo\nHardware\t: Qualcomm\n"
        "@ro.product.model\nPixel 8\n@ro.soc.model\nTensor G3\n@ro.build.version.release\n15\n@ro.serialno\nR5CT\n"
    )
    assert said == {"host": "R5CT", "cpu": "Pixel 8 Tensor G3", "arch": "aarch64", "os": "Android 15, Linux 5.10.1"}


def phone(status: int = 0, sensor: int = 0, battery: str = phone_says.BATTERY) -> str:
    thermal = phone_says.THERMAL.replace("Thermal Status: 0", f"Thermal Status: {status}")
    thermal = thermal.replace("mName=AP, mStatus=0", f"mName=AP, mStatus={sensor}")
    cores = "".join(
        f"/sys/devices/system/cpu/cpu{core}/cpufreq/{name}:{value}\n"
        for core, (highest, now) in phone_says.KIRIN_980.items()
        for name, value in (("cpuinfo_max_freq", highest), ("scaling_cur_freq", now), ("scaling_governor", "schedutil"))
    )
    return f"\n@thermal\n{thermal}\n@battery\n{battery}\n@power\n  mWakefulness=Asleep\n@cpufreq\n{cores}"


def test_a_phone_s_words() -> None:
    state = read_state(phone())
    assert state.facts((6, 7)) == {
        "governor": "schedutil",
        "frequencies_hz": [1_460_000_000, 1_460_000_000],
        "frequency_limits_hz": [],
        "load": None,
        "throttled": None,
        "thermal_status": "none",
        "temperature_c": 25.7,
        "too_hot": [],
        "battery_percent": 84,
        "battery_c": 32.6,
        "plugged": "USB",
        "screen": "Asleep",
    }
    assert state.facts(())["frequencies_hz"] == [1000 * now for _, now in phone_says.KIRIN_980.values()]


@pytest.mark.parametrize(
    ("status", "sensor", "name", "too_hot"),
    [
        (0, 0, "none", []),
        (1, 1, "light", []),
        (2, 2, "moderate", ["AP"]),
        (3, 0, "severe", ["phone"]),
        (6, 4, "shutdown", ["AP"]),
    ],
)
def test_from_a_moderate_thermal_status_on_it_is_too_hot(
    status: int, sensor: int, name: str, too_hot: list[str]
) -> None:
    facts = read_state(phone(status, sensor)).facts(())
    assert (facts["thermal_status"], facts["too_hot"]) == (name, too_hot)


def test_a_raspberry_pi_s_flags_are_kept_as_they_are() -> None:
    assert read_state("\n@pi\nthrottled=0x50005\n").facts(())["throttled"] == "0x50005"


def test_a_phone_on_battery_and_what_is_not_there() -> None:
    off = phone(battery=phone_says.BATTERY.replace("USB powered: true", "USB powered: false"))
    assert read_state(off).facts(())["plugged"] == "no"
    assert read_state("").facts(()) == {
        "governor": None,
        "frequencies_hz": [],
        "frequency_limits_hz": [],
        "load": None,
        "throttled": None,
    }
    # A core whose clock can't be read is still a core.
    assert read_state("\n@cpufreq\n/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq:1805000\n").highest_khz == {
        0: 1805000
    }


KIRIN = {core: highest for core, (highest, _) in phone_says.KIRIN_980.items()}


@pytest.mark.parametrize(
    ("threads", "cores", "mask"),
    [
        (1, (6, 7), "c0"),
        (2, (6, 7), "c0"),
        (3, (4, 5, 6, 7), "f0"),
        (4, (4, 5, 6, 7), "f0"),
        (5, (), "0"),
        (9, (), "0"),
    ],
)
def test_the_fastest_clusters_that_hold_all_threads(threads: int, cores: tuple[int, ...], mask: str) -> None:
    assert choose_cores(KIRIN, threads) == cores
    assert mask_of(cores) == mask


@given(st.dictionaries(st.integers(0, 31), st.sampled_from([1000, 2000, 3000])), st.integers(1, 16))
def test_no_core_that_is_left_out_is_faster(highest: dict[int, int], threads: int) -> None:
    cores = choose_cores(highest, threads)
    if cores:
        slowest = min(highest[core] for core in cores)
        assert len(cores) >= threads
        assert all(speed < slowest for core, speed in highest.items() if core not in cores)
        # No cluster too many.
        assert sum(highest[core] > slowest for core in cores) < threads
