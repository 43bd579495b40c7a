/**
 * Whether the loudspeaker is heard in the microphone: whether the microphone's loudness follows what is played, a
 * moment later. Two people talking at once do not rise and fall together for seconds; an echo does. Pure.
 */

const WINDOW_SPANS = 280; // 6 s
const SPANS_BETWEEN_LOOKS = 24; // half a second
const LAGS_SPANS = 16; // up to a third of a second through devices and room
const FLOOR_DB = -60;
const ACTIVE_DB = -45;
const ACTIVE_SHARE = 0.25; // of the window; less says nothing
const HEARD_DB = -50; // a quieter echo disturbs nobody
const LIKE = 0.75;
const UNLIKE = 0.4;
const LOOKS_TO_BELIEVE = 2;
const LOOKS_TO_FORGET = 6;

export class LeakDetector {
  #onChange;
  /** @type {number[]} in dB, oldest first */
  #heard = [];
  /** @type {number[]} */
  #played = [];
  #leaks = false;
  #looks = 0; // in a row that say otherwise
  #spans = 0;

  /** @param {(leaks: boolean) => void} onChange */
  constructor(onChange) {
    this.#onChange = onChange;
  }

  /** One span of both, on one clock. @param {number} heardRms of the microphone @param {number} playedRms */
  add(heardRms, playedRms) {
    push(this.#heard, heardRms);
    push(this.#played, playedRms);
    this.#spans += 1;
    if (this.#spans % SPANS_BETWEEN_LOOKS === 0 && this.#heard.length === WINDOW_SPANS) this.#look();
  }

  #look() {
    if (share(this.#played, ACTIVE_DB) < ACTIVE_SHARE) return;
    const likeness = share(this.#heard, HEARD_DB) < ACTIVE_SHARE / 2 ? 0 : this.#likeness();
    const saysOtherwise = this.#leaks ? likeness < UNLIKE : likeness > LIKE;
    this.#looks = saysOtherwise ? this.#looks + 1 : 0;
    if (this.#looks < (this.#leaks ? LOOKS_TO_FORGET : LOOKS_TO_BELIEVE)) return;
    this.#leaks = !this.#leaks;
    this.#looks = 0;
    this.#onChange(this.#leaks);
  }

  #likeness() {
    let best = 0;
    for (let lag = 0; lag < LAGS_SPANS; lag++) {
      best = Math.max(best, correlation(this.#heard.slice(lag), this.#played.slice(0, WINDOW_SPANS - lag)));
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

/** Pearson's. @param {number[]} a @param {number[]} b as long */
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
