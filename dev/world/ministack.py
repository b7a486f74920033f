"""Starts ministack with one thing fixed: it judges an alarm by its metric's name alone, and CloudWatch by dimensions too."""

import sys

from ministack.app import main
from ministack.services import cloudwatch

everything = cloudwatch._metrics
judge_all = cloudwatch._evaluate_alarm


def judge(alarm: dict) -> None:
    """Judges an alarm by the values of exactly its dimensions."""
    dimensions = {each["Name"]: each["Value"] for each in alarm.get("Dimensions", [])}
    cloudwatch._metrics = {
        key: [point for point in points if point["Dimensions"] == dimensions]
        for key, points in everything.items() if key[:2] == (alarm.get("Namespace"), alarm.get("MetricName"))
    }
    try:
        judge_all(alarm)
    finally:
        cloudwatch._metrics = everything


if __name__ == "__main__":
    cloudwatch._evaluate_alarm = judge
    sys.exit(main())
