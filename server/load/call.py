"""One call: dials, speaks at the pace of speech, and writes down when what happened.

All of it is callbacks of one event loop, none of them waits, and packets are made beforehand, so that one core speaks
for hundreds of callers. The pace is the clock's alone: whether and when the server answers changes nothing in what is
sent when, or a slow server would be asked less and look better (coordinated omission). Knows the clock and the wire;
what the times mean is worked out in `figures.py`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from server.audio.framing import FRAME_S, FRAME_SAMPLES
from server.audio.packet import packet_samples
from server.dialects.kyutai_protocol import (
    AudioForm,
    AudioReceived,
    ErrorReceived,
    Event,
    HandshakeReceived,
    KyutaiProtocol,
    MetadataReceived,
    TextReceived,
)
from server.errors import ProtocolError
from server.load.line import Line
from server.load.record import CallRecord
from server.load.troubles import Cut, Trouble

GREETING_WITHIN_S = 30.0
HANGS_UP_AFTER_S = 2.0  # after the last frame was sent, whatever still comes
QUIET_S = 0.25  # without a frame: no more are coming
_MOST_REASON = 200  # letters
LEAST_INTERVAL = 0.75  # of the usual one: a caller who is late does not catch up in a burst


@dataclass(frozen=True, slots=True)
class Errand:
    """Whom to call, and what to say."""

    url: str
    form: AudioForm
    speech: Sequence[list[bytes]]  # packets by frame, to go round in
    frames: int  # to say
    starts_at: int = 0  # in `speech`
    phase_s: float = 0.0  # from the greeting to the microphone's next packet: it was on before
    headers: Mapping[str, str] = field(default_factory=dict)


class Call:
    """`talk` makes the call; `record` is what came of it, so far."""

    def __init__(self, errand: Errand, record: CallRecord | None = None, trouble: Trouble | None = None) -> None:
        self.record = record or CallRecord()
        self.cut: Cut | None = None  # how the line was cut, as ordered
        self.resume: str | None = None  # the token to go on with, from a server that gives one
        self.spoken_frames = 0
        self._errand = errand
        self._frames = errand.frames  # to say; fewer once we hang up
        self._trouble = trouble
        self._line = Line(lambda: self._set_timer(GREETING_WITHIN_S, self._give_up), self._receive)
        self._wire = KyutaiProtocol(errand.form)
        # As Kyutai's client and as our page do: a page every 80 ms, or a packet every 20 ms.
        self._at_once = len(errand.speech[0]) if errand.form is AudioForm.OGG else 1
        self._interval_s = FRAME_S * self._at_once / len(errand.speech[0])
        self._packets = self._packets_to_send()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None  # the next thing to do; one at most
        self._begun_at = self._due = 0.0  # due: when the clock wants the next packet, however late the last ones were
        self._sent_samples = self._heard_samples = 0
        self._sent_frames = self._heard_frames = 0
        self._heard_last_at = 0.0
        self._ended_at: float | None = None  # when the last packet left
        self._last_words: str | None = None  # the server's, on why it hangs up

    async def talk(self) -> None:
        """Make the call. Whatever goes wrong becomes `record.failure`."""
        record = self.record
        record.dialled_at = time.perf_counter()
        try:
            why = await self._line.dial(self._errand.url, self._errand.headers)
        finally:
            self._set_timer(0, None)
        if why and self.spoken_frames < self._frames:
            self._fail(self._last_words or why)
        elif not self.cut and self._frames and not self._heard_frames:
            self._fail("no audio came back")
        record.over_at = time.perf_counter()

    def hang_up(self) -> None:
        """Say no more; the call is over as soon as the rest was heard, and that is no failure."""
        if self.spoken_frames < self._frames:
            self._frames = self.spoken_frames
            if self.record.greeted_after_s is None:
                self._line.part()
            else:
                self._hear_the_rest()

    # ── What the line brings

    def _receive(self, message: bytes | str, now: float) -> None:
        try:
            for event in self._wire.receive(message):
                self._on_event(event, now)
        except ProtocolError as error:
            self._fail(f"the server broke the protocol: {error}")
            self._line.part()

    def _on_event(self, event: Event, now: float) -> None:
        record = self.record
        match event:
            case AudioReceived(packets):
                self._heard_samples += sum(map(packet_samples, packets))
                complete = self._heard_samples // FRAME_SAMPLES - self._heard_frames
                record.heard_at.extend([now] * complete)
                self._heard_frames += complete
                self._heard_last_at = now
            case TextReceived():
                record.text_pieces += 1
            case HandshakeReceived() if record.greeted_after_s is None and record.dialled_at is not None:
                record.greeted_after_s = now - record.dialled_at
                self._begin_speech(now)
            case MetadataReceived({"type": "ready", "resume": str(token)}):
                self.resume = token
            case MetadataReceived({"type": "skip", "frames": int(frames)}) if 0 < frames < 1_000_000:
                record.skips.append((self._heard_frames + 1, frames))  # after the one that may be under way
            case ErrorReceived(sentence):
                self._last_words = sentence
            case _:
                pass

    # ── What the clock brings

    def _begin_speech(self, now: float) -> None:
        if not self._frames:
            self._line.part()
            return
        self._begun_at = now + self._errand.phase_s
        self._due = self.record.due_from = self._begun_at + self._interval_s
        self.record.due_every_s = self._interval_s
        self._set_timer(self._due - now, self._speak)

    def _speak(self) -> None:
        """Send what the microphone has recorded by now, and set the clock for the next time."""
        now = time.perf_counter()
        self.record.late_by_s.append(now - self._due)
        packets = next(self._packets)
        if not (self._trouble and self._suffer(self._trouble, now)):
            self._send(packets, now)
        if self.cut:
            return
        if self.spoken_frames >= self._frames:
            self._hear_the_rest()
            return
        self._due += self._interval_s
        self._set_timer(max(self._due - now, LEAST_INTERVAL * self._interval_s), self._speak)

    def _packets_to_send(self) -> Iterator[list[bytes]]:
        """The speech, going round, in the pieces that are sent at once."""
        speech = self._errand.speech
        for frame in itertools.count(self._errand.starts_at):
            packets = speech[frame % len(speech)]
            for first in range(0, len(packets), self._at_once):
                self.spoken_frames += first + self._at_once >= len(packets)
                yield packets[first : first + self._at_once]

    def _suffer(self, trouble: Trouble, now: float) -> bool:
        """Whatever befalls the call now, as ordered; whether it costs what would be sent."""
        at_s = now - self._begun_at
        self.cut = trouble.cuts(at_s)
        if self.cut:
            self.record.was_cut = True
            self._line.cut()
            return True
        if stall_s := trouble.stalls(at_s):
            self._line.stall(stall_s)
        return trouble.loses()

    def _send(self, packets: Sequence[bytes], now: float) -> None:
        samples = sum(map(packet_samples, packets))
        if self._line.is_full:
            self.record.unsent_samples += samples
            return
        self._line.send(self._wire.audio(packets))
        self._sent_samples += samples
        while self._sent_frames < self._sent_samples // FRAME_SAMPLES:
            self._sent_frames += 1
            self.record.sent_at.append(now)

    def _hear_the_rest(self) -> None:
        """Stay on the line until nothing more comes, but not for ever."""
        now = time.perf_counter()
        if self._ended_at is None or self._line.is_stalled:
            self._ended_at = now
        is_quiet = now - max(self._ended_at, self._heard_last_at) > QUIET_S
        if is_quiet or now > self._ended_at + HANGS_UP_AFTER_S:
            self._line.part()
        else:
            self._set_timer(QUIET_S / 5, self._hear_the_rest)

    def _give_up(self) -> None:
        self._fail(f"no greeting within {GREETING_WITHIN_S:.0f} s")
        self._line.cut()

    def _set_timer(self, after_s: float, then: Callable[[], None] | None) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_later(after_s, then) if then else None

    def _fail(self, reason: str) -> None:
        """`reason` may be a stranger's words, and goes to a terminal."""
        printable = "".join(letter if letter.isprintable() else "?" for letter in reason[:_MOST_REASON])
        self.record.failure = self.record.failure or printable
