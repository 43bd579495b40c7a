/**
 * Finds where a phrase ends in a stream of text pieces, and makes phrases with times. Pure.
 *
 * @typedef {{startS: number, endS: number, text: string}} Phrase
 */

/** A silence this long ends a phrase. */
export const PAUSE_S = 1.2;
/** A model may produce any byte; control characters are not shown. */
export const CONTROL = /\p{Cc}/gu;

const PHRASE_END = /[.!?…。！？]["”’)]?\s*$/;
const MAX_PHRASE = 160; // characters; a speaker who never pauses is announced all the same
const LAST_PIECE_S = 0.6; // assumed duration of a phrase's last piece

/** @param {string} phrase so far, including `piece` @param {string} piece with its own spaces */
export function endsPhrase(phrase, piece) {
  return PHRASE_END.test(phrase) || (phrase.length > MAX_PHRASE && /\s$|^\s/.test(piece));
}

/**
 * @param {import('./transcript.js').Piece[]} pieces in order
 * @returns {Phrase[]} none overlaps the next
 */
export function toPhrases(pieces) {
  /** @type {Phrase[]} */
  const phrases = [];
  let open = false;
  let lastS = -Infinity;
  for (const { atS: saidAtS, text } of pieces) {
    const atS = Math.max(0, saidAtS); // a piece may come just before the call's clock starts
    const last = phrases[phrases.length - 1];
    if (open && atS - lastS <= PAUSE_S) {
      last.text += text;
      last.endS = atS + LAST_PIECE_S;
    } else {
      if (last) last.endS = Math.min(last.endS, atS);
      phrases.push({ startS: atS, endS: atS + LAST_PIECE_S, text });
    }
    lastS = atS;
    open = !endsPhrase(phrases[phrases.length - 1].text, text);
  }
  return phrases.map((phrase) => ({ ...phrase, text: phrase.text.replace(/\s+/g, ' ').trim() })).filter(({ text }) => text);
}
