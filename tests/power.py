"""What machines tell of their power, as published, and a `vcgencmd` that tells it."""

from __future__ import annotations

from pathlib import Path

from tests.transports.programs import write_program

# `vcgencmd pmic_read_adc` of a Raspberry Pi 5: https://github.com/leukipp/touchkio/issues/35
PMIC = """\
 3V7_WL_SW_A current(0)=0.12199130A
   3V3_SYS_A current(1)=0.15224510A
   1V8_SYS_A current(2)=0.17273960A
  DDR_VDD2_A current(3)=0.11613570A
  DDR_VDDQ_A current(4)=0.02941200A
   1V1_SYS_A current(5)=0.21763240A
    0V8_SW_A current(6)=0.50748360A
  VDD_CORE_A current(7)=1.54489000A
   3V3_DAC_A current(17)=0.00000000A
   3V3_ADC_A current(18)=0.00018315A
   0V8_AON_A current(16)=0.00390720A
      HDMI_A current(22)=0.01709400A
 3V7_WL_SW_V volt(8)=3.60605200V
   3V3_SYS_V volt(9)=3.31931300V
   1V8_SYS_V volt(10)=1.79682400V
  DDR_VDD2_V volt(11)=1.10842400V
  DDR_VDDQ_V volt(12)=0.60549390V
   1V1_SYS_V volt(13)=1.10219700V
    0V8_SW_V volt(14)=0.80146440V
  VDD_CORE_V volt(15)=0.88725180V
   3V3_DAC_V volt(20)=3.31501500V
   3V3_ADC_V volt(21)=3.31684600V
   0V8_AON_V volt(19)=0.79882700V
      HDMI_V volt(23)=4.90440000V
     EXT5V_V volt(24)=4.87894000V
      BATT_V volt(25)=2.50512600V
"""
# Its rails, in the same order: what one multiplies by hand. EXT5V and BATT have no current.
AMPERES = (
    *(0.12199130, 0.15224510, 0.17273960, 0.11613570, 0.02941200, 0.21763240),
    *(0.50748360, 1.54489000, 0.0, 0.00018315, 0.00390720, 0.01709400),
)
VOLTS = (
    *(3.60605200, 3.31931300, 1.79682400, 1.10842400, 0.60549390, 1.10219700),
    *(0.80146440, 0.88725180, 3.31501500, 3.31684600, 0.79882700, 4.90440000),
)
WATTS = sum(amperes * volts for amperes, volts in zip(AMPERES, VOLTS, strict=True))


def write_vcgencmd(folder: Path, *, flags: str = "0x0") -> None:
    """A `vcgencmd` that tells this power, a little more of the core's with each reading, as no two are the same."""
    text = folder / "pmic"
    folder.mkdir(parents=True, exist_ok=True)
    text.write_text(PMIC)
    write_program(
        folder / "vcgencmd",
        f"""case $1 in
get_throttled) echo throttled={flags} ;;
pmic_read_adc)
  echo >>{text}.count
  sed "s/current(7)=1.54489/current(7)=1.5$((450 + $(wc -l <{text}.count)))/" {text} ;;
*) echo 'error=1 error_msg="Command not registered"' ; exit 255 ;;
esac""",
    )
