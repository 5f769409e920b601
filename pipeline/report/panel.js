// Second part of the report's script (see page.js): the panel of one node, and the tables.

// ---- one node ----

const tableOf = (name, heads, rows, look = '') => {
  const head = make('tr', {}, ...heads.map((each) => make('th', { scope: 'col' }, each)));
  const body = rows.map((row) => make('tr', {}, ...row.map((cell) => make('td', {}, cell))));
  const made = make('table', { class: look }, make('thead', {}, head), make('tbody', {}, ...body));
  return make('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': name }, made);
};
const isBad = (kind, what, detail) => {
  if (kind === 'state') return isTrouble(what);
  if (kind === 'work') return detail.includes('exit code') || detail.includes('failed');
  if (kind === 'task') return detail.startsWith('failed');
  return ['error', 'pool error'].includes(kind) || (kind === 'start task' && what === 'failed');
};
const storyRow = (row) => {
  const [kind, what, detail] = row.slice(0, 3).map(text);
  const [beganAfter, began, endedAfter, endedBefore] = row.slice(4);
  let lasted = '';
  if (!['life', 'boot', 'config'].includes(kind)) {
    const least = endedAfter === null ? '0s' : length(endedAfter - began);
    const most = endedBefore === null ? null : length(endedBefore - (beganAfter ?? began));
    lasted = most === null ? `>${least}` : least === most ? least : `${least}-${most}`;
  }
  const mark = isBad(kind, what, detail) ? '!' : kind === 'gap' ? '?' : '';
  const when = `${beganAfter === null ? '' : '~'}${moment(began)}`;
  return [mark, when, lasted, kind, detail ? `${what}: ${detail}` : what];
};
const storyOf = (node) => {
  if (node.full) return [make('p', {}, 'This page is full: the command above has its story.')];
  if (!node.s) return [make('p', {}, 'This page has no story of it: ask with the command above.')];
  const heads = ['', 'When, UTC', 'For', 'Kind', 'What'];
  const help =
    '! trouble; ? not watched; ~ it began after the listing before and by this time; ' +
    '4m-9m: between these; >2h: not seen to end';
  return [tableOf('Story', heads, node.s.map(storyRow), 'story'), make('p', { class: 'note' }, help)];
};
const copied = (words) => {
  const code = make('code', {}, words);
  const button = make('button', { type: 'button' }, 'Copy');
  button.addEventListener('click', async () => {
    getSelection().selectAllChildren(code);
    try {
      await navigator.clipboard.writeText(words);
    } catch {
      document.execCommand('copy'); // a browser that keeps its clipboard from pages on disk
    }
    button.textContent = 'Copied';
    setTimeout(() => (button.textContent = 'Copy'), 1500);
  });
  return make('p', { class: 'command' }, code, ' ', button);
};
const panel = byId('panel');
const fill = (node) => {
  const close = make('button', { type: 'button', class: 'close' }, 'Close');
  close.addEventListener('click', () => open(null));
  const facts = [
    ['Pool', node.pool.n],
    ['Machine', [node.k, text(node.z)].filter(Boolean).join(', ')],
    ['Listed', `${short(node.a)} to ${short(node.b)} UTC`],
    ['Last state', node.l || 'not known'],
    ['Hours', describe(node).split(', ').slice(3).join(', ') || '0 h'],
  ];
  const command = ['nodelake', 'node', node.pool.i, node.i, '--lake', data.lake].map(shell);
  if (data.account) command.push('--account', shell(node.pool.a));
  const list = make('dl', {});
  for (const [name, value] of facts) list.append(make('dt', {}, name), make('dd', {}, value));
  const link = make('a', { href: anchorOf(node) }, 'Link to this node');
  panel.replaceChildren(
    make('h3', { id: 'panel-title' }, node.i),
    close,
    list,
    copied(command.join(' ')),
    make('p', {}, link),
    make('h4', {}, 'Story'),
    ...storyOf(node),
  );
  if (node.t) {
    const heads = ['Began, UTC', 'For', 'Result', 'Exit code', 'Failure', 'Message'];
    const rows = node.t.map(([began, ended, result, exit, code, message]) => [
      moment(began),
      ended === null ? 'not seen to end' : length(ended - began),
      text(result),
      exit ?? '',
      text(code),
      text(message),
    ]);
    panel.append(make('h4', {}, 'Start tasks'), tableOf('Start tasks', heads, rows));
  }
  if (node.r) {
    const heads = ['Code', 'Message', 'First seen, UTC', 'Last seen, UTC'];
    const rows = node.r.map(([code, message, first, last]) => [
      text(code),
      text(message),
      moment(first),
      moment(last),
    ]);
    panel.append(make('h4', {}, 'Errors'), tableOf('Errors', heads, rows));
  }
  if (node.o) panel.append(make('h4', {}, 'What its start tasks wrote'));
  for (const [began, exit, file, output, isCut, error] of node.o || []) {
    const of = `${text(file)} of ${moment(began)}, exit code ${exit ?? 'not known'}`;
    const why = error === null ? '' : `: could not be read, ${text(error)}`;
    panel.append(make('p', { class: 'note' }, `${of}${isCut ? ', its end' : ''}${why}`));
    if (text(output)) {
      const wrote = make('pre', { tabindex: 0, role: 'region', 'aria-label': of }, text(output));
      panel.append(wrote);
      wrote.scrollTop = wrote.scrollHeight; // why it failed stands at the end
    }
  }
};

// ---- tables: sorted by a click on a heading; ids lead to their node ----

const byName = new Map(data.nodes.map((node) => [node.i, node]));
const collator = new Intl.Collator('en', { numeric: true });
const valueOf = (row, place, isNumber) => {
  const words = row.cells[place].textContent;
  return isNumber ? parseFloat(words.replaceAll(',', '')) : words;
};
const sortBy = (table, place, head) => {
  const isDown = head.getAttribute('aria-sort') === 'ascending';
  for (const each of table.tHead.rows[0].cells) each.removeAttribute('aria-sort');
  head.setAttribute('aria-sort', isDown ? 'descending' : 'ascending');
  const isNumber = head.classList.contains('n');
  const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row, place, isNumber), row]);
  rows.sort(([a], [b]) => {
    if (isNumber && (isNaN(a) || isNaN(b))) return isNaN(a) - isNaN(b); // none at the end
    return (isNumber ? a - b : collator.compare(a, b)) * (isDown ? -1 : 1);
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
};
// Makes every table sortable; of the table of every node, keeps which row is which node's.
const wireTables = (tableRows) => {
  for (const table of document.querySelectorAll('details table')) {
    for (const [place, head] of [...table.tHead.rows[0].cells].entries()) {
      const name = head.textContent;
      const button = make('button', { type: 'button' }, name);
      button.addEventListener('click', () => sortBy(table, place, head));
      head.replaceChildren(button);
      if (name !== 'node id') continue;
      for (const row of table.tBodies[0].rows) {
        const node = byName.get(row.cells[place].textContent);
        if (node) row.cells[place].replaceChildren(make('a', { href: anchorOf(node) }, node.i));
      }
    }
  }
  for (const [place, row] of [...byId('every-node').querySelectorAll('tbody tr')].entries()) {
    row.removeAttribute('id'); // its panel is where a link to it leads now
    tableRows.set(data.nodes[place], row);
  }
};
