/**
 * The voice settings in the fragment of the address: `#voice=NATF0&seed=7`. Pure.
 *
 * @typedef {import('../../client/parley.js').Choices} Choices
 */

const TEXTS = ['voice', 'prompt'];
const NUMBERS = ['text_temperature', 'text_topk', 'audio_temperature', 'audio_topk', 'seed'];

/** @param {string} hash of the address; not trusted @returns {Choices} only what is valid */
export function fromHash(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ''));
  /** @type {Choices} */
  const choices = {};
  for (const name of TEXTS) if (given.get(name)) choices[name] = given.get(name);
  for (const name of NUMBERS) {
    const value = given.get(name);
    if (value && Number(value) >= 0 && Number.isFinite(Number(value))) choices[name] = Number(value);
  }
  return choices;
}

/** @param {Choices} choices @returns {string} '' for none */
export function toHash(choices) {
  const chosen = new URLSearchParams();
  for (const name of [...TEXTS, ...NUMBERS]) {
    const value = choices[name];
    if (value !== undefined && value !== null && value !== '') chosen.set(name, String(value));
  }
  return chosen.size ? `#${chosen}` : '';
}
