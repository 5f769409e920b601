// First part of the report's script (see page.js): its data, and how it words times and nodes.

const data = JSON.parse(document.getElementById('data').textContent);
const byId = (id) => document.getElementById(id);
const text = (number) => (number === null ? '' : data.texts[number]);
const make = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

// ---- what is known of nodes ----

const looks = new Map(data.states.map((state) => [state.l, state]));
looks.set('-', { l: '-', n: 'unobserved', g: 'unobserved' });
looks.set('?', { l: '?', n: 'another state', g: 'trouble' });
const isTrouble = (state) => {
  const known = data.states.find((each) => each.n === state);
  return !known || known.g === 'trouble' || state === 'preempted';
};
for (const node of data.nodes) {
  node.pool = data.pools[node.p];
  node.codes = node.e.map(text);
  node.words = [node.i, node.pool.n, ...node.codes].join('\n').toLowerCase();
}
const idCounts = new Map();
for (const node of data.nodes) idCounts.set(node.i, (idCounts.get(node.i) || 0) + 1);
const nameOf = (node) => (idCounts.get(node.i) > 1 ? `${node.pool.n}/${node.i}` : node.i);
const anchorOf = (node) => `#node=${encodeURIComponent(nameOf(node))}`;

// The runs of a node's cells, as [letter, first bin, end]: decoded when it is first drawn.
const runsOf = (node) => {
  if (!node.runs) {
    node.runs = [];
    let bin = 0;
    for (const [, letter, many] of node.c.matchAll(/([^\d])(\d*)/g)) {
      const end = bin + Number(many || 1);
      if (letter !== '_') node.runs.push([letter, bin, end]);
      bin = end;
    }
  }
  return node.runs;
};

// ---- words ----

const pad = (number) => String(number).padStart(2, '0');
const dateOf = (seconds) => new Date((data.start + seconds) * 1000);
const day = (at) => `${at.getUTCFullYear()}-${pad(at.getUTCMonth() + 1)}-${pad(at.getUTCDate())}`;
const clock = (at) => `${pad(at.getUTCHours())}:${pad(at.getUTCMinutes())}`;
// As the terminal has it: 2026-11-21 12:05:33, UTC.
const moment = (seconds) => {
  if (seconds === null) return '';
  const at = dateOf(seconds);
  return `${day(at)} ${clock(at)}:${pad(at.getUTCSeconds())}`;
};
const short = (seconds) => moment(seconds).slice(0, 16);
// A length as `nodelake node` words it: 42s, 9m30s, 3h05m, 12d04h.
const length = (seconds) => {
  seconds = Math.max(0, Math.round(seconds));
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10 && seconds % 60) return `${minutes}m${pad(seconds % 60)}s`;
  if (minutes < 60) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours}h${pad(minutes % 60)}m`;
  return `${Math.floor(hours / 24)}d${pad(hours % 24)}h`;
};
const shell = (word) =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
const number = (value) => value.toLocaleString('en', { maximumFractionDigits: 1 });
