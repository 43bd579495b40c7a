/** Voice and manner: what the next call asks of the model, as fields, and as a link to share. */

import { fromHash, toHash } from './choices.js';
import { byId, copy, find } from './page.js';

export class Manner {
  #fields = byId('manner', HTMLFieldSetElement);
  #parley;
  #say;

  /** @param {import('../parley.js').Parley} parley @param {(text: string) => void} say */
  constructor(parley, say) {
    this.#parley = parley;
    this.#say = say;
    this.#fields.addEventListener('change', () => this.#choose());
    byId('defaults', HTMLButtonElement).addEventListener('click', () => this.#show({}));
    byId('repeat', HTMLButtonElement).addEventListener('click', () => this.#show({ ...parley.choices, seed: parley.seed ?? undefined }));
    byId('link', HTMLButtonElement).addEventListener('click', () => void this.#copyLink());
    addEventListener('hashchange', () => this.#show(fromHash(location.hash)));
    this.#show(fromHash(location.hash));
  }

  /**
   * What the server has to offer, and what its model's makers recommend.
   *
   * @param {string[]} voices @param {string[]} prompts @param {Record<string, number>} params
   */
  offer(voices, prompts, params) {
    this.#offer('voice', voices);
    this.#offer('prompt', prompts);
    for (const field of this.#all) {
      if (field instanceof HTMLInputElement && field.name in params) field.defaultValue = String(params[field.name]);
    }
    this.#show({ ...fromHash(location.hash), ...this.#parley.choices });
  }

  /** @param {boolean} inCall @param {number | null} seed of the call in progress or the last one */
  onCall(inCall, seed) {
    byId('manner-when', HTMLElement).hidden = !inCall;
    byId('repeat', HTMLElement).hidden = seed === null;
    if (seed !== null) find(this.#fields, '[data-seed]', HTMLElement).textContent = `This call: ${seed}`;
  }

  /** @param {string} name @param {string[]} offered */
  #offer(name, offered) {
    const select = find(this.#fields, `select[name=${name}]`, HTMLSelectElement);
    select.replaceChildren(new Option('As the model comes', ''), ...offered.map((one) => new Option(one)));
    /** @type {HTMLElement} */ (select.parentElement).hidden = !offered.length;
  }

  /** @param {import('../parley.js').Choices} choices */
  #show(choices) {
    for (const field of this.#all) field.value = String(choices[field.name] ?? defaultOf(field));
    this.#choose(choices);
  }

  /** @param {import('../parley.js').Choices} [given] what was asked for but the server does not offer (yet) is still asked for */
  #choose(given = {}) {
    /** @type {import('../parley.js').Choices} */
    const choices = {};
    for (const field of this.#all) {
      const { name, value } = field;
      if (value === '' && given[name]) choices[name] = given[name];
      if (value === '' || value === defaultOf(field) || !field.checkValidity()) continue;
      choices[name] = field.type === 'number' ? Number(value) : value;
    }
    this.#parley.choices = choices;
  }

  async #copyLink() {
    const url = new URL(location.href);
    url.hash = toHash(this.#parley.choices);
    this.#say((await copy(url.href)) ? 'Link copied.' : url.href);
  }

  get #all() {
    return /** @type {(HTMLInputElement | HTMLSelectElement)[]} */ ([...this.#fields.querySelectorAll('[name]')]);
  }
}

/** @param {HTMLInputElement | HTMLSelectElement} field */
function defaultOf(field) {
  return field instanceof HTMLInputElement ? field.defaultValue : '';
}
