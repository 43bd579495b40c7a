/**
 * How long an answer takes: from the moment a frame's last packet is handed to the socket until its answer is here.
 *
 * The server answers one for one, so answer n belongs to frame n, plus the frames it said it skipped. A model that
 * holds its first answers back (Moshi speaks one frame late by design) is thereby counted with the delay it has.
 * Pure: times are passed in. Knows nothing of what happens before the socket or after the decoder.
 */

import { RunningMedian } from '../running-median.js';
import { PACKETS_PER_FRAME } from './protocol.js';

const REMEMBERED_FRAMES = 128; // 10 s; an answer later than that is not measured

export class RoundTrip {
  #sentPackets = 0;
  #answerPackets = 0;
  #shift = 0; // answer n is to frame n + shift
  #sentAt = new Float64Array(REMEMBERED_FRAMES); // by frame, modulo
  #recent = new RunningMedian();

  /** @param {number} nowMs a packet was handed to the socket */
  sent(nowMs) {
    this.#sentPackets += 1;
    if (this.#sentPackets % PACKETS_PER_FRAME === 0) this.#sentAt[(this.#framesSent - 1) % REMEMBERED_FRAMES] = nowMs;
  }

  /** @param {number} nowMs a packet came back */
  answered(nowMs) {
    const opensFrame = this.#answerPackets % PACKETS_PER_FRAME === 0;
    const answer = Math.floor(this.#answerPackets / PACKETS_PER_FRAME);
    this.#answerPackets += 1;
    if (!opensFrame) return;
    // An answer to what was not yet asked: the server filled a gap in our microphone with silence.
    this.#shift = Math.min(this.#shift, this.#framesSent - 1 - answer);
    const frame = answer + this.#shift;
    if (frame < 0 || frame < this.#framesSent - REMEMBERED_FRAMES) return;
    this.#recent.add(nowMs - this.#sentAt[frame % REMEMBERED_FRAMES]);
  }

  /** @param {number} frames the server said that it will never answer these */
  skipped(frames) {
    if (Number.isInteger(frames) && frames > 0) this.#shift += frames;
  }

  /** The median of the last second, in ms; null before the first answer. */
  get ms() {
    return this.#recent.value;
  }

  get #framesSent() {
    return Math.floor(this.#sentPackets / PACKETS_PER_FRAME);
  }
}
