"""What real phones say of themselves, recorded by others, and programs that say it again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.transports.programs import write_program

# `dumpsys thermalservice` of a Samsung A52 5G, Android 12: https://android.stackexchange.com/questions/246774
THERMAL = """IsStatusOverride: false
ThermalEventListeners:
        callbacks: 1
        killed: false
        broadcasts count: -1
ThermalStatusListeners:
        callbacks: 4
        killed: false
        broadcasts count: -1
Thermal Status: 0
Cached temperatures:
        Temperature{mValue=0.0, mType=2, mName=SUBBAT, mStatus=0}
        Temperature{mValue=25.6, mType=0, mName=AP, mStatus=0}
        Temperature{mValue=25.7, mType=5, mName=PA, mStatus=0}
        Temperature{mValue=23.8, mType=2, mName=BAT, mStatus=0}
HAL Ready: true
HAL connection:
        ThermalHAL 2.0 connected: yes
Current temperatures from HAL:
        Temperature{mValue=25.6, mType=0, mName=AP, mStatus=0}
        Temperature{mValue=23.8, mType=2, mName=BAT, mStatus=0}
        Temperature{mValue=24.7, mType=3, mName=LRB, mStatus=0}
        Temperature{mValue=25.7, mType=5, mName=PA, mStatus=0}
        Temperature{mValue=0.0, mType=2, mName=SUBBAT, mStatus=0}
        Temperature{mValue=0.0, mType=4, mName=USB, mStatus=0}
Current cooling devices from HAL:
Temperature static thresholds from HAL:
"""
# `dumpsys battery` of a Samsung phone: https://gh0st.tistory.com/6
BATTERY = """Current Battery Service state:
  mBootCompleted: true
  AC powered: false
  USB powered: true
  Wireless powered: false
  Max charging current: 0
  Max charging voltage: 0
  Charge counter: 0
  status: 2
  health: 2
  present: true
  level: 84
  scale: 100
  voltage: 4063
  temperature: 326
  technology: Li-ion
  LED Charging: true
  LED Low Battery: true
  current now: 321
"""
# Highest and present clock in kHz of each core of a Huawei Mate 20 (Kirin 980), at rest:
# https://github.com/pytorch/cpuinfo/blob/main/test/mock/huawei-mate-20.h
KIRIN_980 = {
    0: (1805000, 830000),
    1: (1805000, 830000),
    2: (1805000, 1421000),
    3: (1805000, 980000),
    4: (1901000, 826000),
    5: (1901000, 826000),
    6: (2600000, 1460000),
    7: (2600000, 1460000),
}


def unplug(folder: Path, *, microamperes: int, microvolts: int) -> None:
    """Let the phone run on its battery, whose gauge says this."""
    (folder / "says" / "battery").write_text(BATTERY.replace("USB powered: true", "USB powered: false"))
    supply = folder / "sys/class/power_supply/battery"
    supply.mkdir(parents=True, exist_ok=True)
    (supply / "current_now").write_text(f"{microamperes}\n")
    (supply / "voltage_now").write_text(f"{microvolts}\n")


def lay_out(folder: Path, cores: Mapping[int, tuple[int, int]], *, thermal_status: int = 0) -> None:
    """Let the phone of a folder say all this, with a thermal status and cores that a test chooses."""
    says = folder / "says"
    says.mkdir(exist_ok=True)
    (says / "thermalservice").write_text(THERMAL.replace("Thermal Status: 0", f"Thermal Status: {thermal_status}"))
    (says / "battery").write_text(BATTERY)
    (says / "power").write_text("  mWakefulness=Awake\n")
    write_program(folder / "bin" / "dumpsys", f'exec cat "{says}/$1"')
    for core, (highest, now) in cores.items():
        place = folder / f"sys/devices/system/cpu/cpu{core}/cpufreq"
        place.mkdir(parents=True, exist_ok=True)
        for name, value in (
            ("cpuinfo_max_freq", highest),
            ("scaling_cur_freq", now),
            ("scaling_governor", "schedutil"),
        ):
            (place / name).write_text(f"{value}\n")
