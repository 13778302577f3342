'use strict';
(() => {
  const byId = (id) => document.getElementById(id);
  const seconds = Number(document.body.dataset.interval);

  // What the reader has done to the page is in properties, or in one of
  // these attributes; so the page that comes next does not undo it.
  const OWN = new Set(['hidden', 'open', 'disabled']);

  function morph(old, fresh) {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeName !== fresh.nodeName || old.id !== fresh.id) {
      old.replaceWith(fresh);
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.nodeValue = fresh.nodeValue;
      return;
    }
    for (const {name} of [...old.attributes]) {
      if (!OWN.has(name) && !fresh.hasAttribute(name)) {
        old.removeAttribute(name);
      }
    }
    for (const {name, value} of fresh.attributes) {
      if (!OWN.has(name) && old.getAttribute(name) !== value) {
        old.setAttribute(name, value);
      }
    }
    const theirs = [...fresh.childNodes];
    [...old.childNodes].forEach((child, index) => {
      if (index < theirs.length) morph(child, theirs[index]);
      else child.remove();
    });
    old.append(...theirs.slice(old.childNodes.length));
  }

  function filter(section) {
    const text = section.querySelector('input[type=search]').value
      .trim().toLowerCase();
    const status = section.querySelector('input[type=radio]:checked').value;
    const rows = section.querySelectorAll('tbody tr');
    let shown = 0;
    for (const row of rows) {
      const fits = (!status || row.dataset.status === status)
        && (!text || row.textContent.toLowerCase().includes(text));
      row.hidden = !fits;
      shown += fits;
    }
    section.querySelector('.shown').textContent =
      `${shown.toLocaleString('en')} of `
      + `${rows.length.toLocaleString('en')} shown`;
  }

  function prepare() {
    byId('controls').hidden = false;
    for (const tools of document.querySelectorAll('.tools')) {
      tools.hidden = false;
      filter(tools.closest('section'));
    }
  }

  function say(trouble) {
    byId('trouble').textContent = trouble;
    byId('trouble').hidden = !trouble;
  }

  let asking = false;
  async function update(method, url, refused) {
    if (asking) return;
    asking = true;
    try {
      const answer = await fetch(url, {
        method, cache: 'no-store', headers: {Accept: 'text/html'},
        signal: AbortSignal.timeout(20000 + 1000 * seconds),
      });
      if (!answer.ok) {
        say(`${refused}: ${answer.status} ${answer.statusText}`);
        return;
      }
      const fresh = new DOMParser().parseFromString(
        await answer.text(), 'text/html');
      document.title = fresh.title;
      morph(document.querySelector('link[rel=icon]'),
            fresh.querySelector('link[rel=icon]'));
      morph(document.body, fresh.body);
      say('');
      prepare();
    } catch {
      say('Not up to date: the node does not answer');
    } finally {
      asking = false;
    }
  }

  async function live() {
    if (byId('live').checked && !document.hidden) {
      await update('GET', location.href, 'Not up to date');
    }
    setTimeout(live, 1000 * seconds);
  }

  document.addEventListener('input', (event) => {
    const section = event.target.closest('.parts');
    if (section) filter(section);
  });
  document.addEventListener('click', async (event) => {
    if (event.target.id !== 'refresh') return;
    event.target.disabled = true;
    await update('POST', 'refresh', 'Not probed');
    event.target.disabled = false;
  });
  document.addEventListener('visibilitychange', () => {
    if (byId('live').checked && !document.hidden) {
      update('GET', location.href, 'Not up to date');
    }
  });
  prepare();
  setTimeout(live, 1000 * seconds);
})();
