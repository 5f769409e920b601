// The report's script: every node over the whole range, to search, filter, zoom and open.
//
// The page is whole without it. page.py puts words.js, panel.js and this file, in this order, into one
// function. They read the JSON in #data, which explorer.py wrote, and show texts of the service as
// text nodes only: nothing here makes markup from a string.

// ---- which nodes are shown, and which time ----

const ROW = 15;
const shown = { nodes: data.nodes, from: 0, to: data.seconds, active: -1, open: null };
const list = byId('lines');
const picture = byId('picture');
const sizer = byId('sizer');
const controls = { search: byId('search'), pool: byId('pool'), state: byId('state') };
Object.assign(controls, { kind: byId('kind'), order: byId('order') });
const orders = {
  eventful: null, // as they come
  seen: (a, b) => a.a - b.a,
  last: (a, b) => b.b - a.b,
  broken: (a, b) => b.h[3] - a.h[3],
  idle: (a, b) => b.h[1] - a.h[1],
  pool: (a, b) => a.pool.n.localeCompare(b.pool.n) || a.i.localeCompare(b.i),
};
for (const [place, pool] of data.pools.entries()) {
  controls.pool.append(make('option', { value: place }, pool.n));
}
const letters = new Set(data.nodes.flatMap((node) => [...node.c.replace(/[\d_]/g, '')]));
for (const [letter, look] of looks) {
  if (letters.has(letter)) controls.state.append(make('option', { value: letter }, look.n));
}

const tableRows = new Map(); // of the table of every node, by node
const filter = () => {
  const words = controls.search.value.trim().toLowerCase();
  const { pool, state, kind, order } = controls;
  shown.nodes = data.nodes.filter(
    (node) =>
      (!words || node.words.includes(words)) &&
      (pool.value === '' || node.p === Number(pool.value)) &&
      (state.value === '' || node.c.includes(state.value)) &&
      (kind.value === '' || node.k === kind.value),
  );
  if (orders[order.value]) shown.nodes.sort(orders[order.value]);
  shown.active = shown.nodes.indexOf(shown.open);
  byId('count').textContent =
    `${shown.nodes.length.toLocaleString('en')} of ${data.nodes.length.toLocaleString('en')} nodes`;
  const kept = new Set(shown.nodes);
  for (const [node, row] of tableRows) row.hidden = !kept.has(node);
  list.scrollTop = 0;
  draw();
};
const zoom = (from, to) => {
  const least = Math.min(data.seconds, Math.max(4 * data.step, 60));
  const wide = Math.min(Math.max(to - from, least), data.seconds);
  const middle = (from + to) / 2;
  shown.from = Math.min(Math.max(middle - wide / 2, 0), data.seconds - wide);
  shown.to = shown.from + wide;
  byId('shown').textContent = `${short(shown.from)} to ${short(shown.to)} UTC`;
  byId('whole').disabled = wide === data.seconds;
  draw();
};
const zoomBy = (factor) => {
  const middle = (shown.from + shown.to) / 2;
  const half = ((shown.to - shown.from) / 2) * factor;
  zoom(middle - half, middle + half);
};
const moveBy = (share) => {
  const step = (shown.to - shown.from) * share;
  const by = Math.min(Math.max(step, -shown.from), data.seconds - shown.to);
  zoom(shown.from + by, shown.to + by);
};

// ---- the picture ----

// Height says what colour says: trouble fills its line, work and idleness most of it.
const HEIGHTS = { trouble: 13, working: 9, idle: 9, unobserved: 9, passing: 5, gone: 3 };
let inks = null;
const readInks = () => {
  const style = getComputedStyle(document.documentElement);
  const ink = (name) => style.getPropertyValue(`--${name}`).trim();
  inks = { muted: ink('muted'), line: ink('line'), chosen: ink('chosen') };
  for (const [letter, look] of looks) inks[letter] = ink(look.l === '?' ? 'other' : look.n);
  const hatch = make('canvas', { width: 6, height: 6 });
  const brush = hatch.getContext('2d');
  brush.fillStyle = ink('hatch-ground');
  brush.fillRect(0, 0, 6, 6);
  brush.strokeStyle = ink('hatch-line');
  for (const by of [-6, 0, 6]) {
    brush.moveTo(by - 1, 7);
    brush.lineTo(by + 7, -1);
  }
  brush.stroke();
  inks['-'] = picture.getContext('2d').createPattern(hatch, 'repeat');
};
const sized = (canvas, width, height) => {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const brush = canvas.getContext('2d');
  brush.scale(ratio, ratio);
  return brush;
};
const STEPS = [60, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600];
const drawAxis = (left, width) => {
  const brush = sized(byId('axis'), left + width, 20);
  const most = Math.max(Math.floor(width / 60), 2);
  const step = STEPS.find((each) => (shown.to - shown.from) / each <= most) || 2419200;
  brush.font = getComputedStyle(document.body).font.replace(/[\d.]+px(\/[\d.a-z]+)?/, '11px');
  brush.fillStyle = inks.muted;
  const first = Math.ceil((data.start + shown.from) / step) * step - data.start;
  const ticks = [];
  for (let at = first; at <= shown.to; at += step) {
    const x = left + ((at - shown.from) / (shown.to - shown.from)) * width;
    const when = dateOf(at);
    const words = clock(when) === '00:00' ? day(when).slice(5) : clock(when);
    if (x + 34 < left + width) brush.fillText(words, x + 3, 13);
    brush.fillRect(x, 6, 1, 14);
    ticks.push(x - left);
  }
  return ticks;
};
let pending = false;
const draw = () => {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    drawNow();
  });
};
const drawNow = () => {
  if (!inks) readInks();
  const left = list.clientWidth < 520 ? 84 : 158;
  const width = list.clientWidth - left;
  sizer.style.height = `${Math.max(shown.nodes.length * ROW, 40)}px`;
  const height = Math.min(list.clientHeight, shown.nodes.length * ROW || 40);
  const ticks = drawAxis(left, width);
  const brush = sized(picture, width, height);
  picture.style.marginLeft = `${left}px`;
  brush.fillStyle = inks.line;
  for (const x of ticks) brush.fillRect(x, 0, 1, height);
  const scale = width / (shown.to - shown.from);
  const first = Math.floor(list.scrollTop / ROW);
  const last = Math.min(Math.ceil((list.scrollTop + height) / ROW), shown.nodes.length);
  for (let place = first; place < last; place += 1) {
    const node = shown.nodes[place];
    const top = place * ROW - list.scrollTop;
    if (node === shown.open) {
      brush.fillStyle = inks.chosen;
      brush.fillRect(0, top, width, ROW);
    }
    for (const [letter, begin, end] of runsOf(node)) {
      const from = Math.max((begin * data.step - shown.from) * scale, 0);
      const to = Math.min((end * data.step - shown.from) * scale, width);
      if (to <= from) continue;
      const high = HEIGHTS[looks.get(letter).g];
      brush.fillStyle = inks[letter];
      brush.fillRect(from, top + (ROW - high) / 2, Math.max(to - from, 0.75), high);
    }
  }
  label(first, last, left);
};
// Only the lines in sight have an element: a screen reader learns their number from aria-setsize.
const label = (first, last, left) => {
  for (const option of [...sizer.querySelectorAll('[role=option]')]) option.remove();
  const wanted = new Set([...Array(Math.max(last - first, 0)).keys()].map((by) => first + by));
  if (shown.active >= 0) wanted.add(shown.active);
  for (const place of wanted) {
    const node = shown.nodes[place];
    const name = node.i.replace(/^(tvmps_|tvm-)/, '');
    const option = make('div', { role: 'option', id: `line-${place}` }, name);
    option.setAttribute('aria-label', describe(node));
    option.setAttribute('aria-setsize', shown.nodes.length);
    option.setAttribute('aria-posinset', place + 1);
    option.setAttribute('aria-selected', node === shown.open);
    option.style.top = `${place * ROW}px`;
    option.style.width = `${left - 6}px`;
    if (place === shown.active) option.className = 'active';
    sizer.append(option);
  }
  if (shown.active >= 0) list.setAttribute('aria-activedescendant', `line-${shown.active}`);
  else list.removeAttribute('aria-activedescendant');
};
const describe = (node) => {
  const hours = data.groups.map((group, place) => [node.h[place], group.replace('_', ' ')]);
  const parts = hours.filter(([many]) => many >= 0.05).map(([many, of]) => `${number(many)} h ${of}`);
  return [`${node.i}, pool ${node.pool.n}`, `last ${node.l || 'not known'}`, ...parts].join(', ');
};

// ---- which node is open ----

// Opens a node's panel, or closes it (null); the address always names the node that is open.
const open = (node, { focus = false, scroll = false } = {}) => {
  shown.open = node;
  panel.hidden = !node;
  byId('look').classList.toggle('opened', Boolean(node));
  if (node) {
    if (!shown.nodes.includes(node)) {
      byId('filters').reset();
      filter();
    }
    shown.active = shown.nodes.indexOf(node);
    fill(node);
    reveal(shown.active);
  }
  history.replaceState(null, '', node ? anchorOf(node) : '#look');
  drawNow();
  const isBelow = node && panel.getBoundingClientRect().top > 0.7 * window.innerHeight;
  if (scroll || isBelow) byId('bar').scrollIntoView();
  if (focus) panel.focus({ preventScroll: true });
  else if (!node) list.focus();
};
const reveal = (place) => {
  const top = place * ROW;
  if (top < list.scrollTop) list.scrollTop = top;
  if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
};
const fromAddress = () => {
  const [, what, name] = location.hash.match(/^#(node|pool)=(.*)/) || [];
  let wanted = name;
  try {
    wanted = decodeURIComponent(name);
  } catch {
    return; // no address that this page made
  }
  if (what === 'node') openNamed(wanted);
  if (what === 'pool') showPool(wanted);
};
// Shows the nodes of one pool, by its name.
const showPool = (name) => {
  const place = data.pools.findIndex((pool) => pool.n === name);
  if (place < 0) return;
  controls.pool.value = place;
  filter();
  byId('look').scrollIntoView();
  controls.pool.focus({ preventScroll: true });
};
const openNamed = (wanted) => {
  const few = data.nodes.filter((node) => node.i.toLowerCase().includes(wanted.toLowerCase()));
  const node =
    data.nodes.find((each) => [nameOf(each), each.i, `${each.pool.n}/${each.i}`].includes(wanted)) ||
    (few.length === 1 ? few[0] : null);
  if (node && node !== shown.open) open(node, { scroll: true, focus: true });
};

// ---- hands ----

const activate = (place) => {
  if (!shown.nodes.length) return;
  open(shown.nodes[Math.min(Math.max(place, 0), shown.nodes.length - 1)]);
};
list.addEventListener('keydown', (event) => {
  const page = Math.max(Math.floor(list.clientHeight / ROW) - 1, 1);
  const now = shown.active;
  const keys = {
    ArrowDown: () => activate(now + 1),
    ArrowUp: () => activate(now - 1),
    PageDown: () => activate(now + page),
    PageUp: () => activate(now - page),
    Home: () => activate(0),
    End: () => activate(shown.nodes.length - 1),
    Enter: () => now >= 0 && open(shown.nodes[now], { focus: true }),
    ' ': () => now >= 0 && open(shown.nodes[now], { focus: true }),
    ArrowLeft: () => moveBy(-0.25),
    ArrowRight: () => moveBy(0.25),
    '+': () => zoomBy(0.5),
    '-': () => zoomBy(2),
    Escape: () => zoom(0, data.seconds),
  };
  if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  keys[event.key]();
});
panel.addEventListener('keydown', (event) => event.key === 'Escape' && open(null));

const placeAt = (event) => {
  const box = sizer.getBoundingClientRect();
  return Math.floor((event.clientY - box.top) / ROW);
};
const secondsAt = (event) => {
  const box = picture.getBoundingClientRect();
  const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
  return shown.from + share * (shown.to - shown.from);
};
const drag = byId('drag');
let held = null;
sizer.addEventListener('pointerdown', (event) => {
  if (event.button !== 0) return;
  held = { x: event.clientX, seconds: secondsAt(event), isPicture: event.target === picture };
  if (held.isPicture) sizer.setPointerCapture(event.pointerId);
});
sizer.addEventListener('pointermove', (event) => {
  point(event);
  const isDragged = held && held.isPicture && Math.abs(event.clientX - held.x) > 5;
  drag.hidden = !isDragged;
  if (!isDragged) return;
  const box = list.getBoundingClientRect();
  drag.style.left = `${Math.min(event.clientX, held.x) - box.left}px`;
  drag.style.width = `${Math.abs(event.clientX - held.x)}px`;
});
sizer.addEventListener('pointerup', (event) => {
  if (!held) return;
  const { x, seconds, isPicture } = held;
  held = null;
  drag.hidden = true;
  if (isPicture && Math.abs(event.clientX - x) > 5) {
    const until = secondsAt(event);
    zoom(Math.min(seconds, until), Math.max(seconds, until));
  } else if (placeAt(event) < shown.nodes.length) {
    activate(placeAt(event));
  }
});
sizer.addEventListener('pointercancel', () => {
  held = null;
  drag.hidden = true;
});
// What the pointer is on, in words, below the picture.
const point = (event) => {
  const node = shown.nodes[placeAt(event)];
  if (!node) return;
  const bin = Math.floor(secondsAt(event) / data.step);
  const run = runsOf(node).find(([, begin, end]) => begin <= bin && bin < end);
  const state = run
    ? `${looks.get(run[0]).n}, ${short(run[1] * data.step)} to ${short(run[2] * data.step)} UTC`
    : 'not in the pool';
  byId('at').textContent = `${node.i}, ${node.pool.n}: ${state}`;
};

for (const control of Object.values(controls)) control.addEventListener('input', filter);
byId('filters').addEventListener('submit', (event) => event.preventDefault());
byId('filters').addEventListener('reset', () => setTimeout(filter));
byId('nearer').addEventListener('click', () => zoomBy(0.5));
byId('farther').addEventListener('click', () => zoomBy(2));
byId('earlier').addEventListener('click', () => moveBy(-0.5));
byId('later').addEventListener('click', () => moveBy(0.5));
byId('whole').addEventListener('click', () => zoom(0, data.seconds));
list.addEventListener('scroll', draw);
window.addEventListener('hashchange', fromAddress);
new ResizeObserver(draw).observe(list);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  inks = null;
  draw();
});

// ---- the start ----

wireTables(tableRows);
for (const caption of document.querySelectorAll('#pools figcaption')) {
  const pool = data.pools.find((each) => each.n === caption.firstChild.textContent.trim());
  if (!pool) continue;
  const link = make('a', { href: `#pool=${encodeURIComponent(pool.n)}` }, pool.n);
  caption.replaceChild(link, caption.firstChild);
  link.after(' ');
}
document.documentElement.classList.add('scripted');
byId('look').hidden = false;
filter();
zoom(0, data.seconds);
drawNow();
fromAddress();
document.documentElement.dataset.ready = Math.round(performance.now());
