'use strict';
// Sorts by any column, filters by any text, and compares the chosen rows with the first of them.
const body = document.querySelector('tbody');
const rows = () => [...body.rows];
const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;

function sort(button) {
  const column = button.closest('th').cellIndex;
  const up = button.closest('th').getAttribute('aria-sort') !== 'ascending';
  document.querySelectorAll('th').forEach(one => one.removeAttribute('aria-sort'));
  button.closest('th').setAttribute('aria-sort', up ? 'ascending' : 'descending');
  const known = rows().filter(row => value(row, column) !== '');
  const unknown = rows().filter(row => value(row, column) === '');
  const by = (a, b) => value(a, column).localeCompare(value(b, column), 'en', { numeric: true });
  const number = (a, b) => Number(value(a, column)) - Number(value(b, column));
  const numeric = known.every(row => !Number.isNaN(Number(value(row, column))));
  known.sort(numeric ? number : by);
  if (!up) known.reverse();
  body.append(...known, ...unknown);
  show();
}

function show() {
  const words = document.getElementById('filter').value.toLowerCase().split(/\s+/);
  const chosen = rows().filter(row => row.querySelector('input').checked);
  const only = document.getElementById('only').checked && chosen.length > 0;
  for (const row of rows()) {
    const text = row.textContent.toLowerCase();
    row.hidden = only ? !chosen.includes(row) : !words.every(word => text.includes(word));
    for (const cell of row.querySelectorAll('td[data-value]')) {
      const first = only ? Number(chosen[0].cells[cell.cellIndex].dataset.value) : 0;
      const ratio = first && cell.dataset.value !== '' ? Number(cell.dataset.value) / first : 0;
      cell.querySelector('small').textContent = ratio && row !== chosen[0] ? `${ratio.toPrecision(3)} x` : '';
    }
  }
}

document.querySelectorAll('th button').forEach(one => one.addEventListener('click', () => sort(one)));
document.getElementById('filter').addEventListener('input', show);
document.getElementById('only').addEventListener('change', show);
body.addEventListener('change', show);
