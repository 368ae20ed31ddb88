// The table of all trials. A click on the header of a column sorts by it, ascending at first and then
// descending; cells without a value come last. The table shows the selected trials.
// Without JavaScript it shows all trials by rank.

const PAGE = 100; // number of rows shown at first

class TrialsTable {
  constructor(table, page) {
    Object.assign(this, { table, page, records: page.records, selection: page.selection, most: PAGE });
    this.headers = [...table.tHead.rows[0].cells];
    this.body = table.tBodies[0];
    this.rows = [...this.body.rows].map((row) => ({ row, index: this.records.index.get(row.dataset.trial) }));
    this.headers.forEach((header, column) => this.makeSortable(header, column));
    this.tools();
    this.body.addEventListener("click", (event) => this.click(event));
    this.selection.follow(() => this.wake());
    window.addEventListener("beforeprint", () => this.showAll());
    window.addEventListener("afterprint", () => this.showPage());
    this.update();
  }

  makeSortable(header, column) {
    const button = html("button", { type: "button", onclick: () => this.sortBy(column) });
    button.append(...header.childNodes);
    header.append(button);
  }

  tools() {
    this.more = html("button", { type: "button", onclick: () => this.showAll() });
    this.differing = html("input", { type: "checkbox", onchange: (event) => this.selection.setView("columns", event.target.checked ? "differing" : null) });
    const bar = html("p", { class: "topline" }, html("label", {}, this.differing, " Only columns that differ"));
    const scroll = this.table.closest(".scroll") ?? this.table;
    scroll.before(bar);
    scroll.after(html("p", { class: "topline" }, this.more));
  }

  // True if all trials have the same value in a column. This is slow for a thousand trials.
  isConstant(column) {
    return column > 1 && new Set(this.rows.map(({ row }) => row.cells[column].textContent)).size <= 1;
  }

  sortBy(column) {
    const upwards = this.headers[column].getAttribute("aria-sort") !== "ascending";
    const isUsual = upwards && column === 0;
    this.selection.setView("sort", isUsual ? null : `${upwards ? "" : "-"}${column}`);
    this.update(); // even if the table is not visible
  }

  wake() {
    if (this.page.isInSight(this)) this.update();
    else this.isStale = true;
  }

  update() {
    this.isStale = false;
    this.sort();
    this.hideConstantColumns();
    const open = this.selection.trial;
    const seen = this.rows.filter(({ index }) => this.selection.has(index));
    const shown = seen.slice(0, this.most);
    for (const one of shown) this.addButton(one);
    this.body.replaceChildren(...shown.map(({ row }) => row));
    for (const { row, index } of shown) row.classList.toggle("opened", this.records.trials[index] === open);
    this.more.hidden = shown.length === seen.length;
    this.more.textContent = `Show all ${counted(seen.length, "selected trial")}`;
  }

  // Turns the id of a trial into a button when its row is shown.
  addButton({ row, index }) {
    const cell = row.cells[1];
    if (cell.firstElementChild) return;
    const id = this.records.trials[index];
    cell.replaceChildren(html("button", { type: "button", class: "link", "aria-label": `Open trial ${id}` }, id));
  }

  sort() {
    const order = this.selection.views.get("sort") ?? "0";
    if (order === this.sorted) return;
    const column = Math.abs(parseInt(order, 10));
    if (!(column < this.headers.length)) return;
    const upwards = !order.startsWith("-");
    const numeric = this.headers[column].dataset.kind === "number";
    for (const header of this.headers) header.removeAttribute("aria-sort");
    this.headers[column].setAttribute("aria-sort", upwards ? "ascending" : "descending");
    const keys = new Map(this.rows.map(({ row }) => [row, keyOf(row.cells[column], numeric)]));
    this.rows.sort((a, b) => compare(keys.get(a.row), keys.get(b.row), upwards));
    this.sorted = order;
  }

  hideConstantColumns() {
    const wanted = this.selection.views.get("columns") === "differing";
    this.differing.checked = wanted;
    if (wanted === (this.hidesConstant ?? false)) return;
    this.hidesConstant = wanted;
    this.constant ??= this.headers.map((_, column) => this.isConstant(column));
    this.constant.forEach((constant, column) => {
      if (!constant) return;
      this.headers[column].hidden = wanted;
      for (const { row } of this.rows) row.cells[column].hidden = wanted;
    });
  }

  showAll() {
    this.most = Infinity;
    this.update();
  }

  showPage() {
    this.most = PAGE;
    this.update();
  }

  click(event) {
    const row = event.target.closest("tr");
    if (row && (event.target.closest("button") || getSelection().isCollapsed)) this.page.open(this.records.index.get(row.dataset.trial), row.querySelector("button.link"));
  }
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
