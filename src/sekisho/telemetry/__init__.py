"""What operators see while it runs: counters and a log of events. Never a payload, never a secret.

Stands on `errors`; `assembly` makes both values and hands them down as arguments.
"""

from sekisho.telemetry.exposition import exposition
from sekisho.telemetry.log import Level, Logger, Value
from sekisho.telemetry.metrics import Metrics
from sekisho.telemetry.tally import Tally

__all__ = ["Level", "Logger", "Metrics", "Tally", "Value", "exposition"]
