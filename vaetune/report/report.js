"use strict";

// A table's rows are sorted by the column whose header is pressed, first upwards, then downwards.
// Cells without a value stay last. Without JavaScript the table is in the order of the ranks.
function makeSortable(table) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sortBy(table, headers, column));
    header.append(button);
  });
}

function sortBy(table, headers, column) {
  const upwards = headers[column].getAttribute("aria-sort") !== "ascending";
  for (const header of headers) header.removeAttribute("aria-sort");
  headers[column].setAttribute("aria-sort", upwards ? "ascending" : "descending");
  const numeric = headers[column].dataset.kind === "number";
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, key: keyOf(row.cells[column], numeric) }));
  rows.sort((a, b) => compare(a.key, b.key, upwards));
  body.append(...rows.map(({ row }) => row));
}

function keyOf(cell, numeric) {
  if (!numeric) return cell.textContent.trim();
  return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
}

function compare(a, b, upwards) {
  if (a === null || b === null) return (a === null) - (b === null);
  const order = typeof a === "number" ? a - b : a.localeCompare(b);
  return upwards ? order : -order;
}

// Paper opens no <details>: they are open while the page is printed.
function openForPrint() {
  const closed = [...document.querySelectorAll("details:not([open])")];
  for (const details of closed) details.open = true;
  window.addEventListener("afterprint", () => closed.forEach((d) => (d.open = false)), { once: true });
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
window.addEventListener("beforeprint", openForPrint);
