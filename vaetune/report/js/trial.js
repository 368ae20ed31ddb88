// The page of a trial: hyperparameters, losses, curves, images and errors.

class TrialPage {
  constructor(page) {
    Object.assign(this, { page, records: page.records, selection: page.selection });
    const name = newId("trial");
    this.title = html("h3", { id: name, tabindex: -1 });
    this.content = html("div", { class: "content" });
    const step = (by, label, text) => html("button", { type: "button", "aria-label": label, onclick: () => this.step(by) }, text);
    this.steps = [step(-1, "Previous trial by rank", "←"), step(1, "Next trial by rank", "→")];
    this.dialog = html("dialog", { class: "trial", "aria-labelledby": name },
      html("div", { class: "head" }, this.title, html("span", { class: "tools" },
        ...this.steps, html("button", { type: "button", "aria-label": "Close", onclick: () => this.close() }, "×"))),
      this.content);
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.dialog.open && (event.preventDefault(), this.close()));
    this.dialog.addEventListener("cancel", (event) => (event.preventDefault(), this.close()));
    document.body.append(this.dialog);
    this.selection.follow(() => this.update());
    this.update();
  }

  // The trials by rank, followed by those without a rank.
  get order() {
    const ranks = this.records.columns.get("rank").values;
    return [...this.records.all].sort((a, b) => (ranks[a] ?? Infinity) - (ranks[b] ?? Infinity) || a - b);
  }

  step(by) {
    const order = this.order;
    const at = order.indexOf(this.shown) + by;
    if (at >= 0 && at < order.length) this.selection.open(this.records.trials[order[at]]);
  }

  open(index, from) {
    this.from = from;
    this.selection.open(this.records.trials[index]);
    this.title.focus();
  }

  close() {
    this.selection.open(null);
    if (this.from?.isConnected) this.from.focus();
  }

  update() {
    const { trial } = this.selection;
    if (trial === null) {
      this.shown = null;
      if (this.dialog.open) this.dialog.close();
      return;
    }
    const index = this.records.index.get(trial);
    if (this.shown === index && this.dialog.open) return;
    this.shown = index;
    this.fill(index);
    if (this.dialog.open) return;
    // On a narrow screen the dialog covers the page, so the page must not receive the focus.
    if (matchMedia("(min-width: 60rem)").matches) this.dialog.show();
    else this.dialog.showModal();
  }

  fill(index) {
    const { records } = this;
    this.title.textContent = `Trial ${records.trials[index]}`;
    this.content.replaceChildren(...[
      this.summary(index), this.failure(index), this.curves(index), this.lineage(index),
      this.settings(index), this.pictures(index), this.command(index),
    ].filter(Boolean));
    this.content.scrollTop = 0;
    const order = this.order;
    this.steps[0].disabled = order[0] === index;
    this.steps[1].disabled = order.at(-1) === index;
  }

  summary(index) {
    const { records } = this;
    const value = (key) => records.value(key, index);
    const rows = [
      ["Status", records.status(index)],
      ["Rank", value("rank") === null ? NOTHING : `${value("rank")} of ${Math.max(...records.columns.get("rank").values)}`],
      ...(records.rises ? [[records.goal.title, records.goalText(value(records.goal.key))]] : []),
      ["Negative ELBO", nats(value("loss"))],
      ["Reconstruction", nats(value("reconstruction"))],
      ["KL", nats(value("kl"))],
      ...(records.columns.has("active_units") ? [[`${records.columns.get("active_units").title} after the last epoch`, short(value("active_units"))]] : []),
      ...(records.floor === null ? [] : [["Above the entropy floor", value("loss") === null ? NOTHING : nats(value("loss") - records.floor)]]),
      ["Epochs", `${value("epoch_from") + 1}–${value("epochs")}, best ${value("best_epoch") ?? NOTHING}`],
      ["Parameters", value("parameters") === null ? NOTHING : value("parameters").toLocaleString("en")],
      ["Time", duration(value("seconds"))],
      ...(records.workers ? [["Trained by", this.workersOf(index)]] : []),
      ...(records.parent[index] === null ? [] : [["Time including the trials it continues", duration(value("total_s"))]]),
    ];
    return pairsTable("Losses are validation losses in nats per image.", rows);
  }

  workersOf(index) {
    const { bars, lanes } = this.records.workers;
    const labels = bars.trials.flatMap((trial, i) => (trial === index ? [lanes[bars.lanes[i]].label] : []));
    return labels.map((label) => (label === NOTHING ? "the process of the search" : `worker ${label}`)).join(", then ");
  }

  settings(index) {
    return html("section", {}, html("h4", {}, "Hyperparameters"),
      pairsTable("", this.records.hyperparameters.map((column) => [column.title, textOf(column, column.values[index])])));
  }

  lineage(index) {
    const { records } = this;
    const family = records.family(index).sort((a, b) => records.value("epoch_from", a) - records.value("epoch_from", b));
    const items = family.map((one) => {
      const text = `epochs ${records.value("epoch_from", one) + 1}–${records.value("epochs", one)}, ${records.status(one)}, ${records.goalName} ${records.goalText(records.goal.values[one])}`;
      const id = records.trials[one];
      const name = one === index ? html("b", {}, id) : html("button", { type: "button", class: "link", onclick: () => this.open(one, this.from) }, id);
      return html("li", {}, name, ` ${text}`);
    });
    return html("section", {}, html("h4", {}, `Configuration ${records.value("configuration", index)}`), html("ol", { class: "lineage" }, items));
  }

  curves(index) {
    const curve = this.records.curve(index);
    if (curve.length === 0) return null;
    const kinds = [["val", "validation", "winner"], ["train", "training", "other"], ["reconstruction", "reconstruction", "reference"]];
    const [width, height] = [420, 230];
    const frame = { left: 46, right: width - 10, top: 12, bottom: height - 40 };
    const drawing = svg("svg", { class: "plot small", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Losses of trial ${this.records.trials[index]} against epochs` });
    const x = makeScale({ values: curve.map(({ epoch }) => epoch), kind: "linear", pixels: [frame.left, frame.right] });
    const losses = kinds.flatMap(([key]) => curve.map((row) => row[key]));
    const y = makeScale({ values: losses, kind: "linear", pixels: [frame.bottom, frame.top] });
    drawAxis(drawing, x, "bottom", frame, { title: "epoch", count: Math.min(curve.length, 8) });
    drawAxis(drawing, y, "left", frame, { count: 5 });
    for (const [key, , look] of kinds) {
      const kept = curve.filter((row) => row[key] !== null).map((row) => ({ x: x(row.epoch), y: y(row[key]) }));
      drawing.append(svg("path", { class: `line ${look}`, d: through(kept) }));
      if (key === "val") drawing.append(svg("path", { class: `dot ${look}`, d: dots(kept) }));
    }
    const legend = html("p", { class: "legend" }, legendOf(kinds.map(([, title, look]) => [`line ${look}`, title])));
    const rows = curve.map((row) => [String(row.epoch), ...[row.val, row.reconstruction, row.kl, row.train].map((loss) => nats(loss))]);
    const file = fileName(this.records.name, "trial", this.records.trials[index]);
    return html("section", {}, html("div", { class: "topline" }, html("h4", {}, "Losses, nats per image"), html("span", { class: "tools" }, ...saveButtons(() => drawing, file, "losses of the trial"))),
      legend, drawing,
      html("details", { class: "twin" }, html("summary", {}, "Table"),
        html("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table: losses" }, plainTable(["Epoch", "Validation", "Recon.", "KL", "Training"], rows))));
  }

  // A copy of the page's section about the failure.
  failure(index) {
    const section = document.getElementById(`${this.page.anchor}-failed-${this.records.trials[index]}`);
    if (!section) return null;
    const copies = [...section.children].filter((child) => child.tagName !== "SUMMARY").map((child) => child.cloneNode(true));
    return html("section", { class: "failure" }, html("h4", {}, "Error"),
      html("p", { class: "error" }, this.records.errors[this.records.trials[index]]), copies);
  }

  pictures(index) {
    const { pictures } = this.page;
    const found = pictures.trials.find((one) => one.trial_id === this.records.trials[index]);
    if (!found) return html("p", { class: "missing" }, `This page has no images of this trial: none were kept${pictures.left_out ? ", or they would have made the page too large" : ""}.`);
    const image = (source, alt) => html("img", { class: "pixels", src: source, alt });
    // The pictures of a finalist are in its own block, so that the page has them once.
    const block = document.getElementById(`${this.page.anchor}-finalist-${found.trial_id}`);
    const sourceOf = (name) => block?.querySelector(`img[data-picture="${name}"]`)?.src ?? found[name];
    const [samples, reconstructions] = [sourceOf("samples"), sourceOf("reconstructions")];
    const figure = (title, ...content) => html("figure", {}, html("figcaption", {}, html("h4", {}, title)), ...content);
    return html("section", { class: "own-pictures" }, ...[
      reconstructions && figure("Reconstructions", image(reconstructions, "Validation images above their reconstructions")),
      figure("Samples", image(samples, "Images decoded from random samples of the prior")),
      found.latent && figure("Latent space", drawLatent(found.latent, pictures)),
    ].filter(Boolean));
  }

  command(index) {
    const { records } = this;
    if (records.value("loss", index) === null) return null;
    const isKept = records.kept.includes(records.trials[index]);
    const missing = "This trial cannot be exported, because its weights were not kept. Only the best trials (keep_best) and the best trial for each latent_dim keep their weights.";
    return html("section", {}, html("h4", {}, "Export this trial"), !isKept ? html("p", { class: "missing" }, missing) :
      html("pre", { class: "command" }, html("code", {}, `${records.export} ${records.trials[index]}`)));
  }
}

function pairsTable(caption, rows) {
  return html("table", { class: "pairs" }, caption ? html("caption", {}, caption) : null,
    html("tbody", {}, rows.map(([name, value]) => html("tr", {}, html("th", { scope: "row" }, name), html("td", {}, value)))));
}
