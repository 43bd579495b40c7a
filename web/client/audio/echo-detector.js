/**
 * Detects whether the microphone picks up the loudspeaker: whether its level follows the played level a moment later. Two
 * people who talk at once do not rise and fall together for seconds; an echo does. Pure.
 */

const WINDOW_SPANS = 280; // 6 s
const SPANS_BETWEEN_CHECKS = 24; // half a second
const LAGS_SPANS = 16; // up to a third of a second through the devices and the room
const FLOOR_DB = -60;
const ACTIVE_DB = -45;
const ACTIVE_SHARE = 0.25; // of the window; less is not enough to decide
const HEARD_DB = -50; // a quieter echo does no harm
const CORRELATED = 0.75;
const UNCORRELATED = 0.4;
const CHECKS_TO_REPORT = 2;
const CHECKS_TO_CLEAR = 6;

export class EchoDetector {
  #onChange;
  /** @type {number[]} in dB, oldest first */
  #microphone = [];
  /** @type {number[]} */
  #played = [];
  #isHeard = false;
  #contradictions = 0; // checks in a row that contradict `#isHeard`
  #spans = 0;

  /** @param {(isHeard: boolean) => void} onChange */
  constructor(onChange) {
    this.#onChange = onChange;
  }

  /** Add the levels of one span. @param {number} microphoneRms @param {number} playedRms */
  add(microphoneRms, playedRms) {
    push(this.#microphone, microphoneRms);
    push(this.#played, playedRms);
    this.#spans += 1;
    if (this.#spans % SPANS_BETWEEN_CHECKS === 0 && this.#microphone.length === WINDOW_SPANS) this.#check();
  }

  #check() {
    if (share(this.#played, ACTIVE_DB) < ACTIVE_SHARE) return;
    const highest = share(this.#microphone, HEARD_DB) < ACTIVE_SHARE / 2 ? 0 : this.#highest();
    const contradicts = this.#isHeard ? highest < UNCORRELATED : highest > CORRELATED;
    this.#contradictions = contradicts ? this.#contradictions + 1 : 0;
    if (this.#contradictions < (this.#isHeard ? CHECKS_TO_CLEAR : CHECKS_TO_REPORT)) return;
    this.#isHeard = !this.#isHeard;
    this.#contradictions = 0;
    this.#onChange(this.#isHeard);
  }

  #highest() {
    let best = 0;
    for (let lag = 0; lag < LAGS_SPANS; lag++) {
      best = Math.max(best, correlation(this.#microphone.slice(lag), this.#played.slice(0, WINDOW_SPANS - lag)));
    }
    return best;
  }
}

/** @param {number[]} levels @param {number} rms */
function push(levels, rms) {
  levels.push(Math.max(FLOOR_DB, 20 * Math.log10(rms + 1e-9)));
  if (levels.length > WINDOW_SPANS) levels.shift();
}

/** @param {number[]} levels @param {number} db */
function share(levels, db) {
  return levels.filter((level) => level > db).length / levels.length;
}

/** Pearson's correlation. @param {number[]} a @param {number[]} b of the same length */
function correlation(a, b) {
  const meanA = a.reduce((sum, x) => sum + x, 0) / a.length;
  const meanB = b.reduce((sum, x) => sum + x, 0) / b.length;
  let [product, squareA, squareB] = [0, 1e-9, 1e-9];
  for (let i = 0; i < a.length; i++) {
    product += (a[i] - meanA) * (b[i] - meanB);
    squareA += (a[i] - meanA) ** 2;
    squareB += (b[i] - meanB) ** 2;
  }
  return product / Math.sqrt(squareA * squareB);
}
