// Shows traces live. Whatever comes of a tracee is put in as text, never as markup.
'use strict';

const KEPT = 20000;  // events for the time line
const SHOWN = 100;   // rows
const $ = (id) => document.getElementById(id);
const show = {
  traces: [], id: null, began: null, nodes: [], folded: new Set(), node: null,
  events: [], last: 0, lost: 0, rates: [], before: null,
  span: 5e9, end: null, reader: null, dirty: true, offset: null, top: 0, tids: [],
};

let token = sessionStorage.getItem('token');

// Names are the tracees' own. What would break, hide or turn the text around it is written out.
function clean(text) {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu,
    (one) => `\\u{${one.codePointAt(0).toString(16)}}`);
}

// Only what is new is told to those who listen.
function say(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

function number(count, what) {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.authorization = `Bearer ${token}`;
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return answer;
  if (answer.status === 401) $('ask').hidden = false;
  let error = { message: `${answer.status}` };
  try { ({ error } = await answer.json()); } catch { /* no JSON: the status is all */ }
  throw Object.assign(new Error(error.message), { reason: error.reason });
}

// Traces

async function look() {
  try {
    show.traces = (await (await ask('traces')).json()).traces;
    say('status', `connected, ${number(show.traces.length, 'trace')}`);
    $('status').className = '';
    if ($('ask').contains(document.activeElement)) $('target').focus();
    $('ask').hidden = true;
    const shown = show.traces.find((trace) => trace.id === show.id);
    choose((shown ?? show.traces[show.traces.length - 1])?.id ?? null);
    listTraces();
    if (show.id !== null) await lookAtOne(show.id);
  } catch (error) {
    // One that has just been removed is gone from the next list.
    if (error.reason !== 'no-such-trace') {
      say('status', `not connected: ${error.message}`);
      $('status').className = 'failed';
    }
  }
  setTimeout(look, 1000);
}

async function lookAtOne(id) {
  const trace = await (await ask(`traces/${id}`)).json();
  if (id !== show.id) return;
  show.nodes = trace.tree;
  show.offset = trace.now - performance.now() * 1e6;
  const { calls, errors, signals } = trace.counts;
  if (show.before && trace.now > show.before.now) {
    const rate = (calls - show.before.calls) * 1e9 / (trace.now - show.before.now);
    show.rates = [...show.rates, rate].slice(-120);
    $('rate').textContent = Math.round(rate).toLocaleString('en');
  }
  show.before = { calls, now: trace.now };
  say('counts', `${number(calls, 'call')}, ${errors} failed, ${number(signals, 'signal')}`
    + (show.lost ? `, ${number(show.lost, 'event')} missed` : ''));
  $('detach').disabled = $('kill').disabled = trace.state !== 'running';
  drawTree();
  drawRates();
  show.dirty = true;
}

function listTraces() {
  const items = show.traces.map((trace) => {
    const what = trace.command ? trace.command.join(' ') : `process ${trace.pid}`;
    const state = trace.end ? describeEnd(trace.end) : trace.state;
    return { id: `trace-${trace.id}`, text: clean(`${trace.id} ${state}: ${what}`),
      selected: trace.id === show.id, ended: trace.state === 'ended' };
  });
  fill($('traces'), items, `trace-${show.id}`);
}

function choose(id) {
  // Another service in the place of the first gives the same ids again.
  const began = show.traces.find((trace) => trace.id === id)?.began ?? null;
  if (id === show.id && began === show.began) return;
  if (show.reader) show.reader.abort();
  Object.assign(show, { id, began, nodes: [], events: [], last: 0, lost: 0, rates: [], before: null,
    node: null, end: null, dirty: true, top: 0 });
  $('rate').textContent = '0';
  $('counts').textContent = '';
  $('live').setAttribute('aria-pressed', 'true');
  $('detach').disabled = $('kill').disabled = id === null;
  listTraces();
  drawTree();
  drawRates();
  if (id !== null) read(id);
}

// Events: fetch and not EventSource, which cannot send a token.

async function read(id) {
  const reader = new AbortController();
  show.reader = reader;
  while (!reader.signal.aborted) {
    try {
      const headers = show.last ? { 'last-event-id': `${show.last}` } : {};
      const answer = await ask(`traces/${id}/events`, { headers, signal: reader.signal });
      if (await readAll(answer.body, reader.signal)) return;
    } catch { /* it is tried again */ }
    await new Promise((again) => setTimeout(again, 1000));
  }
}

async function readAll(body, signal) {
  const text = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await text.read();
    if (done || signal.aborted) return false;
    const blocks = (rest + value).split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) if (take(block)) return true;
    show.dirty = true;
  }
}

// One event; gives whether it was the last.
function take(block) {
  const fields = Object.fromEntries(block.split('\n').map((line) => {
    const at = line.indexOf(': ');
    return [line.slice(0, at), line.slice(at + 2)];
  }));
  if (fields.id) show.last = Number(fields.id);
  if (fields.event === 'end') return true;
  if (!fields.data) return false;
  const data = JSON.parse(fields.data);
  if (fields.event === 'lost') show.lost += data.lost;
  if (fields.event === 'trace') show.events.push({ ...data, id: show.last });
  if (show.events.length > 2 * KEPT) show.events.splice(0, show.events.length - KEPT);
  return false;
}

function describe(event) {
  switch (event.kind) {
    case 'call': {
      const result = event.error ?? event.value ?? '?';
      const name = event.call === 'unknown' ? `syscall_${event.number}` : event.call;
      return `${name}(${event.args.join(', ')}) = ${result}`;
    }
    case 'begin': return `begins: ${clean(event.name)}`;
    case 'exec': return `becomes ${clean(event.name)}`;
    case 'signal': return `gets ${event.signal}`;
    case 'stop': return `stopped by ${event.signal}`;
    case 'continue': return 'continues';
    case 'end': return `ends: ${describeEnd(event.end)}`;
    default: return event.kind;
  }
}

function describeEnd(end) {
  return [end.how, end.code, end.signal].filter((part) => part !== undefined).join(' ');
}

function listEvents() {
  const rows = show.events.slice(-SHOWN).reverse().map((event) => {
    const row = document.createElement('tr');
    const cells = [event.id, (event.time / 1e9).toFixed(6), event.tid, describe(event)];
    for (const text of cells) {
      const cell = document.createElement('td');
      cell.textContent = text;
      row.append(cell);
    }
    if (event.error) row.className = 'failed';
    return row;
  });
  $('events').replaceChildren(...rows);
}

// Lists and trees: one tab stop, arrow keys inside.

// Items stay the same elements: one that is replaced while the mouse is down is never clicked.
function fill(list, items, at) {
  const there = new Map([...list.children].map((item) => [item.id, item]));
  const elements = items.map(({ id, text, selected, ended, level, expanded }) => {
    const item = there.get(id) ?? document.createElement('li');
    item.id = id;
    set(item, 'role', level === undefined ? 'option' : 'treeitem');
    set(item, 'aria-selected', selected);
    set(item, 'aria-level', level);
    set(item, 'aria-expanded', expanded);
    set(item, 'title', text);
    item.className = ended ? 'ended' : '';
    if (level) item.style.paddingLeft = `${0.4 + 1.2 * Math.min(level - 1, 12)}rem`;
    if (item.textContent !== text) item.textContent = text;
    return item;
  });
  const same = elements.length === list.children.length
    && elements.every((item, place) => item === list.children[place]);
  if (!same) {
    const scrolled = list.scrollTop;
    list.replaceChildren(...elements);
    list.scrollTop = scrolled;
  }
  const item = elements.find((one) => one.id === at) ?? elements[0];
  if (item) item.classList.add('at');
  set(list, 'aria-activedescendant', item?.id);
}

function set(element, name, value) {
  if (value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== `${value}`) element.setAttribute(name, value);
}

function drawTree() {
  const children = new Map();
  const known = new Set(show.nodes.map((node) => node.node));
  for (const node of show.nodes) {
    const parent = known.has(node.parent) ? node.parent : null;
    children.set(parent, [...(children.get(parent) ?? []), node]);
  }
  const items = [];
  const add = (node, level) => {
    const below = children.get(node.node) ?? [];
    const folded = show.folded.has(`${show.id}/${node.node}`);
    const sign = below.length ? (folded ? '▸' : '▾') : '·';
    const state = node.end ? describeEnd(node.end) : node.call ? `in ${node.call}` : node.state;
    const text = `${sign} ${node.tid} ${clean(node.name)}: ${state}, ${number(node.calls, 'call')}`;
    items.push({ id: `node-${node.node}`, text, selected: node.node === show.node,
      ended: node.state === 'ended', level: level + 1,
      expanded: below.length ? !folded : undefined });
    if (!folded) for (const child of below) add(child, level + 1);
  };
  for (const node of children.get(null) ?? []) add(node, 0);
  fill($('tree'), items, `node-${show.node}`);
}

function moveIn(list, key) {
  const items = [...list.children];
  const at = Math.max(0, items.findIndex((item) => item.classList.contains('at')));
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[key];
  if (to === undefined || !items[to]) return null;
  items[to].scrollIntoView({ block: 'nearest' });
  return items[to].id;
}

$('traces').addEventListener('keydown', (event) => {
  const id = moveIn($('traces'), event.key);
  if (id) { choose(Number(id.slice('trace-'.length))); event.preventDefault(); }
});

function chooseNode(id) {
  show.node = Number(id.slice('node-'.length));
  // Its lane is shown, too.
  const chosen = show.nodes.find((node) => node.node === show.node);
  show.top = Math.max(0, show.tids.indexOf(chosen?.tid) - 2);
}

$('tree').addEventListener('keydown', (event) => {
  const id = moveIn($('tree'), event.key);
  const at = $('tree').querySelector('.at');
  if (id) chooseNode(id);
  else if (at && event.key === 'ArrowLeft') fold(at);
  else if (at && event.key === 'ArrowRight') show.folded.delete(`${show.id}/${at.id.slice(5)}`);
  else return;
  event.preventDefault();
  drawTree();
  show.dirty = true;
});

// Folds what can be folded; from elsewhere it goes up.
function fold(item) {
  if (item.getAttribute('aria-expanded') === 'true') {
    show.folded.add(`${show.id}/${item.id.slice('node-'.length)}`);
    return;
  }
  const level = Number(item.getAttribute('aria-level'));
  let above = item.previousElementSibling;
  while (above && Number(above.getAttribute('aria-level')) >= level) {
    above = above.previousElementSibling;
  }
  if (!above) return;
  above.scrollIntoView({ block: 'nearest' });
  chooseNode(above.id);
}

$('traces').addEventListener('click', ({ target }) => {
  if (target.id.startsWith('trace-')) choose(Number(target.id.slice('trace-'.length)));
});
$('tree').addEventListener('click', ({ target }) => {
  if (!target.id.startsWith('node-')) return;
  chooseNode(target.id);
  drawTree();
  show.dirty = true;
});

// Drawings

function canvas(id) {
  const element = $(id);
  const scale = devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = element;
  element.width = width * scale;
  element.height = height * scale;
  const pen = element.getContext('2d');
  pen.scale(scale, scale);
  pen.font = '12px ui-monospace, monospace';
  const style = getComputedStyle(document.documentElement);
  return { pen, width, height, colour: (name) => style.getPropertyValue(`--${name}`) };
}

function drawRates() {
  const { pen, width, height, colour } = canvas('spark');
  const most = Math.max(1, ...show.rates);
  pen.strokeStyle = colour('accent');
  pen.lineWidth = 1.5;
  pen.beginPath();
  show.rates.forEach((rate, at) => {
    pen.lineTo(width * (at + 1) / 120, height - 3 - (height - 18) * rate / most);
  });
  pen.stroke();
  pen.fillStyle = colour('weak');
  pen.fillText(`at most ${Math.round(most).toLocaleString('en')}, two minutes`, 2, 11);
}

const NAMES = 130;  // pixels at the left
const HEAD = 16;    // and above
const LANE = 14;    // at least, or its name could not be read

// The lanes from here on fit, as many as they may be.
function place(tids, height) {
  const fits = Math.max(1, Math.floor((height - HEAD - 2) / LANE));
  show.tids = tids;
  show.top = Math.max(0, Math.min(show.top, tids.length - fits));
  const shown = tids.slice(show.top, show.top + fits);
  const high = Math.min(24, (height - HEAD - 2) / Math.max(1, shown.length));
  return { high, lanes: new Map(shown.map((tid, at) => [tid, HEAD + at * high])) };
}

function drawLine() {
  const { pen, width, height, colour } = canvas('line');
  if (show.id === null || (show.offset === null && !show.events.length)) {
    show.shownEnd = 0;
    $('range').textContent = 'nothing to show yet';
    return;
  }
  const present = show.offset === null ? 0 : show.offset + performance.now() * 1e6;
  const last = show.events.length ? show.events[show.events.length - 1].time : 0;
  const running = show.traces.some((trace) => trace.id === show.id && trace.state === 'running');
  const end = show.end ?? (running ? Math.max(present, last) : last);
  const start = end - show.span;
  const x = (time) => NAMES + (width - NAMES) * (time - start) / show.span;
  const names = new Map(show.nodes.map((node) => [node.tid, node.name]));
  const seen = show.events.filter((event) => event.time >= start && (event.entered ?? event.time) <= end);
  const tids = [...new Set([...show.nodes.filter((node) => !node.end).map((node) => node.tid),
    ...seen.map((event) => event.tid)])].sort((a, b) => a - b);
  const { high, lanes } = place(tids, height);
  const chosen = show.nodes.find((node) => node.node === show.node);
  for (const [tid, y] of lanes) {
    if (chosen && chosen.tid === tid) {
      pen.fillStyle = colour('chosen');
      pen.fillRect(0, y, width, high);
    }
    pen.fillStyle = colour('weak');
    const name = clean((names.get(tid) ?? '').split('/').pop());
    pen.fillText(`${tid} ${name}`.slice(0, 17), 2, y + high / 2 + 4);
  }
  for (const event of seen) {
    const y = lanes.get(event.tid);
    if (y === undefined) continue;
    const from = Math.max(NAMES, x(event.entered ?? event.time));
    const wide = Math.max(1, x(event.time) - from);
    pen.fillStyle = colour(event.kind !== 'call' ? 'accent' : event.error ? 'failed' : 'call');
    pen.fillRect(from, y + 1, wide, high - 3);
    if (event.kind === 'call' && wide > 60) {
      pen.fillStyle = colour('panel');
      pen.fillText(event.call.slice(0, Math.floor(wide / 8)), from + 3, y + high / 2 + 4);
    }
  }
  pen.fillStyle = colour('weak');
  const parts = Math.max(1, Math.min(5, Math.floor((width - NAMES) / 100)));
  for (let part = 0; part < parts; part += 1) {
    const time = start + show.span * part / parts;
    pen.fillText(`${(time / 1e9).toFixed(show.span < 1e7 ? 6 : 3)}`, x(time), 11);
  }
  const first = start / 1e9;
  const threads = lanes.size === tids.length ? number(tids.length, 'thread')
    : `threads ${show.top + 1} to ${show.top + lanes.size} of ${tids.length}`;
  $('range').textContent = `${first.toFixed(3)} s to ${(end / 1e9).toFixed(3)} s `
    + `(${(show.span / 1e6).toLocaleString('en')} ms), ${number(seen.length, 'event')}, ${threads}`;
  show.shownEnd = end;
}

function zoom(factor) {
  const middle = show.shownEnd - show.span / 2;
  show.span = Math.min(6e11, Math.max(1e4, show.span * factor));
  if (show.end !== null) show.end = middle + show.span / 2;
  show.dirty = true;
}

function move(part) {
  show.end = show.shownEnd + part * show.span;
  $('live').setAttribute('aria-pressed', 'false');
  show.dirty = true;
}

function scroll(lanes) {
  show.top = Math.max(0, show.top + lanes);
  show.dirty = true;
}

function follow() {
  show.end = null;
  $('live').setAttribute('aria-pressed', 'true');
  show.dirty = true;
}

$('line').addEventListener('keydown', (event) => {
  const keys = { '+': () => zoom(0.5), '=': () => zoom(0.5), '-': () => zoom(2),
    ArrowLeft: () => move(-0.25), ArrowRight: () => move(0.25), Home: follow,
    ArrowUp: () => scroll(-1), ArrowDown: () => scroll(1),
    PageUp: () => scroll(-10), PageDown: () => scroll(10) };
  const act = keys[event.key];
  if (act) { act(); event.preventDefault(); }
});
// Whoever only passes by scrolls the page.
$('line').addEventListener('wheel', (event) => {
  if (document.activeElement !== $('line') && !event.ctrlKey) return;
  zoom(event.deltaY < 0 ? 0.8 : 1.25);
  event.preventDefault();
}, { passive: false });
$('in').addEventListener('click', () => zoom(0.5));
$('out').addEventListener('click', () => zoom(2));
$('earlier').addEventListener('click', () => move(-0.25));
$('later').addEventListener('click', () => move(0.25));
$('live').addEventListener('click', () => (show.end === null ? move(0) : follow()));

// What is asked for

// Quotes keep words together.
function words(text) {
  return (text.match(/"[^"]*"|'[^']*'|\S+/g) ?? []).map((word) => word.replace(/^(["'])(.*)\1$/s, '$2'));
}

$('new-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const target = $('target').value.trim();
  const names = $('filter').value.split(/[\s,]+/).filter(Boolean);
  const body = /^\d+$/.test(target) ? { pid: Number(target) } : { command: words(target) };
  if (names.length) body.filter = names;
  $('problem').textContent = '';
  try {
    const headers = { 'content-type': 'application/json' };
    const answer = await ask('traces', { method: 'POST', headers, body: JSON.stringify(body) });
    const trace = await answer.json();
    show.traces = [...show.traces, trace];
    choose(trace.id);
  } catch (error) {
    $('problem').textContent = error.message;
  }
});

async function end(how) {
  try {
    if (show.id !== null) await ask(`traces/${show.id}?how=${how}`, { method: 'DELETE' });
  } catch (error) {
    $('problem').textContent = error.message;
  }
}
$('detach').addEventListener('click', () => end('detach'));
$('kill').addEventListener('click', () => end('kill'));

$('token-form').addEventListener('submit', (event) => {
  event.preventDefault();
  token = $('token').value;
  sessionStorage.setItem('token', token);
});

// Drawn when there is something new, a few times a second at most.
setInterval(() => {
  const moving = show.end === null && show.id !== null;
  if (document.hidden || !(show.dirty || moving)) return;
  show.dirty = false;
  listEvents();
  drawLine();
}, 200);
addEventListener('resize', () => { drawRates(); show.dirty = true; });

look();
