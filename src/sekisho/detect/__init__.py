"""Findings in text. Judgement only: values in, values out."""

from sekisho.detect.hidden import HiddenCharacter, hidden_characters, visible, visible_json

__all__ = ["HiddenCharacter", "hidden_characters", "visible", "visible_json"]
