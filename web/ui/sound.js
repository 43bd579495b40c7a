/** Sound in the settings: which microphone and loudspeaker, what the browser does to the voice, how loud the answer is. */

import { CallFailure } from '../failure.js';
import { recall, remember } from './memory.js';
import { byId } from './page.js';
import { explain } from './sentences.js';

export class Sound {
  #microphone = byId('microphone', HTMLSelectElement);
  #speaker = byId('speaker', HTMLSelectElement);
  #parley;
  #say;

  /** @param {import('../parley.js').Parley} parley @param {(text: string) => void} say */
  constructor(parley, say) {
    this.#parley = parley;
    this.#say = say;
    const gain = byId('gain', HTMLInputElement);
    gain.addEventListener('input', () => (parley.volume = gain.valueAsNumber / 100));
    this.#microphone.addEventListener('change', () => void this.#choose('microphone', (id) => parley.setMicrophone(id)));
    this.#speaker.addEventListener('change', () => void this.#choose('speaker', (id) => parley.setSpeaker(id)));
    for (const name of Object.keys(parley.processing)) {
      const box = /** @type {HTMLInputElement} */ (document.getElementsByName(name)[0]);
      box.addEventListener('change', () => void this.#switch(name, box));
    }
    parley.addEventListener('devices', () => void this.refresh());
    byId('settings-card', HTMLElement).addEventListener('toggle', () => void this.refresh());
  }

  /** Show which devices there are now; their names are known only once a microphone has been allowed. */
  async refresh() {
    const { microphones, speakers } = await this.#parley.devices();
    const used = this.#parley.graph?.stream.getAudioTracks()[0]?.getSettings().deviceId;
    fill(this.#microphone, microphones, recall().microphone, used);
    fill(this.#speaker, speakers, recall().speaker);
    /** @type {HTMLElement} */ (this.#speaker.parentElement).hidden = !speakers.length;
  }

  /** @param {'microphone' | 'speaker'} kind @param {(id: string) => Promise<void>} take */
  async #choose(kind, take) {
    const id = (kind === 'microphone' ? this.#microphone : this.#speaker).value;
    try {
      await take(id);
      remember({ [kind]: id });
    } catch (error) {
      this.#say(reason(error));
      await this.refresh();
    }
  }

  /** @param {string} name @param {HTMLInputElement} box */
  async #switch(name, box) {
    try {
      await this.#parley.setProcessing({ [name]: box.checked });
    } catch (error) {
      box.checked = !box.checked;
      this.#say(reason(error));
    }
  }
}

/**
 * @param {HTMLSelectElement} select
 * @param {{id: string, label: string}[]} devices
 * @param {string} chosen
 * @param {string} [used] what is really in use, where that is known
 */
function fill(select, devices, chosen, used = chosen) {
  const name = (/** @type {string} */ label, /** @type {string} */ id, /** @type {number} */ i) =>
    id ? label || `Device ${i}` : `System’s choice${label ? `: ${label.replace(/^Default - /, '')}` : ''}`;
  select.replaceChildren(...devices.map(({ id, label }, i) => new Option(name(label, id, i), id)));
  if (!devices.length) select.append(new Option('None found', ''));
  const there = (/** @type {string} */ wanted) => devices.some(({ id }) => id === wanted);
  select.value = chosen && there(chosen) && used === chosen ? chosen : '';
}

/** @param {unknown} error */
function reason(error) {
  return error instanceof CallFailure ? explain(error).title : 'That device would not start; the one before goes on.';
}
