/**
 * Keeps the microphone closed while an echo canceller learns: in the first seconds of playback browsers let the
 * loudspeaker through at full level, and a full-duplex model would then answer itself. Only while something is heard,
 * and only in the beginning; not on who is already speaking when it begins, and no longer where nothing comes through
 * (headphones). Pure. Owner: the capture worklet.
 */

const AUDIBLE = 0.003; // −50 dBFS
const LEARNS_FROM_S = 2.5; // of audible playback
const LEARNS_WITHIN_S = 4; // of its beginning, whatever pauses it has
const ECHO_S = 0.25; // from the loudspeaker's worklet through the room to the microphone's
const CLEAN_S = 0.75; // of audible playback after which a silent microphone proves that nothing comes through
const BREATH_S = 0.2; // a pause this short is none: who speaks goes on

export class WarmUp {
  #audibleS = 0;
  #begunS = 0;
  #echoS = 0;
  #cleanS = 0;
  #speechS = 0; // left of the breath after the last sound in the microphone
  #goesOn = false; // was speaking when this stretch of playback began

  /**
   * @param {number} playedRms
   * @param {number} heardRms of the microphone, before it is closed
   * @param {number} durationS
   * @returns {boolean} whether the microphone should be closed
   */
  isClosed(playedRms, heardRms, durationS) {
    if (this.#audibleS >= LEARNS_FROM_S || this.#begunS >= LEARNS_WITHIN_S || this.#cleanS >= CLEAN_S) return false;
    const [isAudible, isHeard] = [playedRms > AUDIBLE, heardRms > AUDIBLE];
    if (isAudible && this.#echoS === 0) this.#goesOn = this.#speechS > 0;
    const isSpeech = isHeard && (this.#echoS === 0 || this.#goesOn); // not what may be an echo
    this.#speechS = isSpeech ? BREATH_S : Math.max(0, this.#speechS - durationS);
    this.#goesOn &&= this.#speechS > 0;
    this.#echoS = isAudible ? ECHO_S : Math.max(0, this.#echoS - durationS);
    if (isAudible) this.#audibleS += durationS;
    if (this.#audibleS > 0) this.#begunS += durationS;
    if (isHeard) this.#cleanS = 0;
    else if (isAudible) this.#cleanS += durationS;
    return this.#echoS > 0 && !this.#goesOn;
  }
}
