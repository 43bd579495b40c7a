"""espeak-ng's library through ctypes: text to sound, and when each word and phoneme begins.

The declarations follow `speak_lib.h`.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class SpeechError(Exception):
    """espeak-ng is not installed, or could not speak a text."""


@dataclass(frozen=True, slots=True)
class SpeechEvent:
    """A phoneme (`symbol`, pauses begin with `_`) or a word (no symbol) that begins at `sample`."""

    symbol: str
    text_at: int
    sample: int


class _RawId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _RawEvent(ctypes.Structure):  # espeak_EVENT in speak_lib.h
    _fields_ = (
        *((name, ctypes.c_int) for name in ("type", "unique_identifier", "text_position", "length")),
        *((name, ctypes.c_int) for name in ("audio_position_ms", "sample")),
        ("user_data", ctypes.c_void_p),
        ("id", _RawId),
    )


_RAW_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_RawEvent))
_SYNCHRONOUS, _PHONEME_EVENTS, _DONT_EXIT, _UTF8 = 2, 1, 0x8000, 1
_RATE, _PITCH = 1, 3
_TERMINATED, _WORD, _PHONEME = 0, 1, 7


class Espeak:
    """The library. A process has one instance, with one voice at a time."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL("libespeak-ng.so.1")
        except OSError as error:
            raise SpeechError("espeak-ng is not installed. Install it (Debian: apt install espeak-ng).") from error
        self._rate_hz = self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS | _DONT_EXIT)
        if self._rate_hz <= 0:
            raise SpeechError(
                "espeak-ng could not start. Check that its data is installed (Debian: apt install espeak-ng-data)."
            )
        self._chunks: list[NDArray[np.int16]] = []
        self._events: list[SpeechEvent] = []
        self._callback = _RAW_CALLBACK(self._take)  # keep a reference: the library stores only the address
        self._library.espeak_SetSynthCallback(self._callback)
        self._lock = threading.Lock()

    def speak(
        self, text: str, voice: str, pitch: int, speed_wpm: int
    ) -> tuple[NDArray[np.float32], int, list[SpeechEvent]]:
        """Speak `text`. Returns the sound [n], its sample rate and the events in order. Raises SpeechError."""
        raw = text.encode()
        with self._lock:
            self._chunks, self._events = [], []
            if self._library.espeak_SetVoiceByName(voice.encode()):
                raise SpeechError(f"espeak-ng has no voice {voice}.")
            self._library.espeak_SetParameter(_RATE, speed_wpm, 0)
            self._library.espeak_SetParameter(_PITCH, pitch, 0)
            if self._library.espeak_Synth(raw, len(raw) + 1, 0, 1, 0, _UTF8, None, None):
                raise SpeechError(f"espeak-ng could not speak {text!r}.")
            pcm = np.concatenate([np.zeros(0, np.int16), *self._chunks]).astype(np.float32) / np.float32(32768)
            return pcm, self._rate_hz, self._events

    def _take(self, pcm, samples: int, events) -> int:  # ctypes pointers
        if pcm and samples:
            self._chunks.append(np.ctypeslib.as_array(pcm, (samples,)).copy())
        for event in events:
            if event.type == _TERMINATED:
                return 0
            if event.type == _WORD:
                self._events.append(SpeechEvent("", event.text_position - 1, event.sample))
            elif event.type == _PHONEME:
                symbol = event.id.string.decode("utf-8", "replace") or "_"
                self._events.append(SpeechEvent(symbol, event.text_position - 1, event.sample))
        return 0


@functools.cache
def espeak() -> Espeak:
    """The instance of this process. Raises `SpeechError` if espeak-ng is not installed."""
    return Espeak()
