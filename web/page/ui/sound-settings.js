/** The sound settings: the microphone and the loudspeaker, how the browser processes the voice, and the volume. */

import { CallFailure } from '../../client/failure.js';
import { loadDevices, saveDevices } from './device-storage.js';
import { byId } from './dom.js';
import { failureMessage } from './messages.js';

export class SoundSettings {
  #microphone = byId('microphone', HTMLSelectElement);
  #speaker = byId('speaker', HTMLSelectElement);
  #parley;
  #notify;

  /** @param {import('../../client/parley.js').Parley} parley @param {(text: string) => void} notify */
  constructor(parley, notify) {
    this.#parley = parley;
    this.#notify = notify;
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

  /** Show the present devices. Their names are known only after the user has allowed a microphone. */
  async refresh() {
    const { microphones, speakers } = await this.#parley.devices();
    const used = this.#parley.graph?.stream.getAudioTracks()[0]?.getSettings().deviceId;
    fill(this.#microphone, microphones, loadDevices().microphone, used);
    fill(this.#speaker, speakers, loadDevices().speaker);
    /** @type {HTMLElement} */ (this.#speaker.parentElement).hidden = !speakers.length;
  }

  /** @param {'microphone' | 'speaker'} kind @param {(id: string) => Promise<void>} set */
  async #choose(kind, set) {
    const id = (kind === 'microphone' ? this.#microphone : this.#speaker).value;
    try {
      await set(id);
      saveDevices({ [kind]: id });
    } catch (error) {
      this.#notify(reason(error));
      await this.refresh();
    }
  }

  /** @param {string} name @param {HTMLInputElement} box */
  async #switch(name, box) {
    try {
      await this.#parley.setProcessing({ [name]: box.checked });
    } catch (error) {
      box.checked = !box.checked;
      this.#notify(reason(error));
    }
  }
}

/**
 * @param {HTMLSelectElement} select
 * @param {{id: string, label: string}[]} devices
 * @param {string} chosen
 * @param {string} [used] the device in use, where that is known
 */
function fill(select, devices, chosen, used = chosen) {
  const name = (/** @type {string} */ label, /** @type {string} */ id, /** @type {number} */ i) =>
    id ? label || `Device ${i}` : `System default${label ? `: ${label.replace(/^Default - /, '')}` : ''}`;
  select.replaceChildren(...devices.map(({ id, label }, i) => new Option(name(label, id, i), id)));
  if (!devices.length) select.append(new Option('None found', ''));
  const there = (/** @type {string} */ wanted) => devices.some(({ id }) => id === wanted);
  select.value = chosen && there(chosen) && used === chosen ? chosen : '';
}

/** @param {unknown} error */
function reason(error) {
  return error instanceof CallFailure ? failureMessage(error).title : 'This device could not be started. The previous one stays in use.';
}
