// The bar that shows the selection: search, filters, reset and CSV download.

class Filters {
  constructor(host, page) {
    Object.assign(this, { host, page, records: page.records, selection: page.selection });
    this.inputs = new Map();
    this.lists = new Map();
    this.build();
    this.selection.follow(() => this.update());
    this.update();
  }

  build() {
    const { records, selection } = this;
    this.find = html("input", { type: "search", placeholder: "Find a trial, value or error", "aria-label": "Find trials",
      oninput: (event) => selection.change((one) => (one.text = event.target.value)) });
    this.count = html("output", { "aria-live": "polite" });
    this.reset = html("button", { type: "button", onclick: () => selection.change((one) => one.clear()) }, "Select all");
    const csv = html("button", { type: "button", onclick: () => this.saveCsv() }, "CSV");
    csv.setAttribute("aria-label", "Save the selected trials as CSV");
    this.panel = html("details", { class: "filters", id: `${this.page.anchor}-filters` }, html("summary", {}, "Filters"), html("div", { class: "panel" }, this.statusBox(), this.topBox(), ...this.rangeBoxes()));
    this.host.replaceChildren(html("div", { class: "chooser", role: "search", "aria-label": `Selection of ${records.name}` },
      this.find, this.panel, this.count, this.reset, csv));
    this.panel.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.panel.open = false;
      this.panel.querySelector("summary").focus();
    });
    document.addEventListener("pointerdown", (event) => {
      if (!this.panel.contains(event.target)) this.panel.open = false;
    });
    this.host.hidden = false;
  }

  statusBox() {
    const found = [...new Set(this.records.statuses)].sort();
    this.statusInputs = found.map((status) => html("input", { type: "checkbox", value: status, onchange: () => this.readStatuses() }));
    return html("fieldset", {}, html("legend", {}, "Status"),
      ...found.map((status, i) => html("label", {}, this.statusInputs[i], ` ${status}`)));
  }

  readStatuses() {
    const ticked = this.statusInputs.filter((input) => input.checked).map((input) => input.value);
    this.selection.change((one) => (one.statuses = ticked.length === this.statusInputs.length ? null : new Set(ticked)));
  }

  topBox() {
    this.topInput = html("input", { type: "number", min: 1, step: 1, placeholder: "all", oninput: (event) => {
      const top = Number(event.target.value);
      this.selection.change((one) => (one.top = Number.isInteger(top) && top > 0 ? top : null));
    } });
    return html("fieldset", {}, html("legend", {}, "Only the best"), html("label", {}, this.topInput, " trials"));
  }

  rangeBoxes() {
    const { records } = this;
    const wanted = [...new Set([records.goal.key, "loss"]), "reconstruction", "kl", ...records.differing.map((column) => column.key), "epochs", "parameters", "total_s"];
    return wanted.map((key) => records.columns.get(key)).filter((column) => column.differs).map((column) => {
      if (column.labels.length) return this.labelBox(column);
      const [low, high] = rangeOf(column.values);
      const ends = [["at least", low], ["at most", high]].map(([name, end]) =>
        html("input", { type: "number", step: "any", placeholder: short(end).replace("−", "-"), "aria-label": `${column.title} ${name}`, onchange: () => this.readRange(column.key) }));
      this.inputs.set(column.key, ends);
      return html("fieldset", {}, html("legend", {}, titled(column)), ends[0], " to ", ends[1]);
    });
  }

  labelBox(column) {
    const options = [["", "any"], ...column.labels.map((label, value) => [value, label])];
    const list = html("select", { "aria-label": column.title, onchange: ({ target }) =>
      this.selection.setRange(column.key, target.value === "" ? null : [Number(target.value), Number(target.value)]) },
      ...options.map(([value, text]) => html("option", { value }, text)));
    this.lists.set(column.key, list);
    return html("fieldset", {}, html("legend", {}, titled(column)), list);
  }

  readRange(key) {
    const [low, high] = this.inputs.get(key).map((input) => (input.value === "" ? null : Number(input.value)));
    this.selection.setRange(key, low === null && high === null ? null : [low ?? -Infinity, high ?? Infinity]);
  }

  update() {
    const { selection, records } = this;
    const all = selection.isEverything;
    this.count.value = all ? counted(records.count, "trial") : `${selection.size} of ${counted(records.count, "trial")}`;
    this.reset.disabled = all;
    this.host.classList.toggle("everything", all);
    if (document.activeElement !== this.find) this.find.value = selection.text;
    if (document.activeElement !== this.topInput) this.topInput.value = selection.top ?? "";
    for (const input of this.statusInputs) input.checked = selection.statuses === null || selection.statuses.has(input.value);
    for (const [key, inputs] of this.inputs) {
      const range = selection.ranges.get(key);
      inputs.forEach((input, i) => (input.value = range && Number.isFinite(range[i]) ? range[i] : ""));
    }
    for (const [key, list] of this.lists) {
      const range = selection.ranges.get(key);
      list.value = range && range[0] === range[1] ? range[0] : "";
    }
    const active = selection.ranges.size + (selection.statuses !== null) + (selection.top !== null);
    this.panel.querySelector("summary").textContent = active ? `Filters (${active})` : "Filters";
  }

  saveCsv() {
    save(`${fileName(this.records.name, "trials")}.csv`, "text/csv;charset=utf-8", selectedCsv(this.records, this.selection));
  }
}
