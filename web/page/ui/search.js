/** Finds text in the transcript as it grows, and highlights it (by CSS highlights, where the browser has them). */

export class Search {
  #input;
  #found;
  #log;
  /** @type {Range[]} */
  #matches = [];
  #at = -1;

  /** @param {HTMLInputElement} input @param {HTMLElement} found shows the number of matches @param {HTMLElement} log */
  constructor(input, found, log) {
    this.#input = input;
    this.#found = found;
    this.#log = log;
    input.addEventListener('input', () => this.#search(0));
    input.addEventListener('keydown', (event) => {
      if (event.key === 'Enter') this.#go(this.#at + (event.shiftKey ? -1 : 1));
    });
  }

  /** The transcript has changed. */
  refresh() {
    if (this.#input.value) this.#search(this.#at, false);
  }

  /** @param {number} at @param {boolean} [scroll] */
  #search(at, scroll = true) {
    const pattern = this.#input.value.trim().replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/\s+/g, '\\s+');
    this.#matches = pattern ? [...this.#log.children].flatMap((paragraph) => ranges(paragraph, new RegExp(pattern, 'giu'))) : [];
    this.#at = Math.max(0, Math.min(at, this.#matches.length - 1));
    this.#show(scroll);
  }

  /** @param {number} at */
  #go(at) {
    const { length } = this.#matches;
    this.#at = length ? (at + length) % length : 0;
    this.#show(true);
  }

  /** @param {boolean} scroll */
  #show(scroll) {
    const { length } = this.#matches;
    this.#found.textContent = !this.#input.value.trim() ? '' : length ? `${this.#at + 1} of ${length}` : 'No matches';
    const now = this.#matches[this.#at];
    if (now && scroll) now.startContainer.parentElement?.scrollIntoView({ block: 'nearest' });
    if (!globalThis.Highlight) return;
    CSS.highlights.set('found', new Highlight(...this.#matches));
    CSS.highlights.set('found-now', now ? new Highlight(now) : new Highlight());
  }
}

/** @param {Element} paragraph its text is spread over many nodes @param {RegExp} pattern @returns {Range[]} */
function ranges(paragraph, pattern) {
  const text = paragraph.textContent ?? '';
  return [...text.matchAll(pattern)].map(({ index, 0: match }) => {
    const range = new Range();
    const [start, end] = [place(paragraph, index), place(paragraph, index + match.length)];
    range.setStart(...start);
    range.setEnd(...end);
    return range;
  });
}

/** @param {Element} paragraph @param {number} offset in its text @returns {[Node, number]} */
function place(paragraph, offset) {
  const walker = document.createTreeWalker(paragraph, NodeFilter.SHOW_TEXT);
  let node = walker.nextNode();
  for (let left = offset; node; node = walker.nextNode()) {
    const length = node.nodeValue?.length ?? 0;
    if (left <= length) return [node, left];
    left -= length;
  }
  return [paragraph, paragraph.childNodes.length];
}
