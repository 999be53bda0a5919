"""What a machine without Python says of itself, by a POSIX shell: Android's toybox, BusyBox or a Linux."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgekd.errors import TargetError

if TYPE_CHECKING:
    from edgekd.transports import Transport

_ANSWER_S = 60.0
_END = "\n@end\n"
# Android's, in android.os.PowerManager: from moderate on the system slows itself down.
_THERMAL = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
_SLOWED = _THERMAL.index("moderate")
_CPUFREQ = " ".join(
    f"/sys/devices/system/cpu/cpu[0-9]*/cpufreq/{name}"
    for name in ("cpuinfo_max_freq", "scaling_cur_freq", "scaling_max_freq", "scaling_governor")
)

# Sections of one answer, since every call over the line costs time, and none of these may be there.
SECTION = r"""s() { printf '\n@%s\n' "$1"; shift; "$@" 2>/dev/null; }"""
DESCRIBE = f"""{SECTION}
s hostname hostname
s arch uname -m
s kernel uname -sr
s cpuinfo cat /proc/cpuinfo
s board cat /proc/device-tree/model
for p in ro.product.model ro.soc.model ro.build.version.release ro.serialno; do s $p getprop $p; done
"""
STATE = f"""{SECTION}
s loadavg cat /proc/loadavg
s pi vcgencmd get_throttled
s thermal dumpsys thermalservice
s battery dumpsys battery
s power sh -c 'dumpsys power | grep -m 1 mWakefulness='
s cpufreq grep -H . {_CPUFREQ}
"""


@dataclass(frozen=True, kw_only=True)
class State:
    """What may change while a model runs.

    Attributes:
        cores: What cpufreq tells of each, by number: `cpuinfo_max_freq` and the like.
        others: All else, by the names that events have for it.
    """

    cores: Mapping[int, Mapping[str, str]]
    others: Mapping[str, object]

    @property
    def highest_khz(self) -> dict[int, int]:
        """What each core can do, where the machine tells."""
        return {core: int(told["cpuinfo_max_freq"]) for core, told in self.cores.items() if "cpuinfo_max_freq" in told}

    def facts(self, cores: tuple[int, ...]) -> dict[str, object]:
        """What a `conditions` event says, of the cores that are used; none is all."""

        def told(name: str) -> list[str]:
            return [self.cores[core][name] for core in cores or self.cores if name in self.cores[core]]

        return {
            "governor": ", ".join(sorted({*told("scaling_governor")})) or None,
            "frequencies_hz": [1000 * int(khz) for khz in told("scaling_cur_freq")],
            "frequency_limits_hz": [1000 * int(khz) for khz in told("scaling_max_freq")],
            **self.others,
        }


def ask(transport: Transport, target: str, script: str, *words: str, patience_s: float = _ANSWER_S) -> str:
    """Run a shell script on a target and return all that it printed.

    Raises:
        TargetError: It did not come to its end, or the target can't be reached any more.
    """
    done = transport.run(["sh", "-c", f"{script}\nprintf '\\n@end\\n'", "sh", *words], patience_s)
    if not done.stdout.endswith(_END):
        transport.run(["true"], _ANSWER_S)  # where the line broke a client may end without a word; another one says so
        last = (done.stderr.strip().splitlines() or [f"exit code {done.code}"])[-1]
        raise TargetError(f"a script there did not come to its end: {last}", where=target)
    return done.stdout.removesuffix(_END)


def describe(answer: str) -> dict[str, str]:
    r"""Read the answer to `DESCRIBE`: host, CPU, architecture and system, in the words of the runner.

    >>> describe("@hostname\nlocalhost\n@ro.serialno\nR5CT1\n@ro.product.model\nPixel 8\n@ro.build.version.release\n15")
    {'host': 'R5CT1', 'cpu': 'Pixel 8', 'arch': '', 'os': 'Android 15'}
    """
    said = {name: text.strip("\0\n ") for name, text in read_sections(answer).items()}
    release = said.get("ro.build.version.release")
    names = re.search(r"^(?:model name|Model|Hardware|cpu model)\s*:\s*(.+)$", said.get("cpuinfo", ""), re.MULTILINE)
    product = " ".join(filter(None, (said.get("ro.product.model"), said.get("ro.soc.model"))))
    host = said.get("hostname", "")
    return {
        # All phones are called localhost.
        "host": host if host not in ("", "localhost") else said.get("ro.serialno") or host,
        "cpu": product or said.get("board") or (names[1].strip() if names else "") or said.get("arch", ""),
        "arch": said.get("arch", ""),
        "os": ", ".join(filter(None, (f"Android {release}" if release else "", said.get("kernel")))),
    }


def read_state(answer: str) -> State:
    r"""Read the answer to `STATE`.

    >>> state = read_state("@thermal\nThermal Status: 3\n@battery\n USB powered: true\n level: 84\n temperature: 326")
    >>> {name: state.others[name] for name in ("thermal_status", "too_hot", "battery_percent", "battery_c", "plugged")}
    {'thermal_status': 'severe', 'too_hot': ['phone'], 'battery_percent': 84, 'battery_c': 32.6, 'plugged': 'USB'}
    """
    said = read_sections(answer)
    cores: dict[int, dict[str, str]] = {}
    for core, name, value in re.findall(r"/cpu(\d+)/cpufreq/(\w+):(\w+)$", said.get("cpufreq", ""), re.MULTILINE):
        cores.setdefault(int(core), {})[name] = value
    flags = re.search(r"throttled=(0x[0-9a-fA-F]+)", said.get("pi", ""))
    load = re.match(r"[\d.]+", said.get("loadavg", ""))
    others: dict[str, object] = {
        "load": float(load[0]) if load else None,
        "throttled": flags[1] if flags else None,
        **_heat_of_android(said.get("thermal", "")),
        **_battery_of_android(said.get("battery", "")),
    }
    if screen := re.search(r"mWakefulness=(\w+)", said.get("power", "")):
        others["screen"] = screen[1]
    return State(cores=cores, others=others)


def _heat_of_android(thermal: str) -> dict[str, object]:
    """Its status, and which sensors the system slows itself down for."""
    found = re.search(r"Thermal Status: (\d+)", thermal)
    if not found:
        return {}
    status = int(found[1])
    # The first list may be old; sensors that are not there say 0.
    current = thermal.partition("Current temperatures from HAL")[2].partition("Current cooling")[0]
    sensors = re.findall(r"mValue=(-?[\d.]+), mType=-?\d+, mName=([^,]*), mStatus=(\d+)", current)
    too_hot = [name for _, name, severity in sensors if int(severity) >= _SLOWED]
    return {
        "thermal_status": _THERMAL[min(status, len(_THERMAL) - 1)],
        "temperature_c": max((float(value) for value, _, _ in sensors if float(value)), default=None),
        "too_hot": too_hot or (["phone"] if status >= _SLOWED else []),
    }


def _battery_of_android(battery: str) -> dict[str, object]:
    values = dict(re.findall(r"^\s*([\w ]+): (\S+)\s*$", battery, re.MULTILINE))
    if not {"level", "temperature"} <= set(values):
        return {}
    plugged = [
        name.removesuffix(" powered") for name, value in values.items() if (name[-8:], value) == (" powered", "true")
    ]
    return {
        "battery_percent": int(values["level"]),
        "battery_c": int(values["temperature"]) / 10,
        "plugged": ", ".join(plugged) or "no",
    }


def choose_cores(highest_khz: Mapping[int, int], threads: int) -> tuple[int, ...]:
    """Choose the fastest cores, cluster by cluster, until there is one for every thread; all of them are no choice.

    Args:
        highest_khz: Of each core, by its number.
        threads: That will run.

    Returns:
        Numbers of cores, or nothing where there is nothing to choose.

    >>> kirin_980 = {0: 1805, 1: 1805, 2: 1805, 3: 1805, 4: 1901, 5: 1901, 6: 2600, 7: 2600}
    >>> choose_cores(kirin_980, 1), choose_cores(kirin_980, 4), choose_cores(kirin_980, 8)
    ((6, 7), (4, 5, 6, 7), ())
    """
    chosen: list[int] = []
    for speed in sorted(set(highest_khz.values()), reverse=True):
        if len(chosen) >= threads:
            break
        chosen += [core for core, highest in highest_khz.items() if highest == speed]
    return tuple(sorted(chosen)) if len(chosen) < len(highest_khz) else ()


def mask_of(cores: tuple[int, ...]) -> str:
    """Write cores as `taskset` takes them.

    >>> mask_of((6, 7))
    'c0'
    """
    return f"{sum(1 << core for core in cores):x}"


def read_sections(answer: str) -> dict[str, str]:
    r"""Take an answer apart, at the lines that its script puts before what each command says.

    >>> read_sections("\n@arch\naarch64\n\n@pi\n")
    {'arch': 'aarch64', 'pi': ''}
    """
    found = re.split(r"^@(\S+)$", answer, flags=re.MULTILINE)[1:]
    return {name: text.strip("\n") for name, text in zip(found[::2], found[1::2], strict=True)}
