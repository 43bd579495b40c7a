/**
 * Where the sound goes. Chromium lets an audio context choose its device; other browsers only let an audio element,
 * so there the sound goes through one, out of sight, from the first choice on.
 */

/** @typedef {AudioContext & {setSinkId?: (deviceId: string) => Promise<void>}} SinkContext */

/** Whether people can choose in this browser at all. */
export function canChooseSpeaker() {
  return 'setSinkId' in AudioContext.prototype || 'setSinkId' in HTMLMediaElement.prototype;
}

export class Speaker {
  /** The id of the device chosen; '' for the system's choice. */
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
   * @param {string} deviceId '' for the system's choice
   * @throws {DOMException} when the device is gone or not allowed; the sound stays where it was
   */
  async choose(deviceId) {
    if (this.#context.setSinkId) await this.#context.setSinkId(deviceId);
    else if (deviceId || this.#element) await this.#through(deviceId);
    this.chosen = deviceId;
  }

  close() {
    this.#element?.pause();
  }

  /** @param {string} deviceId */
  async #through(deviceId) {
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
