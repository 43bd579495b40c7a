/**
 * Keeps the microphone closed while an echo canceller learns: in the first seconds of playback browsers let the
 * loudspeaker through at full level, and a full-duplex model would then answer itself. Only while something is heard,
 * and only in the beginning. Pure. Owner: the capture worklet.
 */

const AUDIBLE = 0.003; // −50 dBFS
const LEARNS_FROM_S = 2.5; // of audible playback
const LEARNS_WITHIN_S = 4; // of its beginning, whatever pauses it has
const ECHO_S = 0.25; // from the loudspeaker's worklet through the room to the microphone's

export class WarmUp {
  #audibleS = 0;
  #begunS = 0;
  #echoS = 0;

  /**
   * @param {number} rms of what is played
   * @param {number} durationS
   * @returns {boolean} whether the microphone should be closed
   */
  isClosed(rms, durationS) {
    if (this.#audibleS >= LEARNS_FROM_S || this.#begunS >= LEARNS_WITHIN_S) return false;
    const isAudible = rms > AUDIBLE;
    this.#echoS = isAudible ? ECHO_S : Math.max(0, this.#echoS - durationS);
    if (isAudible) this.#audibleS += durationS;
    if (this.#audibleS > 0) this.#begunS += durationS;
    return this.#echoS > 0;
  }
}
