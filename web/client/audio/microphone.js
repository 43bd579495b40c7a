/** Opens a microphone, or says why it cannot be opened. Knows no audio graph. */

import { CallFailure } from '../failure.js';

/**
 * How the browser processes the microphone's audio.
 * @typedef {{echoCancellation: boolean, noiseSuppression: boolean, autoGainControl: boolean}} Processing
 */

/** @type {Readonly<Processing>} all on, for a loudspeaker in a room */
export const FULL_PROCESSING = Object.freeze({ echoCancellation: true, noiseSuppression: true, autoGainControl: true });

/**
 * @param {string} deviceId '' for the system default, which is also used where this device is missing
 * @param {Processing} processing as wanted; the track's settings say what was granted
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
    if (name === 'NotAllowedError' && isForbidden()) throw new CallFailure('microphone-forbidden');
    if (name === 'NotAllowedError' || name === 'SecurityError') throw new CallFailure('microphone-denied');
    if (name === 'NotReadableError' || name === 'AbortError') throw new CallFailure('microphone-busy');
    throw new CallFailure('broken', message);
  }
}

/** Whether the embedding page's policy, or a header, keeps this page from the microphone. Not every browser tells. */
function isForbidden() {
  const { permissionsPolicy, featurePolicy } = /** @type {Record<string, {allowsFeature(name: string): boolean} | undefined>} */ (
    /** @type {unknown} */ (document)
  );
  return (permissionsPolicy ?? featurePolicy)?.allowsFeature('microphone') === false;
}

/** @param {MediaStream} stream */
export function closeMicrophone(stream) {
  for (const track of stream.getTracks()) {
    track.onended = track.onmute = track.onunmute = null;
    track.stop();
  }
}

/** Safari on an iPhone needs this to keep the loudspeaker while the microphone is open. @param {'play-and-record' | 'auto'} type */
export function setAudioSession(type) {
  const { audioSession } = /** @type {{audioSession?: {type: string}}} */ (navigator);
  if (audioSession) audioSession.type = type;
}
