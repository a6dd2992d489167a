// Shows traces live. Whatever comes of a tracee is put in as text, never as markup.
'use strict';

const KEPT = 20000;  // events for the time line
const SHOWN = 100;   // rows
const $ = (id) => document.getElementById(id);
const show = {
  traces: [], id: null, nodes: [], folded: new Set(), node: null,
  events: [], last: 0, lost: 0, rates: [], before: null,
  span: 5e9, end: null, reader: null, dirty: true, offset: null,
};

let token = sessionStorage.getItem('token');

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.authorization = `Bearer ${token}`;
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return answer;
  if (answer.status === 401) $('ask').hidden = false;
  let text = `${answer.status}`;
  try { text = (await answer.json()).error.message; } catch { /* no JSON: the status is all */ }
  throw new Error(text);
}

// Traces

async function look() {
  try {
    show.traces = (await (await ask('traces')).json()).traces;
    $('status').textContent = `connected, ${show.traces.length} traces`;
    $('ask').hidden = true;
    if (!show.traces.some((trace) => trace.id === show.id)) {
      choose(show.traces.length ? show.traces[show.traces.length - 1].id : null);
    }
    listTraces();
    if (show.id !== null) await lookAtOne(show.id);
  } catch (error) {
    $('status').textContent = `not connected: ${error.message}`;
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
  $('counts').textContent = `${calls} calls, ${errors} failed, ${signals} signals`
    + (show.lost ? `, ${show.lost} events missed` : '');
  $('detach').disabled = $('kill').disabled = trace.state !== 'running';
  drawTree();
  drawRates();
  show.dirty = true;
}

function listTraces() {
  const items = show.traces.map((trace) => {
    const what = trace.command ? trace.command.join(' ') : `process ${trace.pid}`;
    return option(`trace-${trace.id}`, `${trace.id} ${trace.state}: ${what}`,
      trace.id === show.id, trace.state, () => choose(trace.id));
  });
  fill($('traces'), items, `trace-${show.id}`);
}

function choose(id) {
  if (id === show.id) return;
  if (show.reader) show.reader.abort();
  Object.assign(show, { id, nodes: [], events: [], last: 0, lost: 0, rates: [], before: null,
    node: null, end: null, dirty: true });
  $('rate').textContent = '0';
  $('counts').textContent = '';
  $('live').setAttribute('aria-pressed', 'true');
  listTraces();
  drawTree();
  if (id !== null) read(id);
}

// Events: fetch and not EventSource, which cannot send a token.

async function read(id) {
  const reader = new AbortController();
  show.reader = reader;
  while (show.id === id && !reader.signal.aborted) {
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
    case 'begin': return `begins: ${event.name}`;
    case 'exec': return `becomes ${event.name}`;
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

function option(id, text, selected, state, chosen, role = 'option') {
  const item = document.createElement('li');
  item.id = id;
  item.setAttribute('role', role);
  item.setAttribute('aria-selected', selected);
  item.className = state === 'ended' ? 'ended' : '';
  item.textContent = text;
  item.addEventListener('click', chosen);
  return item;
}

function fill(list, items, at) {
  const scrolled = list.scrollTop;
  list.replaceChildren(...items);
  list.scrollTop = scrolled;
  const item = items.find((one) => one.id === at) ?? items[0];
  if (!item) return list.removeAttribute('aria-activedescendant');
  item.classList.add('at');
  list.setAttribute('aria-activedescendant', item.id);
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
    const text = `${sign} ${node.tid} ${node.name}: ${state}, ${node.calls} calls`;
    const item = option(`node-${node.node}`, text, node.node === show.node, node.state,
      () => { show.node = node.node; drawTree(); show.dirty = true; }, 'treeitem');
    item.style.paddingLeft = `${0.4 + 1.2 * Math.min(level, 12)}rem`;
    item.setAttribute('aria-level', level + 1);
    if (below.length) item.setAttribute('aria-expanded', !folded);
    items.push(item);
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

$('tree').addEventListener('keydown', (event) => {
  const id = moveIn($('tree'), event.key);
  const key = `${show.id}/${show.node}`;
  if (id) show.node = Number(id.slice('node-'.length));
  else if (event.key === 'ArrowLeft') show.folded.add(key);
  else if (event.key === 'ArrowRight') show.folded.delete(key);
  else return;
  event.preventDefault();
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

function drawLine() {
  const { pen, width, height, colour } = canvas('line');
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
  const high = Math.max(3, Math.min(24, (height - 18) / Math.max(1, tids.length)));
  const lanes = new Map(tids.map((tid, at) => [tid, 16 + at * high]));
  const chosen = show.nodes.find((node) => node.node === show.node);
  for (const [tid, y] of lanes) {
    if (chosen && chosen.tid === tid) {
      pen.fillStyle = colour('chosen');
      pen.fillRect(0, y, width, high);
    }
    pen.fillStyle = colour('weak');
    const name = (names.get(tid) ?? '').split('/').pop();
    if (high > 10) pen.fillText(`${tid} ${name}`.slice(0, 17), 2, y + high / 2 + 4);
  }
  for (const event of seen) {
    const y = lanes.get(event.tid);
    const from = Math.max(NAMES, x(event.entered ?? event.time));
    const wide = Math.max(1, x(event.time) - from);
    pen.fillStyle = colour(event.kind !== 'call' ? 'accent' : event.error ? 'failed' : 'call');
    pen.fillRect(from, y + 1, wide, Math.max(1, high - 3));
    if (event.kind === 'call' && wide > 60 && high > 10) {
      pen.fillStyle = colour('panel');
      pen.fillText(event.call.slice(0, Math.floor(wide / 8)), from + 3, y + high / 2 + 4);
    }
  }
  pen.fillStyle = colour('weak');
  for (let part = 0; part < 5; part += 1) {
    const time = start + show.span * part / 5;
    pen.fillText(`${(time / 1e9).toFixed(show.span < 1e7 ? 6 : 3)}`, x(time), 11);
  }
  const first = Math.max(0, end - show.span) / 1e9;
  $('range').textContent = `${first.toFixed(3)} s to ${(end / 1e9).toFixed(3)} s `
    + `(${(show.span / 1e6).toLocaleString('en')} ms), ${seen.length} events`;
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

function follow() {
  show.end = null;
  $('live').setAttribute('aria-pressed', 'true');
  show.dirty = true;
}

$('line').addEventListener('keydown', (event) => {
  const keys = { '+': () => zoom(0.5), '=': () => zoom(0.5), '-': () => zoom(2),
    ArrowLeft: () => move(-0.25), ArrowRight: () => move(0.25), Home: follow };
  const act = keys[event.key];
  if (act) { act(); event.preventDefault(); }
});
$('line').addEventListener('wheel', (event) => {
  zoom(event.deltaY < 0 ? 0.8 : 1.25);
  event.preventDefault();
}, { passive: false });
$('in').addEventListener('click', () => zoom(0.5));
$('out').addEventListener('click', () => zoom(2));
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
