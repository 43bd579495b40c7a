/**
 * Plays sound on a chosen device. In Chromium an audio context can choose its device; in other browsers only an audio element
 * can, so there the sound goes through a hidden one from the first choice on.
 */

/** @typedef {AudioContext & {setSinkId?: (deviceId: string) => Promise<void>}} SinkContext */

/** Whether this browser lets a page choose the loudspeaker. */
export function canChooseSpeaker() {
  return 'setSinkId' in AudioContext.prototype || 'setSinkId' in HTMLMediaElement.prototype;
}

export class Speaker {
  /** The chosen device's id; '' is the system default. */
  chosen = '';
  #context;
  #sound;
  /** @type {HTMLAudioElement | null} */
  #element = null;

  /** @param {SinkContext} context @param {AudioNode} sound */
  constructor(context, sound) {
    this.#context = context;
    this.#sound = sound;
    sound.connect(context.destination);
  }

  /**
   * @param {string} deviceId '' for the system default
   * @throws {DOMException} the device is missing or not allowed; the previous one stays in use
   */
  async choose(deviceId) {
    if (this.#context.setSinkId) await this.#context.setSinkId(deviceId);
    else if (deviceId || this.#element) await this.#playThroughElement(deviceId);
    this.chosen = deviceId;
  }

  close() {
    this.#element?.pause();
  }

  /** @param {string} deviceId */
  async #playThroughElement(deviceId) {
    const element = this.#element ?? new Audio();
    await element.setSinkId(deviceId);
    if (this.#element) return;
    const bridge = new MediaStreamAudioDestinationNode(this.#context);
    element.srcObject = bridge.stream;
    await element.play();
    this.#sound.disconnect();
    this.#sound.connect(bridge);
    this.#element = element;
  }
}
