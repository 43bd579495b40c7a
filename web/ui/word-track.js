/**
 * Where the model's words stand on the line of time: each at its moment, in the first of two rows that is free there.
 *
 * Pieces become words as they come: one without a space before it goes on with the word before. Pure; lengths and moments
 * are in bars.
 *
 * @typedef {{text: string, at: number, row: 0 | 1}} PlacedWord `at`: the bar at which it begins
 */

const REMEMBERED_WORDS = 80;
const SPACE_BARS = 0.9;
const NEAR_BARS = 1; // a word may stand this far from its moment before it takes the other row
const CONTROL = /\p{Cc}/gu;

export class WordTrack {
  /** @type {PlacedWord[]} the oldest first */
  words = [];
  #ends = [-Infinity, -Infinity]; // of the last word in each row
  #measure;
  #open = false; // the last word may go on

  /** @param {(text: string) => number} measure a text's length in bars */
  constructor(measure) {
    this.#measure = measure;
  }

  clear() {
    this.words.length = 0;
    this.#ends = [-Infinity, -Infinity];
    this.#open = false;
  }

  /** @param {string} piece with its own spaces @param {number} bar when it is heard @returns {PlacedWord[]} what it changed */
  add(piece, bar) {
    const [first, ...rest] = piece.replace(CONTROL, ' ').split(/\s+/);
    const words = first ? [this.#open ? this.#goOn(first) : this.#begin(first, bar)] : [];
    for (const word of rest) if (word) words.push(this.#begin(word, bar));
    this.#open = rest.length ? rest.at(-1) !== '' : this.#open || first !== '';
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
    if (this.words.length > REMEMBERED_WORDS) this.words.shift();
    return word;
  }

  /** @param {string} text */
  #goOn(text) {
    const word = this.words[this.words.length - 1];
    word.text += text;
    this.#ends[word.row] = word.at + this.#measure(word.text) + SPACE_BARS;
    return word;
  }
}
