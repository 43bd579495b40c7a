/** The voice settings: the choices for the next call, as form fields and as a link to share. */

import { byId, copy, find } from './dom.js';
import { fromHash, toHash } from './settings-link.js';

export class VoiceSettings {
  #fields = byId('voice-settings', HTMLFieldSetElement);
  #parley;
  #notify;

  /** @param {import('../../client/parley.js').Parley} parley @param {(text: string) => void} notify */
  constructor(parley, notify) {
    this.#parley = parley;
    this.#notify = notify;
    this.#fields.addEventListener('change', () => this.#choose());
    byId('defaults', HTMLButtonElement).addEventListener('click', () => this.#show({}));
    byId('repeat', HTMLButtonElement).addEventListener('click', () => this.#show({ ...parley.choices, seed: parley.seed ?? undefined }));
    byId('link', HTMLButtonElement).addEventListener('click', () => void this.#copyLink());
    addEventListener('hashchange', () => this.#show(fromHash(location.hash)));
    this.#show(fromHash(location.hash));
  }

  /**
   * Show what the server offers, and the model's recommended defaults.
   *
   * @param {string[]} voices @param {string[]} prompts @param {Record<string, number>} params
   */
  offer(voices, prompts, params) {
    this.#offer('voice', voices);
    this.#offer('prompt', prompts);
    for (const field of this.#inputs) {
      if (field instanceof HTMLInputElement && field.name in params) field.defaultValue = String(params[field.name]);
    }
    this.#show({ ...fromHash(location.hash), ...this.#parley.choices });
  }

  /** @param {boolean} inCall @param {number | null} seed of the call in progress or the last one */
  onCall(inCall, seed) {
    byId('voice-settings-note', HTMLElement).hidden = !inCall;
    byId('repeat', HTMLElement).hidden = seed === null;
    if (seed !== null) find(this.#fields, '[data-seed]', HTMLElement).textContent = `This call: ${seed}`;
  }

  /** @param {string} name @param {string[]} offered */
  #offer(name, offered) {
    const select = find(this.#fields, `select[name=${name}]`, HTMLSelectElement);
    select.replaceChildren(new Option('Model default', ''), ...offered.map((one) => new Option(one)));
    /** @type {HTMLElement} */ (select.parentElement).hidden = !offered.length;
  }

  /** @param {import('../../client/parley.js').Choices} choices */
  #show(choices) {
    for (const field of this.#inputs) field.value = String(choices[field.name] ?? defaultOf(field));
    this.#choose(choices);
  }

  /** @param {import('../../client/parley.js').Choices} [given] choices that the server does not offer (yet) are kept */
  #choose(given = {}) {
    /** @type {import('../../client/parley.js').Choices} */
    const choices = {};
    for (const field of this.#inputs) {
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
    this.#notify((await copy(url.href)) ? 'Link copied.' : url.href);
  }

  get #inputs() {
    return /** @type {(HTMLInputElement | HTMLSelectElement)[]} */ ([...this.#fields.querySelectorAll('[name]')]);
  }
}

/** @param {HTMLInputElement | HTMLSelectElement} field */
function defaultOf(field) {
  return field instanceof HTMLInputElement ? field.defaultValue : '';
}
