/** Opens the microphone that a person wants, or says why it cannot be had. Knows no audio graph. */

import { CallFailure } from '../failure.js';

/**
 * What the browser does to the microphone's sound before anybody hears it.
 * @typedef {{echoCancellation: boolean, noiseSuppression: boolean, autoGainControl: boolean}} Processing
 */

/** @type {Readonly<Processing>} all on: what a loudspeaker in a room needs */
export const FULL_PROCESSING = Object.freeze({ echoCancellation: true, noiseSuppression: true, autoGainControl: true });

/**
 * @param {string} deviceId '' for the system's choice, which is also taken when this one is not plugged in
 * @param {Processing} processing wishes; what was granted is in the track's settings
 * @returns {Promise<MediaStream>}
 * @throws {CallFailure}
 */
export async function openMicrophone(deviceId, processing) {
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: deviceId ? { ...processing, deviceId: { exact: deviceId } } : { ...processing },
    });
  } catch (error) {
    const { name, message } = /** @type {DOMException} */ (error);
    const missing = name === 'NotFoundError' || name === 'OverconstrainedError';
    if (missing && deviceId) return openMicrophone('', processing);
    if (missing) throw new CallFailure('microphone-missing');
    if (name === 'NotAllowedError' || name === 'SecurityError') throw new CallFailure('microphone-denied');
    if (name === 'NotReadableError' || name === 'AbortError') throw new CallFailure('microphone-busy');
    throw new CallFailure('broken', message);
  }
}

/** @param {MediaStream} stream */
export function closeMicrophone(stream) {
  for (const track of stream.getTracks()) {
    track.onended = null;
    track.stop();
  }
}

/** Safari on a phone: keep the loudspeaker while recording. @param {'play-and-record' | 'auto'} type */
export function setAudioSession(type) {
  const { audioSession } = /** @type {{audioSession?: {type: string}}} */ (navigator);
  if (audioSession) audioSession.type = type;
}
