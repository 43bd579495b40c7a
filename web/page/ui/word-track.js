/**
 * Places the model's words on the timeline: each at its time or a little later, in the first of two rows that is free there.
 *
 * Joins text pieces into words: a piece without a leading space continues the previous word. Pure; lengths and times are in
 * bars.
 *
 * @typedef {{text: string, at: number, row: 0 | 1}} PlacedWord `at`: the bar where it begins
 */

const KEPT_WORDS = 80;
const SPACE_BARS = 0.9;
const NEAR_BARS = 4; // 0.17 s: how late a word may be shown before it takes the other row
const CONTROL = /\p{Cc}/gu;

export class WordTrack {
  /** @type {PlacedWord[]} the oldest first */
  words = [];
  #ends = [-Infinity, -Infinity]; // of the last word in each row
  #measure;
  #isOpen = false; // whether the last word may continue

  /** @param {(text: string) => number} measure a text's length in bars */
  constructor(measure) {
    this.#measure = measure;
  }

  clear() {
    this.words.length = 0;
    this.#ends = [-Infinity, -Infinity];
    this.#isOpen = false;
  }

  /** @param {string} piece with its own spaces @param {number} bar when it begins to sound @returns {PlacedWord[]} new and changed words */
  add(piece, bar) {
    const [first, ...rest] = piece.replace(CONTROL, ' ').split(/\s+/);
    const words = first ? [this.#isOpen ? this.#extend(first) : this.#begin(first, bar)] : [];
    for (const word of rest) if (word) words.push(this.#begin(word, bar));
    this.#isOpen = rest.length ? rest.at(-1) !== '' : this.#isOpen || first !== '';
    return words;
  }

  /** @param {string} text @param {number} bar */
  #begin(text, bar) {
    const row = this.#ends[0] <= bar + NEAR_BARS || this.#ends[0] <= this.#ends[1] ? 0 : 1;
    const at = Math.max(bar, this.#ends[row]);
    /** @type {PlacedWord} */
    const word = { text, at, row };
    this.words.push(word);
    this.#ends[row] = at + this.#measure(text) + SPACE_BARS;
    if (this.words.length > KEPT_WORDS) this.words.shift();
    return word;
  }

  /** @param {string} text */
  #extend(text) {
    const word = this.words[this.words.length - 1];
    word.text += text;
    this.#ends[word.row] = word.at + this.#measure(word.text) + SPACE_BARS;
    return word;
  }
}
