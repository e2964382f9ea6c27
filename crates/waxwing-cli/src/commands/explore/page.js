'use strict';
const $ = id => document.getElementById(id);

async function unpack(id) {
  const text = atob($(id).textContent);
  const bytes = Uint8Array.from(text, c => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return JSON.parse(await new Response(stream).text());
}

const ROW = 22, BLOCK = 200;
let index, order = [], shown = -1, kept = null;
const parts = new Map();

// The listing of a function. Parts are unpacked once.
async function listing(i) {
  let part = index.parts.length - 1;
  while (index.parts[part] > i) part--;
  if (!parts.has(part)) parts.set(part, unpack('part' + part));
  return (await parts.get(part))[i - index.parts[part]];
}

// Functions.

function sort() {
  const wanted = $('search').value.toLowerCase();
  order = [];
  index.functions.forEach(([name, number], i) => {
    if (name.toLowerCase().includes(wanted) || String(number) === wanted) order.push(i);
  });
  const f = index.functions;
  if ($('order').value === 'size') order.sort((a, b) => f[b][3] - f[a][3]);
  if ($('order').value === 'name') order.sort((a, b) => f[a][0] < f[b][0] ? -1 : 1);
  $('count').textContent = `${order.length} of ${f.length}`;
  $('space').style.height = order.length * ROW + 'px';
  list();
}

// Only the rows that can be seen are there.
function list() {
  const box = $('list');
  const first = Math.max(0, Math.floor(box.scrollTop / ROW) - 10);
  const last = Math.min(order.length, first + Math.ceil(box.clientHeight / ROW) + 20);
  const rows = [];
  for (let row = first; row < last; row++) {
    const i = order[row], [name, , , size] = index.functions[i];
    const div = document.createElement('div');
    div.className = i === shown ? 'function shown' : 'function';
    div.style.top = row * ROW + 'px';
    div.dataset.i = i;
    div.title = name;
    for (const text of [name, size]) div.append(Object.assign(document.createElement('span'), { textContent: text }));
    rows.push(div);
  }
  $('space').replaceChildren(...rows);
}

async function show(i, keepPlace) {
  shown = i;
  kept = null;
  list();
  const [name, number, start] = index.functions[i];
  $('current').textContent = number < 0 ? name : `${name} (function ${number})`;
  const [wasm, machine] = await listing(i);
  if (shown !== i) return;
  let place = 0;
  fill('wasm', wasm, line => {
    const [distance, text] = line.split('\t');
    place += parseInt(distance, 16);
    return { offset: place, wasm: place, text };
  }, 'A trampoline stems from no function of the module.');
  const linked = new Set();
  let end = start, from = null;
  fill('machine', machine, line => {
    const [size, changed, text, bytes] = line.split('\t');
    if (changed) from = changed === '-' ? null : parseInt(changed, 16);
    linked.add(String(from));
    const offset = end;
    end += parseInt(size, 16);
    return { offset, wasm: from, text, bytes };
  }, '');
  // Lines that became no code have no colour.
  for (const line of $('wasm').querySelectorAll('.l[data-w]')) {
    if (!linked.has(line.dataset.w)) delete line.dataset.w;
  }
  $('wasm').scrollTop = $('machine').scrollTop = 0;
  if (!keepPlace) history.replaceState(null, '', '#' + i);
}

function fill(id, text, parse, otherwise) {
  const lines = text.split('\n').filter(line => line);
  const blocks = [];
  for (let at = 0; at < lines.length; at += BLOCK) {
    const block = document.createElement('div');
    block.className = 'block';
    const some = lines.slice(at, at + BLOCK);
    block.style.containIntrinsicHeight = `auto ${some.length * 18}px`;
    for (const line of some) block.append(row(parse(line)));
    blocks.push(block);
  }
  if (!lines.length && otherwise) {
    blocks.push(Object.assign(document.createElement('div'), { className: 'none', textContent: otherwise }));
  }
  $(id).querySelector('.lines').replaceChildren(...blocks);
}

function row({ offset, wasm, bytes, text }) {
  const div = document.createElement('div');
  div.className = 'l';
  if (wasm !== null) {
    div.dataset.w = wasm;
    // Neighbours get colours that are easy to tell apart.
    div.style.setProperty('--h', (wasm * 137.508) % 360);
  }
  div.append(Object.assign(document.createElement('i'), { textContent: '0x' + offset.toString(16) }));
  if (bytes) div.append(Object.assign(document.createElement('u'), { textContent: bytes }));
  const comment = text.indexOf('  ;');
  const code = comment < 0 ? text : text.slice(0, comment);
  div.append(Object.assign(document.createElement('span'), { textContent: code }));
  if (comment >= 0) div.append(Object.assign(document.createElement('em'), { textContent: text.slice(comment) }));
  return div;
}

// Links between lines.

function mark(offset, name) {
  for (const line of document.querySelectorAll('.l.' + name)) line.classList.remove(name);
  if (offset == null) return [];
  const lines = [...document.querySelectorAll(`.l[data-w="${offset}"]`)];
  for (const line of lines) line.classList.add(name);
  return lines;
}

for (const id of ['wasm', 'machine']) {
  const other = $(id === 'wasm' ? 'machine' : 'wasm');
  $(id).addEventListener('mouseover', event => mark(event.target.closest('.l')?.dataset.w, 'at'));
  $(id).addEventListener('mouseleave', () => mark(null, 'at'));
  $(id).addEventListener('click', event => {
    if (String(getSelection())) return;
    const offset = event.target.closest('.l')?.dataset.w ?? null;
    kept = offset === kept ? null : offset;
    const counterpart = mark(kept, 'kept').find(line => other.contains(line));
    if (counterpart) other.scrollTop += counterpart.getBoundingClientRect().top - innerHeight / 2;
  });
}

function step(by) {
  const row = Math.max(0, Math.min(order.length - 1, order.indexOf(shown) + by));
  if (!order.length) return;
  const box = $('list');
  if (row * ROW < box.scrollTop) box.scrollTop = row * ROW;
  if ((row + 1) * ROW > box.scrollTop + box.clientHeight) box.scrollTop = (row + 1) * ROW - box.clientHeight;
  show(order[row]);
}

addEventListener('keydown', event => {
  if (event.key === 'Escape') { kept = null; mark(null, 'kept'); }
  const inList = [$('list'), $('search'), document.body].includes(document.activeElement);
  if (inList && event.key === 'ArrowDown') { step(1); event.preventDefault(); }
  if (inList && event.key === 'ArrowUp') { step(-1); event.preventDefault(); }
});
$('search').addEventListener('input', () => { $('list').scrollTop = 0; sort(); });
$('order').addEventListener('change', () => { $('list').scrollTop = 0; sort(); });
$('list').addEventListener('scroll', list);
addEventListener('resize', list);
$('list').addEventListener('click', event => {
  const row = event.target.closest('.function');
  if (row) show(Number(row.dataset.i));
});

unpack('index').then(unpacked => {
  index = unpacked;
  $('target').textContent = index.target;
  document.body.classList.toggle('bytes', index.bytes);
  sort();
  const asked = parseInt(location.hash.slice(1), 10);
  if (asked in index.functions) show(asked, true);
  else if (order.length) show(order[0], true);
  document.body.dataset.ready = 'yes';
});
