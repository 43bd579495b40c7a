/**
 * Runs before the page's modules, and says which part of the page could not be loaded if one could not. No module, and nothing
 * that an old browser cannot read: it must work where the rest does not.
 */

(function () {
  'use strict';
  /** @type {{[status: number]: string}} */
  var REASONS = {
    401: 'The server asks for a password.',
    403: 'It was refused. A proxy in front of the server must pass the Host header on.',
    404: 'It is missing. The address may need a slash at its end, or a proxy removes a part of it.',
    429: 'There were too many requests. Wait a minute, then reload the page.',
  };
  var hasFailed = false;

  /** @param {string} text */
  function show(text) {
    if (document.readyState === 'loading') return document.addEventListener('DOMContentLoaded', function () { show(text); });
    var line = document.getElementById('loading');
    if (!line) return; // the page works
    line.textContent = text;
    line.className = 'loading failed';
    line.setAttribute('role', 'alert');
  }

  /** @param {number} status @param {string} type */
  function reason(status, type) {
    if (REASONS[status]) return REASONS[status];
    if (status >= 500) return 'The server or a proxy is not ready (' + status + '). Reload the page in a moment.';
    if (/html/.test(type)) return 'Something else came in its place, perhaps from a proxy that wants you to sign in.';
    return 'Reload the page.';
  }

  /** @param {string} url */
  function tell(url) {
    if (hasFailed) return;
    hasFailed = true;
    var part = 'This page could not load one of its parts, ' + url.replace(/^\w+:\/\/[^/]*/, '').replace(/\?.*/, '') + '. ';
    show(part + 'Reload the page.');
    fetch(url, { cache: 'no-store' }).then(
      function (response) { show(part + reason(response.status, response.headers.get('content-type') || '')); },
      function () { show(part + 'The server does not answer. Check your network, then reload the page.'); }
    );
  }

  /**
   * A module fails with any that it imports, perhaps before that one's own link does: find which one it was.
   * @param {string} script @param {string[]} parts
   */
  function tellFailedPart(script, parts) {
    if (!parts.length) return tell(script);
    fetch(parts[0], { cache: 'no-store' }).then(
      function (response) { response.ok ? tellFailedPart(script, parts.slice(1)) : tell(parts[0]); },
      function () { tell(parts[0]); }
    );
  }

  addEventListener('error', function (event) {
    var element = event.target;
    if (element instanceof HTMLScriptElement) {
      var parts = [element.src];
      document.querySelectorAll('link[rel=modulepreload]').forEach(function (link) {
        if (link instanceof HTMLLinkElement) parts.push(link.href);
      });
      tellFailedPart(element.src, parts);
    }
    else if (element instanceof HTMLLinkElement && /modulepreload|stylesheet/.test(element.rel)) tell(element.href);
    else if (element === window && !hasFailed) show('This page could not start: ' + event.message + '. Reload it.');
  }, true);
})();
