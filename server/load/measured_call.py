"""One call: connects, sends speech at the pace of speech, and records what happened when.

All of it is callbacks of one event loop, none of them waits, and packets are encoded beforehand, so that one core can
send for hundreds of callers. The clock alone sets the pace: a slow server does not change what is sent when, or it
would be asked less and look better (coordinated omission). Knows the clock and the dialect; `figures.py` computes what
the times mean.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from server.audio.framing import FRAME_SAMPLES
from server.audio.packet import packet_samples
from server.client.packet_pacer import PacketPacer
from server.dialects.kyutai_protocol import (
    AudioForm,
    AudioReceived,
    ErrorReceived,
    HandshakeReceived,
    KyutaiProtocol,
    MetadataReceived,
    Received,
    TextReceived,
)
from server.errors import ProtocolError
from server.load.call_record import CallRecord
from server.load.faults import Disconnect, FaultSchedule
from server.load.faulty_socket import FaultySocket

HANDSHAKE_TIMEOUT_S = 30.0
MAX_TAIL_S = 2.0  # after the last frame was sent; then the call ends, whatever still arrives
QUIET_S = 0.25  # without a frame after the last one was sent: no more will come
_MAX_REASON_CHARS = 200
_MAX_SKIPPED_FRAMES = 1_000_000  # in one message: more cannot be true


@dataclass(frozen=True, slots=True)
class CallSpec:
    """Which server to call, and what to say."""

    url: str
    form: AudioForm
    speech: Sequence[list[bytes]]  # Opus packets by frame, repeated from the start when they run out
    frames: int  # to send
    first_frame: int = 0  # index into `speech`
    microphone_phase_s: float = 0.0  # from the handshake to the next packet of a microphone that was on before
    headers: Mapping[str, str] = field(default_factory=dict)


class MeasuredCall:
    """`run` makes the call; `record` is what was observed so far."""

    def __init__(self, spec: CallSpec, record: CallRecord | None = None, faults: FaultSchedule | None = None) -> None:
        self.record = record or CallRecord()
        self.disconnect: Disconnect | None = None  # the fault that ended the connection
        self.resume_token: str | None = None  # from a server that offers one
        self.spoken_frames = 0
        self._spec = spec
        self._frames = spec.frames  # to send; fewer once we hang up
        self._faults = faults
        self._socket = FaultySocket(lambda: self._set_timer(HANDSHAKE_TIMEOUT_S, self._give_up), self._receive)
        self._protocol = KyutaiProtocol(spec.form)
        self._pacer = PacketPacer(spec.form, packets_per_frame=len(spec.speech[0]))
        self._messages = self._packets_to_send()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None  # the next thing to do; at most one
        self._speech_started_at = 0.0
        self._sent_samples = self._received_samples = 0
        self._sent_frames = self._received_frames = 0
        self._last_received_at = 0.0
        self._spoken_at: float | None = None  # when the last packet was sent
        self._error_message: str | None = None  # the server's own reason for ending the call

    async def run(self) -> None:
        """Make the call. Whatever goes wrong becomes `record.failure`."""
        record = self.record
        record.started_at = time.perf_counter()
        try:
            reason = await self._socket.connect(self._spec.url, self._spec.headers)
        finally:
            self._set_timer(0, None)
        if reason and self.spoken_frames < self._frames:
            self._fail(self._error_message or reason)
        elif not self.disconnect and self._frames and not self._received_frames:
            self._fail("no audio came back")
        record.ended_at = time.perf_counter()

    def hang_up(self) -> None:
        """Send no more speech; the call ends once the remaining answers came, and that is not a failure."""
        if self.spoken_frames < self._frames:
            self._frames = self.spoken_frames
            if self.record.handshake_after_s is None:
                self._socket.close()
            else:
                self._await_last_answers()

    # ── What the socket brings

    def _receive(self, message: bytes | str, now: float) -> None:
        try:
            for event in self._protocol.receive(message):
                self._on_event(event, now)
        except ProtocolError as error:
            self._fail(f"the server broke the protocol: {error}")
            self._socket.close()

    def _on_event(self, event: Received, now: float) -> None:
        record = self.record
        match event:
            case AudioReceived(packets):
                self._on_audio(packets, now)
            case TextReceived():
                record.text_pieces += 1
            case HandshakeReceived() if record.handshake_after_s is None and record.started_at is not None:
                record.handshake_after_s = now - record.started_at
                self._start_speech(now)
            case MetadataReceived({"type": "ready", "resume": str(token)}):
                self.resume_token = token
            case MetadataReceived({"type": "skip", "frames": int(frames)}) if 0 < frames < _MAX_SKIPPED_FRAMES:
                record.skips.append((self._received_frames + 1, frames))  # after the one that may be under way
            case ErrorReceived(sentence):
                self._error_message = sentence
            case _:
                pass

    def _on_audio(self, packets: Sequence[bytes], now: float) -> None:
        self._received_samples += sum(map(packet_samples, packets))
        complete = self._received_samples // FRAME_SAMPLES - self._received_frames
        self.record.received_at.extend([now] * complete)
        self._received_frames += complete
        self._last_received_at = now

    # ── What the clock brings

    def _start_speech(self, now: float) -> None:
        if not self._frames:
            self._socket.close()
            return
        self._speech_started_at = now + self._spec.microphone_phase_s
        self._pacer.start(self._speech_started_at)
        self.record.first_due_at, self.record.send_interval_s = self._pacer.due_at, self._pacer.interval_s
        self._set_timer(self._pacer.due_at - now, self._speak)

    def _speak(self) -> None:
        """Send what the microphone has recorded by now, and set the timer for the next message."""
        now = time.perf_counter()
        self.record.late_by_s.append(now - self._pacer.due_at)
        packets = next(self._messages)
        if not (self._faults and self._apply_faults(self._faults, now)):
            self._send(packets, now)
        if self.disconnect:
            return
        if self.spoken_frames >= self._frames:
            self._await_last_answers()
            return
        self._set_timer(self._pacer.advance(now), self._speak)

    def _packets_to_send(self) -> Iterator[list[bytes]]:
        """The speech, repeated, as the packets of each message."""
        speech, step = self._spec.speech, self._pacer.packets_per_message
        for frame in itertools.count(self._spec.first_frame):
            packets = speech[frame % len(speech)]
            for first in range(0, len(packets), step):
                self.spoken_frames += first + step >= len(packets)
                yield packets[first : first + step]

    def _apply_faults(self, faults: FaultSchedule, now: float) -> bool:
        """Inject the faults that are due now. Returns whether the next message is lost by them."""
        now_s = now - self._speech_started_at
        self.disconnect = faults.disconnect(now_s)
        if self.disconnect:
            self.record.was_disconnected = True
            self._socket.abort()
            return True
        if stall_s := faults.stall_s(now_s):
            self._socket.stall(stall_s)
        return faults.loses_message()

    def _send(self, packets: Sequence[bytes], now: float) -> None:
        samples = sum(map(packet_samples, packets))
        if self._socket.is_full:
            self.record.unsent_samples += samples
            return
        self._socket.send(self._protocol.audio(packets))
        self._sent_samples += samples
        while self._sent_frames < self._sent_samples // FRAME_SAMPLES:
            self._sent_frames += 1
            self.record.sent_at.append(now)

    def _await_last_answers(self) -> None:
        """Keep the call until nothing more arrives, but at most for MAX_TAIL_S."""
        now = time.perf_counter()
        if self._spoken_at is None or self._socket.is_stalled:
            self._spoken_at = now
        is_quiet = now - max(self._spoken_at, self._last_received_at) > QUIET_S
        if is_quiet or now > self._spoken_at + MAX_TAIL_S:
            self._socket.close()
        else:
            self._set_timer(QUIET_S / 5, self._await_last_answers)

    def _give_up(self) -> None:
        self._fail(f"no handshake within {HANDSHAKE_TIMEOUT_S:.0f} s")
        self._socket.abort()

    def _set_timer(self, delay_s: float, callback: Callable[[], None] | None) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay_s, callback) if callback else None

    def _fail(self, reason: str) -> None:
        """`reason` may come from an untrusted server and goes to a terminal, so control characters are replaced."""
        printable = "".join(letter if letter.isprintable() else "?" for letter in reason[:_MAX_REASON_CHARS])
        self.record.failure = self.record.failure or printable
